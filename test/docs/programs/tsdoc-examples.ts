import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type PageProgram, root, type Server } from './page-programs.ts'

type Needed = Server | 'rabbitmq' | 'kafka'

/** An `@example` of a comment in the source, as a module. */
interface TsdocExample {
  /** Such as `redis-inbox-85.ts`: the source file and the line. */
  readonly file: string
  /** Each line has the number that it has in the source, so that errors name a line of the source. */
  readonly code: string
  /** The servers that it needs. */
  readonly servers: readonly Needed[]
}

/** Names that an example may use without importing them, each with its module; `#type` follows the module of a type. */
type Scope = ReadonlyMap<string, string>

/** The module with the names that the examples leave out, such as `bus` and `OrderPlaced`. */
const CONTEXT = 'example-context.ts'

/** Names whose use needs a server. */
const SERVERS: Readonly<Record<string, Needed>> = {
  RedisEventBus: 'redis',
  RedisInbox: 'redis',
  RabbitMQEventBus: 'rabbitmq',
  KafkaEventBus: 'kafka',
  PostgresStores: 'postgres',
  stores: 'postgres',
  client: 'postgres',
}

const contextSource = (): string => readFileSync(join(import.meta.dirname, CONTEXT), 'utf8')

/** Every `@example` of src/. It ends at the next tag, or at the end of its comment. */
function tsdocExamples(): readonly TsdocExample[] {
  const scope = new Map([...publicNames(), ...contextNames()])
  return globSync('**/*.ts', { cwd: join(root, 'src') })
    .toSorted()
    .flatMap((source) => examplesOf(source, scope))
}

/**
 * One program that runs the examples of the source one after the other: those that need no server, or those that need servers. The
 * servers of the tests of pages are PostgreSQL and Redis.
 */
export function programOfExamples(needServers: boolean): PageProgram {
  const examples = tsdocExamples()
  const chosen = examples.filter(({ servers }) =>
    needServers
      ? servers.length > 0 && servers.every((server) => server === 'postgres' || server === 'redis')
      : servers.length === 0,
  )
  return {
    file: needServers ? 'examples-on-servers.ts' : 'examples-of-source.ts',
    page: 'src',
    servers: needServers ? ['postgres', 'redis'] : [],
    runBy: undefined,
    code: [
      `import { end, prepareDatabase } from './${CONTEXT}'`,
      needServers ? 'await prepareDatabase()' : '',
      ...chosen.map(({ file }) => `await import('./${file}')`),
      'await end()',
      // Examples do not close what they open.
      'process.exit()',
      '',
    ].join('\n'),
    blocks: chosen.length,
    modules: [{ file: CONTEXT, code: contextSource() }, ...examples],
  }
}

function examplesOf(source: string, scope: Scope): readonly TsdocExample[] {
  const lines = readFileSync(join(root, 'src', source), 'utf8').split('\n')
  return lines.flatMap((line, at) => {
    if (!/^ *\* @example$/.test(line)) return []
    const length = lines.slice(at + 1).findIndex((text) => /^ *\*(?:\/| @\w+)/.test(text))
    const shown = lines.slice(at + 1, at + 1 + length).map((text) => text.replace(/^ *\* ?/, ''))
    const used = namesUsed(shown.join('\n'))
    const code = [importsOf(used, scope), ...Array(at).fill(''), ...shown, ''].join('\n')
    const file = `${source.replace('.ts', '').replaceAll('/', '-')}-${at + 1}.ts`
    const servers = Object.entries(SERVERS).flatMap(([name, server]) => (used.has(name) ? server : []))
    return [{ file, code, servers: [...new Set(servers)] }]
  })
}

/** The names that an example uses and does not declare. */
function namesUsed(example: string): ReadonlySet<string> {
  const code = example.replaceAll(/'[^'\n]*'|\/\/.*/g, "''")
  const names = [...code.matchAll(/(?<![.\w])[A-Za-z]\w*\b(?!: )/g)].map(([name]) => name)
  const declared = code.matchAll(/\b(?:class|const|using) (\w+)|^import \{ ([^}]+) \}/gm)
  const own = [...declared].flatMap(([, name, list]) => name ?? list?.split(', ') ?? [])
  return new Set(names.filter((name) => !own.includes(name)))
}

/** One line that imports them. */
function importsOf(used: ReadonlySet<string>, scope: Scope): string {
  const modules = Map.groupBy(
    [...used].filter((name) => scope.has(name)),
    (name) => scope.get(name),
  )
  const imports = [...modules].map(([module = '', names]) => {
    const [path, isType] = module.split('#')
    return `import ${isType === undefined ? '' : 'type '}{ ${names.join(', ')} } from '${path}'`
  })
  return ['export {}', ...imports].join('; ')
}

/** What the entry points export. */
function publicNames(): readonly (readonly [name: string, module: string])[] {
  const lists = globSync(['index.ts', '*/index.ts'], { cwd: join(root, 'src') })
  // The grammar of filter lines is internal.
  return lists
    .filter((index) => !index.startsWith('filter-line/'))
    .flatMap((index) => {
      const folder = index.split('/')[0] ?? ''
      const module = ['operator', 'postgres', 'sqlite', 'testing'].includes(folder)
        ? `eventspine/${folder}`
        : 'eventspine'
      const exported = readFileSync(join(root, 'src', index), 'utf8').matchAll(
        /^export (type )?\{([^}]+)\}/gm,
      )
      return [...exported].flatMap(([, isType, list = '']) =>
        [...list.matchAll(/(type )?(\w+),?\s/g)].map(([, type, name = '']) => {
          const isTypeOnly = (isType ?? type) !== undefined
          return [name, isTypeOnly ? `${module}#type` : module] as const
        }),
      )
    })
}

function contextNames(): readonly (readonly [name: string, module: string])[] {
  const exported = contextSource().matchAll(
    /^export (?:(const|class|function|interface)|async function|\{(?: default as)?) (\w+)/gm,
  )
  return [...exported].map(([, kind, name = '']) => [
    name,
    kind === 'interface' ? `./${CONTEXT}#type` : `./${CONTEXT}`,
  ])
}
