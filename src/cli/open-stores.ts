import { EventRegistry } from '../events/index.ts'
import type { DatabaseStores } from '../subscriptions/index.ts'
import { UsageError } from './exit-code.ts'
import { loadEventClasses } from './load-events.ts'
import type { StoreTarget } from './target.ts'

const SQLITE = 'sqlite:'

/** What commands use of the stores, whatever their client is. */
export type OpenStores = Pick<
  DatabaseStores<never>,
  'events' | 'checkpoints' | 'deadLetters' | 'ready' | 'close'
>

/** Opens the stores without changing their schema. @throws UsageError if the URL is none of a store. */
export async function openStores(target: StoreTarget): Promise<OpenStores> {
  const registry = await registryOf(target.events)
  if (isSqlite(target)) {
    const { SqliteStores } = await import('../sqlite/index.ts')
    return new SqliteStores({ file: fileOf(target), registry })
  }
  return openPostgres(target, registry)
}

/** @throws UsageError */
export async function openPostgres(target: StoreTarget, registry = new EventRegistry()) {
  if (!/^postgres(?:ql)?:\/\//.test(target.url)) {
    throw new UsageError('The URL of a store starts with postgres:// or sqlite:, such as sqlite:events.db.')
  }
  const { PostgresStores } = await import('../postgres/index.ts')
  const schema = target.schema === undefined ? {} : { schema: target.schema }
  return new PostgresStores({ postgresUrl: target.url, ...schema, migrate: 'off', registry })
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
