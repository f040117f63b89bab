// What a new user does in the first hour, word by word: the commands and the program of a page, with the packed package.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { programsOf, promisedBy, root } from '../test/docs/programs/page-programs.ts'

const PAGES = ['docs/first-steps.md', 'docs/tutorial.md']

/**
 * Runs the program of each page twice, in a folder that the commands of the page create. @throws if it prints something else than
 * the page shows.
 */
export function followFirstHour(folder: string, tarball: string): void {
  for (const page of PAGES) {
    const { program, commands, file } = stepsOf(page)
    const script = `set -e\n${commands.replaceAll(/\beventspine\b/g, tarball)}\npwd`
    const place = run('sh', ['-c', script], folder).trimEnd().split('\n').at(-1) ?? ''
    writeFileSync(join(place, file), program)
    for (const time of ['first', 'second']) {
      const printed = run('node', [file], place)
      const promised = `${promisedBy(program).join('\n')}\n`
      if (printed === promised) continue
      throw new Error(`${page}: the ${time} run prints\n${printed}\ninstead of\n${promised}`)
    }
  }
}

/** The program of a page, the first commands of the page, and the file that they name. */
function stepsOf(page: string): {
  readonly program: string
  readonly commands: string
  readonly file: string
} {
  const { programs, others } = programsOf(page)
  const [first, ...rest] = programs
  const commands = others.find(({ language }) => language === 'sh')?.text
  const file = /into one file, `(\w+\.ts)`/.exec(readFileSync(join(root, page), 'utf8'))?.[1]
  if (first === undefined || rest.length > 0 || commands === undefined || file === undefined) {
    throw new Error(`${page} must have commands, one program, and the name of its file`)
  }
  return { program: first.code, commands, file }
}

function run(command: string, args: readonly string[], cwd: string): string {
  const env = {
    ...process.env,
    npm_config_prefer_offline: 'true',
    npm_config_audit: 'false',
    npm_config_fund: 'false',
  }
  return execFileSync(command, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}
