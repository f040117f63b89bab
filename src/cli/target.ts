import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { ConfiguredBus, ConfiguredStore } from '../cli-config.ts'
import { toError } from '../errors.ts'
import { text } from '../filter-line/index.ts'
import { rememberCredentials } from '../redaction.ts'
import type { Invocation, OptionTable, OptionValues } from './command.ts'
import { loadConfig } from './config-file.ts'
import { UsageError } from './exit-code.ts'
import type { Terminal } from './terminal.ts'

/** Options of all commands that need a bus. */
export const busOptions = {
  bus: { value: '<name>', about: 'bus of the configuration file', read: text },
  url: { value: '<url>', about: 'URL of the broker, instead of an argument', read: text },
  'url-file': {
    value: '<file>',
    about: 'file with the URL, which keeps a password out of the process list',
    read: text,
  },
  prefix: { value: '<name>', about: 'stream prefix, exchange or topic prefix', read: text },
  config: {
    value: '<file>',
    about: 'the configuration; default eventspine.config.ts, .js or .json',
    read: text,
  },
} as const satisfies OptionTable

/** Options of all commands that need a store. */
export const storeOptions = {
  store: { value: '<name>', about: 'store of the configuration file', read: text },
  url: { value: '<url>', about: 'postgres://… or sqlite:<file>, instead of an argument', read: text },
  'url-file': busOptions['url-file'],
  schema: { value: '<name>', about: 'schema of PostgreSQL; default eventspine', read: text },
  config: busOptions.config,
} as const satisfies OptionTable

/** Options of the commands that read a broker or a store. */
export const logOptions = { ...busOptions, store: storeOptions.store, schema: storeOptions.schema } as const

/** What names a broker or a store. */
export interface LogInvocation {
  readonly url: string | undefined
  readonly terminal: Terminal
  readonly options: Partial<OptionValues<typeof logOptions>>
}

/** True if the command line names a store and not a bus. */
export function isStore({ url, options }: LogInvocation): boolean {
  return options.store !== undefined || /^(?:sqlite:|postgres(?:ql)?:\/\/)/.test(url ?? options.url ?? '')
}

type BusInvocation = Pick<Invocation<OptionTable>, 'url' | 'terminal'> & {
  readonly options: Partial<OptionValues<typeof busOptions>>
}
type StoreInvocation = Pick<Invocation<OptionTable>, 'url' | 'terminal'> & {
  readonly options: Partial<OptionValues<typeof storeOptions>>
}

/** A bus that a command line, the environment or the configuration names. */
export interface BusTarget extends ConfiguredBus {
  /** Name in the configuration; undefined for a URL. */
  readonly name: string | undefined
  readonly events: readonly string[]
}

/** A bus with what names it for a person. */
export interface GivenBus extends BusTarget {
  /** What names the same bus on another command line, without a password. */
  readonly words: readonly string[]
  /** The URL without a password, for other tools: itself, a variable of the environment, or `<url>`. */
  readonly shownUrl: string
}

export interface StoreTarget extends ConfiguredStore {
  readonly events: readonly string[]
}

/** Flag before environment before file. @throws UsageError if no bus is named, or several could be meant. */
export async function busTarget({ url, options, terminal }: BusInvocation): Promise<GivenBus> {
  const config = await loadConfig(
    terminal.workingDirectory,
    options.config ?? terminal.environment['EVENTSPINE_CONFIG'],
  )
  const { EVENTSPINE_BUS: fromEnvironment } = terminal.environment
  const given = await givenUrl({ url, options, terminal }, options.bus)
  const { events } = config
  const found = given === undefined ? pick('bus', config.buses, options.bus ?? fromEnvironment) : undefined
  const target = found === undefined ? { url: given ?? '', name: undefined } : { ...found[1], name: found[0] }
  rememberCredentials(target.url)
  const prefix = options.prefix === undefined ? {} : { prefix: options.prefix }
  const shown = shownUrl({ url, options, terminal })
  return {
    ...{ ...target, options: { ...found?.[1].options, ...prefix }, events },
    ...{ words: wordsFor(url ?? options.url, options), shownUrl: shown },
  }
}

function shownUrl({ url, options, terminal }: BusInvocation): string {
  const visible = url ?? options.url
  if (visible !== undefined) return isSecret(visible) ? '<url>' : visible
  const isVariable = options['url-file'] === undefined && options.bus === undefined
  return isVariable && terminal.environment['EVENTSPINE_URL'] !== undefined ? '"$EVENTSPINE_URL"' : '<url>'
}

/** The environment names the bus for the next command, too. */
function wordsFor(
  visible: string | undefined,
  { prefix, config, bus, 'url-file': file }: BusInvocation['options'],
): readonly string[] {
  const url = visible === undefined ? [] : [isSecret(visible) ? '<url>' : visible]
  const named = Object.entries({ prefix, config, bus, 'url-file': file }).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, value],
  )
  return [...url, ...named].map((word) => (/^[\w@%+=:,./<>-]+$/.test(word) ? word : `'${word}'`))
}

/** A URL of Kafka has its credentials in its parameters. */
function isSecret(url: string): boolean {
  return url.includes('@') || url.includes('?')
}

/** Where a command looked, for a line that says that nothing is there. */
export function placeOf({ name, url, options }: Pick<BusTarget, 'name' | 'url' | 'options'>): string {
  if (name !== undefined) return `on ${name}`
  if (url.startsWith('memory:')) return 'in this process'
  return options?.prefix === undefined
    ? 'under the default prefix (--prefix names another)'
    : `under the prefix ${options.prefix}`
}

/** As {@link busTarget}, but all buses of the configuration if the command line and the environment name none. */
export async function busTargets(invocation: BusInvocation): Promise<readonly BusTarget[]> {
  const { url, options, terminal } = invocation
  const { EVENTSPINE_CONFIG, ...environment } = terminal.environment
  const { EVENTSPINE_URL, EVENTSPINE_URL_FILE, EVENTSPINE_BUS } = environment
  const given = [
    url,
    options.url,
    options['url-file'],
    options.bus,
    EVENTSPINE_URL,
    EVENTSPINE_URL_FILE,
    EVENTSPINE_BUS,
  ]
  if (given.some((one) => one !== undefined)) return [await busTarget(invocation)]
  const { buses } = await loadConfig(terminal.workingDirectory, options.config ?? EVENTSPINE_CONFIG)
  const names = Object.keys(buses)
  if (names.length < 2) return [await busTarget(invocation)]
  return Promise.all(names.map((bus) => busTarget({ ...invocation, options: { ...options, bus } })))
}

/** Flag before environment before file. @throws UsageError if no store is named, or several could be meant. */
export async function storeTarget({ url, options, terminal }: StoreInvocation): Promise<StoreTarget> {
  const config = await loadConfig(
    terminal.workingDirectory,
    options.config ?? terminal.environment['EVENTSPINE_CONFIG'],
  )
  const given = await givenUrl({ url, options, terminal }, options.store)
  const found = given === undefined ? pick('store', config.stores, options.store) : undefined
  const target = found === undefined ? { url: given ?? '' } : found[1]
  rememberCredentials(target.url)
  const schema = options.schema === undefined ? {} : { schema: options.schema }
  return { ...target, ...schema, events: config.events }
}

/** The URL of the arguments, the options or the environment. A name on the command line is stronger than the environment. */
async function givenUrl(
  { url, options, terminal }: StoreInvocation | BusInvocation,
  name: string | undefined,
): Promise<string | undefined> {
  const { EVENTSPINE_URL, EVENTSPINE_URL_FILE } = terminal.environment
  const visible = url ?? options.url
  const given = [visible, options['url-file'], name].filter((one) => one !== undefined)
  if (given.length > 1) throw new UsageError('Give one of the URL, --url-file and a configured name.')
  if (visible !== undefined) {
    rememberCredentials(visible)
    if (hasPassword(visible)) {
      terminal.err(
        'The URL contains a password, which other users of this machine can see. Use --url-file or EVENTSPINE_URL.',
      )
    }
    return visible
  }
  if (options['url-file'] !== undefined) return urlIn(terminal.workingDirectory, options['url-file'])
  if (name !== undefined) return undefined
  if (EVENTSPINE_URL !== undefined) return EVENTSPINE_URL
  return EVENTSPINE_URL_FILE === undefined ? undefined : urlIn(terminal.workingDirectory, EVENTSPINE_URL_FILE)
}

async function urlIn(folder: string, file: string): Promise<string> {
  try {
    return (await readFile(resolve(folder, file), 'utf8')).trim()
  } catch (thrown) {
    throw new UsageError(`The file with the URL cannot be read: ${toError(thrown).message}`)
  }
}

function pick<T>(kind: 'bus' | 'store', known: Readonly<Record<string, T>>, name: string | undefined) {
  const entries = Object.entries(known)
  const found =
    name === undefined
      ? entries.length === 1
        ? entries[0]
        : undefined
      : entries.find(([key]) => key === name)
  if (found !== undefined) return found
  const names = entries.map(([key]) => key)
  if (name !== undefined) {
    const remedy = names.length === 0 ? `no ${kind} is configured` : `configured: ${names.join(', ')}`
    throw new UsageError(`There is no ${kind} named ${JSON.stringify(name)}: ${remedy}.`)
  }
  if (names.length > 1)
    throw new UsageError(`Several are configured: choose one with --${kind}: ${names.join(', ')}.`)
  const example = kind === 'bus' ? 'redis://localhost:6379' : 'sqlite:events.db'
  throw new UsageError(
    `No ${kind} is given: add a URL such as ${example}, or configure one in eventspine.config.ts.`,
  )
}

/** True if the part before the host has a colon, as in `redis://user:password@host`. */
function hasPassword(url: string): boolean {
  const [, rest = ''] = url.split('//', 2)
  const at = rest.indexOf('@')
  return at > 0 && rest.slice(0, at).includes(':')
}
