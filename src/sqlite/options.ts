import { resolve } from 'node:path'
import { ConfigError } from '../errors.ts'
import type { EventClass, EventRegistry } from '../events/index.ts'
import { observabilityRules } from '../kit/observability-options.ts'
import {
  booleanOption,
  durationMs,
  nonEmptyText,
  type OptionRule,
  objectWith,
  oneOf,
  optional,
  positiveIntegerOrInfinity,
  resolveOptions,
} from '../kit/options.ts'
import type { FieldsFirstLogger, Logger } from '../observability/logger.ts'
import { DEFAULT_INBOX_RETENTION_MS } from '../subscriptions/inbox.ts'
import type { SqliteDriver } from './driver.ts'

/** Options of `SqliteStores`. */
export interface SqliteStoresOptions {
  /** Path of the database file. It is created if it does not exist, and may also contain your own tables. */
  readonly file: string
  /**
   * Event classes. The store returns their events as instances. Repositories and subscriptions register their own
   * classes.
   */
  readonly events?: readonly EventClass[]
  /** Registry of event classes. `defaultRegistry` is the fallback. */
  readonly registry?: EventRegistry
  /**
   * `'full'`: a resolved write survives a power failure. `'normal'`: it survives a crash of the process; a power
   * failure may lose the last writes, but does not damage the file. Default `'full'`.
   */
  readonly durability?: 'full' | 'normal'
  /**
   * `'run'` migrates the file to the schema of this release, `'check'` refuses a file with another schema, `'off'` does
   * not check. Default `'run'`.
   */
  readonly migrate?: 'run' | 'check' | 'off'
  /** Write in a worker thread, so that the event loop never waits for the disk. Default true. */
  readonly worker?: boolean
  /** The package that opens the file: `'node:sqlite'` of Node.js (default), or `'better-sqlite3'` if it is installed. */
  readonly driver?: SqliteDriver
  /** Maximum wait for a lock that another process holds, in milliseconds. Default 5,000. */
  readonly busyTimeoutMs?: number
  /** Interval at which the file is checked for commits of other processes while there are listeners, in milliseconds. Default 10. */
  readonly watchIntervalMs?: number
  /** Check the whole file for damage before it is used. Default false. */
  readonly checkIntegrity?: boolean
  /**
   * Age at which inbox records are removed, in milliseconds; Infinity for never. If an event is delivered again after
   * that, it is handled again. Default 30 days.
   */
  readonly inboxRetentionMs?: number
  /**
   * Allows a file on a network file system. This is safe only if no more than one process opens the file. Default
   * false.
   */
  readonly allowNetworkFile?: boolean
  /** Receives failures of listeners. Default: `console`. */
  readonly logger?: Logger | FieldsFirstLogger
}

export const sqliteDefaults = {
  file: undefined as string | undefined,
  events: [] as readonly EventClass[],
  registry: undefined as EventRegistry | undefined,
  durability: 'full' as 'full' | 'normal',
  migrate: 'run' as 'run' | 'check' | 'off',
  worker: true,
  driver: 'node:sqlite' as SqliteDriver,
  busyTimeoutMs: 5000,
  watchIntervalMs: 10,
  checkIntegrity: false,
  inboxRetentionMs: DEFAULT_INBOX_RETENTION_MS,
  allowNetworkFile: false,
  logger: undefined as Logger | FieldsFirstLogger | undefined,
}

export const sqliteRules: Readonly<Record<keyof typeof sqliteDefaults, OptionRule>> = {
  file: nonEmptyText,
  events: { rule: 'an array of event classes', isValid: Array.isArray },
  registry: optional(objectWith('an EventRegistry', 'register', 'getOrUndefined')),
  durability: oneOf('full', 'normal'),
  migrate: oneOf('run', 'check', 'off'),
  worker: booleanOption,
  driver: oneOf('node:sqlite', 'better-sqlite3'),
  busyTimeoutMs: durationMs,
  watchIntervalMs: durationMs,
  checkIntegrity: booleanOption,
  inboxRetentionMs: positiveIntegerOrInfinity,
  allowNetworkFile: booleanOption,
  logger: observabilityRules.logger,
}

export type ResolvedSqliteOptions = Readonly<Omit<typeof sqliteDefaults, 'file'>> & { readonly file: string }

/** @throws ConfigError */
export function resolveSqliteOptions(options: SqliteStoresOptions): ResolvedSqliteOptions {
  const resolved = resolveOptions('SqliteStores', options, sqliteDefaults, sqliteRules)
  const { file } = options
  if (file === ':memory:' || file.startsWith('file:')) {
    throw new ConfigError('SqliteStores', [
      `file must be the path of a file, got ${JSON.stringify(file)}: use InMemoryStores for data that is lost when the process ends`,
    ])
  }
  // The working directory may change before another connection opens the file.
  return { ...resolved, file: resolve(file) }
}
