import { access, readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ConfiguredBus, ConfiguredStore, EventspineConfig } from '../cli-config.ts'
import { toError } from '../errors.ts'
import { nearest } from '../kit/spelling.ts'
import { UsageError } from './exit-code.ts'

const NAMES = ['ts', 'mts', 'js', 'mjs', 'json'].map((ending) => `eventspine.config.${ending}`)

/** The keys of each part of a configuration. */
const KEYS = {
  config: ['buses', 'stores', 'events'],
  bus: ['url', 'options', 'production'],
  store: ['url', 'schema'],
} as const

export interface LoadedConfig {
  readonly buses: Readonly<Record<string, ConfiguredBus>>
  readonly stores: Readonly<Record<string, ConfiguredStore>>
  /** Absolute paths. */
  readonly events: readonly string[]
}

const NOTHING: LoadedConfig = { buses: {}, stores: {}, events: [] }

/**
 * Reads the configuration of a folder, or the given file.
 * @throws UsageError if the file is missing or wrong.
 */
export async function loadConfig(folder: string, given: string | undefined): Promise<LoadedConfig> {
  const file = given === undefined ? await findIn(folder) : resolve(folder, given)
  if (file === undefined) return NOTHING
  const config = await read(file)
  check(file, 'the file', config, KEYS.config)
  for (const part of ['buses', 'stores'] as const) {
    const entries: object = Reflect.get(config, part) ?? {}
    check(file, part, entries, undefined)
    for (const [name, entry] of Object.entries(entries)) {
      check(file, `${part}.${name}`, entry, part === 'buses' ? KEYS.bus : KEYS.store)
      if (typeof Reflect.get(entry, 'url') !== 'string') {
        throw new UsageError(`${file}: ${part}.${name} needs a url.`)
      }
    }
  }
  const { buses = {}, stores = {}, events = [] } = config as EventspineConfig
  const modules = typeof events === 'string' ? [events] : events
  return { buses, stores, events: modules.map((path) => resolve(dirname(file), path)) }
}

async function findIn(folder: string): Promise<string | undefined> {
  for (const name of NAMES) {
    const file = join(folder, name)
    const exists = await access(file).then(
      () => true,
      () => false,
    )
    if (exists) return file
  }
  return undefined
}

async function read(file: string): Promise<object> {
  try {
    if (file.endsWith('.json')) return objectIn(JSON.parse(await readFile(file, 'utf8')))
    return objectIn((await import(pathToFileURL(file).href)).default)
  } catch (thrown) {
    throw new UsageError(`${file} cannot be read: ${toError(thrown).message}`)
  }
}

function objectIn(value: unknown): object {
  if (typeof value === 'object' && value !== null) return value
  throw new Error('it must export a configuration as default; see defineConfig')
}

function check(
  file: string,
  place: string,
  value: unknown,
  keys: readonly string[] | undefined,
): asserts value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UsageError(`${file}: ${place} must be an object.`)
  }
  const wrong = keys === undefined ? undefined : Object.keys(value).find((key) => !keys.includes(key))
  if (keys === undefined || wrong === undefined) return
  const hint = nearest(wrong, keys)
  const remedy = hint === undefined ? `known are ${keys.join(', ')}` : `did you mean ${hint}?`
  throw new UsageError(`${file}: ${place} has an unknown key ${JSON.stringify(wrong)}: ${remedy}`)
}
