import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../..', import.meta.url))

/** Servers on which a program can run. */
export type Server = 'postgres' | 'redis'

/** The code blocks of a page that form one program. */
export interface PageProgram {
  /** The name of its file: `failure.ts`, or `failure-waits.ts` for the program `waits` of `docs/failure.md`. */
  readonly file: string
  readonly page: string
  readonly servers: readonly Server[]
  /** The test that runs it, if it is not run like the others. */
  readonly runBy: string | undefined
  /** Each line has the number that it has in the page, so that errors name a line of the page. */
  readonly code: string
  /** Number of blocks that the page shows. */
  readonly blocks: number
  /** Further files that it imports. */
  readonly modules?: readonly { readonly file: string; readonly code: string }[]
}

/** A block that is neither compiled nor run. */
export interface OtherBlock {
  readonly page: string
  readonly language: string
  readonly text: string
}

interface Draft {
  readonly lines: string[]
  servers: readonly Server[]
  runBy: string | undefined
  blocks: number
  language: string
}

const FENCE = /^( *)```(\w*)$/
/** `<!-- program waits, on redis postgres -->`, `<!-- program, run by test/docs/readme.test.ts -->` */
const PROGRAM =
  /^ *<!-- program(?: (?<name>\w+))?(?:, on (?<servers>[\w ]+))?(?:, run by (?<runBy>\S+))? -->$/
const HIDDEN = /^( *)<!-- hidden$/
const RUNNABLE = new Set(['ts', 'js', 'sql'])

/**
 * The programs of a page. All blocks belong to one program, unless a comment names another one for those that follow it. Code in
 * a comment `<!-- hidden ... -->` belongs to the program, and readers do not see it.
 */
export function programsOf(page: string): {
  readonly programs: PageProgram[]
  readonly others: OtherBlock[]
} {
  const lines = readFileSync(join(root, page), 'utf8').split('\n')
  const drafts = new Map<string, Draft>()
  const others: OtherBlock[] = []
  let current = ''
  const draft = (): Draft => {
    const known = drafts.get(current)
    if (known !== undefined) return known
    const fresh: Draft = { lines: [], servers: [], runBy: undefined, blocks: 0, language: 'ts' }
    drafts.set(current, fresh)
    return fresh
  }
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? ''
    const program = PROGRAM.exec(line)?.groups
    if (program !== undefined) {
      current = program['name'] ?? ''
      // The pattern of the comment allows letters only; the type check of the test names others.
      draft().servers = (program['servers']?.split(' ') ?? draft().servers) as Server[]
      draft().runBy = program['runBy'] ?? draft().runBy
      continue
    }
    const hidden = HIDDEN.exec(line)
    const isHidden = hidden !== null
    const [, indent = '', language] = hidden ?? FENCE.exec(line) ?? []
    if (language === undefined && !isHidden) continue
    const end = lines.indexOf(isHidden ? `${indent}-->` : `${indent}\`\`\``, at + 1)
    if (end === -1) throw new Error(`${page}:${at + 1}: the block has no end`)
    const code = lines.slice(at + 1, end).map((text) => text.slice(indent.length))
    if (isHidden || RUNNABLE.has(language ?? '')) {
      const target = draft()
      if (!isHidden) target.blocks += 1
      if (language === 'js') target.language = 'js'
      const text = language === 'sql' ? statement(code) : code
      for (const [offset, codeLine] of text.entries()) target.lines[at + 1 + offset] = codeLine
    } else others.push({ page, language: language ?? '', text: code.join('\n') })
    at = end
  }
  const base = page
    .replace(/^docs\//, '')
    .replace('.md', '')
    .toLowerCase()
  const programs = [...drafts].map(([name, { lines: code, language, ...rest }]) => ({
    ...rest,
    page,
    file: `${name === '' ? base : `${base}-${name}`}.${language === 'js' ? 'cjs' : 'ts'}`,
    code: `${Array.from(code, (text) => text ?? '').join('\n')}\n`,
  }))
  return { programs: programs.filter(({ blocks }) => blocks > 0), others }
}

/** SQL as a call of the function `sql` of the program, on as many lines. */
function statement(lines: readonly string[]): readonly string[] {
  return [`await sql(\`${lines[0]}`, ...lines.slice(1, -1), `${lines.at(-1)}\`)`]
}

/** README.md and the pages of docs/. */
export const PAGES: readonly string[] = [
  'README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]

/** What a program prints: the comment behind each `console.log`, and the lines after `// prints`. */
export const promisedBy = (code: string): readonly (string | undefined)[] =>
  [...code.matchAll(/^\s*(?:console\.log\(.*\) \/\/ |\/\/ prints )(.*)$/gm)].map(([, text]) => text)
