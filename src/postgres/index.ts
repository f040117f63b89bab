import '../node-version.ts'

export type { PostgresArchiveTarget } from './archive.ts'
export {
  type OwnPoolClient,
  POSTGRES_AVAILABLE,
  type PooledPostgresClient,
  type PostgresClient,
  PostgresNotAvailableError,
  type PostgresPool,
  type PostgresQuery,
  type PostgresResult,
} from './client.ts'
export {
  PostgresArchiveError,
  PostgresFeedError,
  PostgresPermissionError,
  PostgresPoolExhaustedError,
  PostgresSnapshotTooOldError,
  PostgresTimeoutError,
  PostgresTransactionAbortedError,
  PostgresValueError,
} from './errors.ts'
export type { PostgresEventStore } from './event-store.ts'
export type { PostgresReadOptions } from './feed.ts'
export { type PostgresMigration, type PostgresMigrations, postgresMigrationSql } from './migrations.ts'
export type { PostgresStoresOptions } from './options.ts'
export { PostgresStores } from './stores.ts'
