import { posix } from 'node:path'

interface Rule {
  /** Folders and files of src, and packages, that the folder may import in addition to its own files and Node.js modules. */
  readonly imports: readonly string[]
  /** Folders from which the folder may import only these names, and only as types. */
  readonly typesFrom?: Readonly<Record<string, readonly string[]>>
  /** For each room of the folder, the rooms that it may import. Every room may import the files at the folder's top. */
  readonly rooms?: Readonly<Record<string, readonly string[]>>
}

const open = ['errors.ts', 'redaction.ts', 'error-redaction.ts', 'observability', '@opentelemetry/api']
const rooms = {
  client: ['wire'],
  wire: ['client'],
  publishing: ['client', 'wire'],
  'dead-letters': ['client', 'wire', 'publishing'],
  consuming: ['client', 'wire', 'publishing', 'dead-letters'],
  admin: ['client', 'wire', 'publishing', 'dead-letters', 'consuming'],
}
const backend = [...open, 'events/index.ts', 'codec', 'kit', 'handling', 'transport', 'bus']
const eventBusType = { bus: ['EventBus'] }
const entryPoints = ['redis', 'rabbitmq', 'kafka', 'store', 'aggregates', 'subscriptions'].map(
  (folder) => `${folder}/index.ts`,
)
/** The options of the brokers, which `createEventBus` checks for every URL. */
const brokerOptions = ['redis', 'rabbitmq', 'kafka'].map((folder) => `${folder}/options.ts`)
const core = ['observability', 'kit', 'events', 'codec', 'handling', 'transport', 'browsing', 'bus'].map(
  (folder) => `${folder}/index.ts`,
)

/** The parts of the subscriptions that durable stores use: the interfaces, and the shared code of the inbox and outbox. */
const storeInterfaces = ['index', 'inbox', 'outbox'].map((file) => `subscriptions/${file}.ts`)

/** The rule of each part of src. A part without a rule is a fault. */
export const rules: Readonly<Record<string, Rule>> = {
  'node-version.ts': { imports: [] },
  'redaction.ts': { imports: [] },
  'error-redaction.ts': { imports: ['redaction.ts'] },
  'errors.ts': { imports: ['redaction.ts', 'error-redaction.ts'] },
  observability: { imports: ['errors.ts', 'redaction.ts', 'error-redaction.ts', '@opentelemetry/api'] },
  kit: { imports: open },
  events: { imports: ['errors.ts', '@standard-schema/spec'] },
  codec: { imports: ['errors.ts', 'events'] },
  handling: { imports: [...open, 'kit', 'events'] },
  transport: { imports: [...open, 'codec'] },
  browsing: { imports: [...open, 'kit', 'events', 'codec', 'transport'] },
  bus: {
    imports: [...open, 'kit', 'events', 'codec', 'handling', 'transport', 'browsing'],
    rooms: {
      telemetry: [],
      publishing: ['telemetry'],
      'dead-letters': [],
      consuming: ['telemetry'],
      middleware: [],
      presence: [],
      admin: ['telemetry', 'presence'],
    },
  },
  redis: { imports: [...backend, 'redis', '@redis/client'], rooms },
  rabbitmq: { imports: [...backend, 'amqplib'], rooms },
  kafka: { imports: [...backend, '@platformatic/kafka'], rooms },
  // Durable stores keep events as the codec writes them.
  store: { imports: [...open, 'kit', 'events', 'codec', 'browsing'] },
  sqlite: { imports: [...open, 'kit', 'events', 'store', ...storeInterfaces] },
  postgres: { imports: [...open, 'kit', 'events', 'store', ...storeInterfaces, 'pg'] },
  aggregates: { imports: [...open, 'kit', 'events', 'store'], typesFrom: eventBusType },
  subscriptions: { imports: [...open, 'kit', 'handling', 'events', 'store'], typesFrom: eventBusType },
  memory: { imports: ['errors.ts', 'events/index.ts', 'handling/index.ts', 'bus'] },
  testing: { imports: ['index.ts', 'errors.ts', ...core, ...entryPoints, 'vitest', '@opentelemetry/api'] },
  contract: { imports: ['errors.ts', 'events', '@standard-schema/spec'] },
  // What a person enters: the same grammar in the command line and in the page.
  'filter-line': { imports: ['kit/spelling.ts', 'bus/index.ts', 'browsing/index.ts'] },
  operator: {
    imports: [
      ...['errors.ts', 'redaction.ts', 'observability', 'kit/options.ts', 'filter-line/index.ts'],
      ...[...core, 'store/index.ts', 'subscriptions/index.ts'],
    ],
  },
  // The judge and the processes of the command verify, and of the torture of the tests.
  verify: {
    imports: [
      ...['errors.ts', 'kit/time.ts', 'events/index.ts', 'handling', 'transport/index.ts', 'bus/index.ts'],
      '@standard-schema/spec',
    ],
  },
  'cli-config.ts': { imports: ['create-event-bus.ts'] },
  cli: {
    imports: [
      ...[
        'errors.ts',
        'redaction.ts',
        'kit/counted.ts',
        'kit/spelling.ts',
        'kit/time.ts',
        'cli-config.ts',
        'create-event-bus.ts',
        'contract/index.ts',
        'events',
        'filter-line/index.ts',
        'operator/index.ts',
        'verify',
        'rabbitmq/client/created-queues.ts',
        'operator/mask.ts',
        'operator/masked-body.ts',
      ],
      ...[...core, ...entryPoints, 'postgres/index.ts', 'sqlite/index.ts'],
    ],
  },
  'create-event-bus.ts': {
    imports: ['errors.ts', 'redaction.ts', 'kit', 'bus', ...entryPoints, ...brokerOptions],
  },
  'index.ts': {
    imports: [
      'errors.ts',
      'cli-config.ts',
      'create-event-bus.ts',
      'contract/index.ts',
      ...core,
      ...entryPoints,
    ],
  },
}

interface Import {
  readonly specifier: string
  /** The names in the braces of `import type { … }`; undefined for every other form of import. */
  readonly typeNames?: readonly string[]
}

/** @returns one sentence for each forbidden import of a source file. `file` is relative to src. */
export function importFaults(file: string, source: string): readonly string[] {
  const part = partOf(file)
  const rule = rules[part]
  if (!rule) return [`src/${file}: scripts/import-rules.ts has no rule for ${part}`]
  return importsOf(source)
    .filter((found) => !isAllowed(found, file, part, rule))
    .map(({ specifier }) => `src/${file} may not import ${specifier}`)
}

/**
 * Finds circular imports, including type imports. `sources` maps the path of each file, relative to src, to its text.
 * @returns one sentence for each circle.
 */
export function cycleFaults(sources: ReadonlyMap<string, string>): readonly string[] {
  const imports = new Map(
    [...sources].map(([file, source]) => [file, importsOf(source).map((found) => targetOf(file, found))]),
  )
  const done = new Set<string>()
  const faults: string[] = []
  const visit = (file: string, path: readonly string[]): void => {
    const start = path.indexOf(file)
    if (start >= 0) faults.push(`src: circular import: ${[...path.slice(start), file].join(' -> ')}`)
    if (start >= 0 || done.has(file)) return
    for (const target of imports.get(file) ?? []) visit(target, [...path, file])
    done.add(file)
  }
  for (const file of sources.keys()) visit(file, [])
  return faults
}

function isAllowed(found: Import, file: string, part: string, rule: Rule): boolean {
  const { specifier, typeNames } = found
  if (specifier.startsWith('node:')) return true
  if (targetOf(file, found) === 'node-version.ts') return file.endsWith('index.ts') || file === 'cli/main.ts'
  if (!specifier.startsWith('.')) return rule.imports.includes(packageOf(specifier))
  const target = targetOf(file, found)
  const targetPart = partOf(target)
  if (targetPart === part) return isAllowedWithin(file, target, rule)
  if (rule.imports.includes(target) || rule.imports.includes(targetPart)) return true
  const names = rule.typesFrom?.[targetPart] ?? []
  return typeNames?.every((name) => names.includes(name)) ?? false
}

/** A room may import the rooms that its rule names. In a folder without rules for rooms, every import is allowed. */
function isAllowedWithin(file: string, target: string, { rooms }: Rule): boolean {
  const room = roomOf(file)
  const targetRoom = roomOf(target)
  if (rooms === undefined || room === targetRoom || targetRoom === undefined) return true
  if (room === undefined) return targetRoom in rooms
  return rooms[room]?.includes(targetRoom) ?? false
}

/** @returns the path of an imported file, relative to src; for a package, the specifier. */
function targetOf(file: string, { specifier }: Import): string {
  return specifier.startsWith('.') ? posix.join(posix.dirname(file), specifier) : specifier
}

/** @returns the first segment of a path below src: a folder, or a file at the top. */
function partOf(path: string): string {
  return path.split('/')[0] ?? path
}

/** @returns the folder within a part; undefined for a file at the top of the part. */
function roomOf(path: string): string | undefined {
  const steps = path.split('/')
  return steps.length > 2 ? steps[1] : undefined
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

const typeImport = /\b(?:import|export)\s+type\s*\{([^}]*)\}\s*from\s*['"]([^'"]+)['"]/g
const anyImport = /\b(?:from|import|require)\s*\(?\s*['"]([^'"\n]+)['"]/g

function importsOf(source: string): readonly Import[] {
  const code = source.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '') // examples in comments contain imports too
  const types = [...code.matchAll(typeImport)].map(([, names = '', specifier = '']) => ({
    specifier,
    typeNames: splitNames(names),
  }))
  const others = [...code.replace(typeImport, '').matchAll(anyImport)].map(([, specifier = '']) => ({
    specifier,
  }))
  return [...types, ...others]
}

function splitNames(names: string): readonly string[] {
  return names
    .split(',')
    .map((name) => name.trim().replace(/ as .*/, ''))
    .filter((name) => name !== '')
}
