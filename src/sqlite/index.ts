import '../node-version.ts'

export type { SqliteConnection, SqliteDriver, SqliteStatement, SqliteValue } from './driver.ts'
export {
  SqliteArchiveError,
  SqliteBusyError,
  SqliteCorruptError,
  SqliteError,
  SqliteImportError,
  SqliteNetworkFileError,
} from './errors.ts'
export type { ArchiveTarget, SqliteEventStore, SqliteReadOptions } from './event-store.ts'
export type { SqliteStoresOptions } from './options.ts'
export { sqliteMigrationSql } from './schema.ts'
export { SqliteStores } from './stores.ts'
