import type { EventClass, Logger, Stores } from '../../src/index.ts'
import { PostgresStores } from '../../src/postgres/index.ts'
import { SqliteStores } from '../../src/sqlite/index.ts'
import { RecordingLogger } from './recording-logger.ts'

/** The place of stores, as it is passed to a program: a schema of a server, or a file. */
export type StoresPlace =
  | { readonly postgresUrl: string; readonly schema: string }
  | { readonly file: string }

export function storesOf(
  place: StoresPlace,
  events: readonly EventClass[] = [],
  logger: Logger = new RecordingLogger(),
): Stores {
  return 'file' in place
    ? new SqliteStores({ ...place, events, logger, durability: 'normal' })
    : new PostgresStores({ ...place, events, logger, migrate: 'run', poolSize: 3 })
}
