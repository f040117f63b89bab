import { access } from 'node:fs/promises'
import { resolve } from 'node:path'
import { EventRegistry } from '../events/index.ts'
import type { DatabaseStores } from '../subscriptions/index.ts'
import { NotFoundError, UsageError } from './exit-code.ts'
import { loadEventClasses } from './load-events.ts'
import type { StoreTarget } from './target.ts'
import type { Terminal } from './terminal.ts'

const SQLITE = 'sqlite:'

/** What commands use of the stores, whatever their client is. */
export type OpenStores = Pick<
  DatabaseStores<never>,
  'events' | 'checkpoints' | 'deadLetters' | 'ready' | 'close'
>

/**
 * Opens stores that exist, without changing their schema.
 * @throws UsageError if the URL is none of a store; NotFoundError if the file is missing; StoreSchemaError
 */
export async function openExistingStores(target: StoreTarget, terminal: Terminal): Promise<OpenStores> {
  const registry = await registryOf(target.events)
  const stores = isSqlite(target)
    ? await openSqlite(await existingFile(target, terminal), registry)
    : await openPostgres(target, registry, 'check')
  try {
    await stores.ready()
    return stores
  } catch (thrown) {
    await stores.close()
    throw thrown
  }
}

async function openSqlite(file: string, registry: EventRegistry) {
  const { SqliteStores } = await import('../sqlite/index.ts')
  return new SqliteStores({ file, registry, migrate: 'check' })
}

/** The path of a SQLite file. SQLite would create a missing one. @throws NotFoundError */
export async function existingFile(target: StoreTarget, { workingDirectory }: Terminal): Promise<string> {
  const file = resolve(workingDirectory, fileOf(target))
  await access(file).catch(() => {
    throw new NotFoundError(`${file} does not exist. eventspine migrate creates it.`)
  })
  return file
}

/** @throws UsageError */
export async function openPostgres(
  target: StoreTarget,
  registry = new EventRegistry(),
  migrate: 'check' | 'off' = 'off',
) {
  if (!/^postgres(?:ql)?:\/\//.test(target.url)) {
    throw new UsageError('The URL of a store starts with postgres:// or sqlite:, such as sqlite:events.db.')
  }
  const { PostgresStores } = await import('../postgres/index.ts')
  const schema = target.schema === undefined ? {} : { schema: target.schema }
  return new PostgresStores({ postgresUrl: target.url, ...schema, migrate, registry })
}

export const isSqlite = ({ url }: StoreTarget): boolean => url.startsWith(SQLITE)

/** The path in `sqlite:events.db`, `sqlite:///var/events.db`. */
export const fileOf = ({ url }: StoreTarget): string => url.slice(SQLITE.length).replace(/^\/\/(?=\/)/, '')

async function registryOf(modules: readonly string[]): Promise<EventRegistry> {
  const registry = new EventRegistry()
  if (modules.length === 0) return registry
  for (const eventClass of await loadEventClasses(modules)) registry.register(eventClass)
  return registry
}
