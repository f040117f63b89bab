import { posix } from 'node:path'

interface Rule {
  /** What files of the folder may import, besides each other and Node: folders and files of src, and packages. */
  readonly imports: readonly string[]
  /** Where only these names may be imported, and only as types. */
  readonly typesFrom?: Readonly<Record<string, readonly string[]>>
}

const open = ['errors.ts', 'observability', '@opentelemetry/api']
/** The bus as aggregates and subscriptions know it: the type that they publish to. */
const eventBusType = { bus: ['EventBus'] }
const backend = [...open, 'codec', 'kit', 'transport', 'handling', 'bus']
const entryPoints = [
  'index.ts',
  'redis/index.ts',
  'rabbitmq/index.ts',
  'kafka/index.ts',
  'aggregates/index.ts',
  'store/index.ts',
  'subscriptions/index.ts',
]
/** What the parts of the main entry point offer: a backend's tests need more of them than an application does. */
const parts = [
  'errors.ts',
  'observability/index.ts',
  'kit/index.ts',
  'events/index.ts',
  'codec/index.ts',
  'handling/index.ts',
  'transport/index.ts',
  'bus/index.ts',
]

/** Which part of src may import what. A part without a rule is a fault. */
export const rules: Readonly<Record<string, Rule>> = {
  'errors.ts': { imports: [] },
  observability: { imports: ['errors.ts', '@opentelemetry/api'] },
  kit: { imports: open },
  events: { imports: ['errors.ts', '@standard-schema/spec'] },
  codec: { imports: ['errors.ts', 'events'] },
  handling: { imports: [...open, 'kit', 'events', 'bus'] },
  transport: { imports: [...open, 'codec'] },
  bus: { imports: [...open, 'kit', 'events', 'codec', 'handling', 'transport'] },
  redis: { imports: [...backend, 'redis', '@redis/client'] },
  rabbitmq: { imports: [...backend, 'amqplib'] },
  kafka: { imports: [...backend, '@platformatic/kafka'] },
  store: { imports: [...open, 'events'] },
  aggregates: { imports: [...open, 'kit', 'events', 'store'], typesFrom: eventBusType },
  subscriptions: { imports: [...open, 'kit', 'handling', 'events', 'store', 'bus'], typesFrom: eventBusType },
  testing: { imports: [...entryPoints, ...parts, 'vitest'] },
  'create-event-bus.ts': { imports: ['errors.ts', 'kit', 'bus', ...entryPoints.slice(1)] },
  'index.ts': { imports: [...parts, ...entryPoints.slice(1), 'create-event-bus.ts'] },
}

interface Import {
  readonly specifier: string
  /** The names between the braces of `import type { … }`; undefined for every other form. */
  readonly typeNames?: readonly string[]
}

/** One sentence for each import of a source file that the rules forbid. `file` is relative to src. */
export function importFaults(file: string, source: string): readonly string[] {
  const part = partOf(file)
  const rule = rules[part]
  if (!rule) return [`src/${file}: scripts/import-rules.ts has no rule for ${part}`]
  return importsOf(source)
    .filter((found) => !isAllowed(found, file, part, rule))
    .map(({ specifier }) => `src/${file} may not import ${specifier}`)
}

function isAllowed({ specifier, typeNames }: Import, file: string, part: string, rule: Rule): boolean {
  if (specifier.startsWith('node:')) return true
  if (!specifier.startsWith('.')) return rule.imports.includes(packageOf(specifier))
  const target = posix.join(posix.dirname(file), specifier)
  const targetPart = partOf(target)
  if (targetPart === part) return true
  if (rule.imports.includes(target) || rule.imports.includes(targetPart)) return true
  const names = rule.typesFrom?.[targetPart] ?? []
  return typeNames?.every((name) => names.includes(name)) ?? false
}

/** The first step of a path below src: a folder, or a file at the top. */
function partOf(path: string): string {
  return path.split('/')[0] ?? path
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

const typeImport = /\b(?:import|export)\s+type\s*\{([^}]*)\}\s*from\s*['"]([^'"]+)['"]/g
const anyImport = /\b(?:from|import|require)\s*\(?\s*['"]([^'"]+)['"]/g

function importsOf(source: string): readonly Import[] {
  const code = source.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '') // examples in comments import, too
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
