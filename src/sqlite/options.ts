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

export interface SqliteStoresOptions {
  /** Path of the database file; it may hold tables of your own, too. Created if it is not there. */
  readonly file: string
  /** Event classes, so that stored events come back as their instances. Repositories and subscriptions add theirs. */
  readonly events?: readonly EventClass[]
  /** Where event classes are looked up, before the default registry. */
  readonly registry?: EventRegistry
  /**
   * `'full'`: a write that resolved survives a power cut. `'normal'`: it survives a crash of the process, and the last ones
   * may be lost in a power cut, which leaves the file whole. Default `'full'`.
   */
  readonly durability?: 'full' | 'normal'
  /**
   * `'run'` brings the file to the schema of this release at the start, `'check'` refuses a file of another one, `'off'`
   * does not look. Default `'run'`.
   */
  readonly migrate?: 'run' | 'check' | 'off'
  /** Writes in a worker thread, so that the event loop never waits for the disk. Default true. */
  readonly worker?: boolean
  /** The package that opens the file: part of Node.js, or one that you installed. Default `'node:sqlite'`. */
  readonly driver?: SqliteDriver
  /** Longest wait for a lock that another process has, in milliseconds. Default 5,000. */
  readonly busyTimeoutMs?: number
  /** How often the file is looked at for commits of other processes while there are listeners, in milliseconds. Default 10. */
  readonly watchIntervalMs?: number
  /** Reads the whole file for damage before it is used. Default false. */
  readonly checkIntegrity?: boolean
  /**
   * Age at which notes of the inbox are removed, in milliseconds; Infinity for never. An event that is delivered again after that
   * has its effect again. Default 30 days.
   */
  readonly inboxRetentionMs?: number
  /** Opens a file on a network file system, too: safe only where one process alone ever does. Default false. */
  readonly allowNetworkFile?: boolean
  /** Where failures of listeners are reported; `console` by default. */
  readonly logger?: Logger | FieldsFirstLogger
}

const defaults = {
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

const rules: Readonly<Record<keyof typeof defaults, OptionRule>> = {
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

export type ResolvedSqliteOptions = Readonly<Omit<typeof defaults, 'file'>> & { readonly file: string }

/** @throws ConfigError */
export function resolveSqliteOptions(options: SqliteStoresOptions): ResolvedSqliteOptions {
  const resolved = resolveOptions('SqliteStores', options, defaults, rules)
  const { file } = options
  if (file === ':memory:' || file.startsWith('file:')) {
    throw new ConfigError('SqliteStores', [
      `file must be the path of a file, got ${JSON.stringify(file)}: use InMemoryStores for what ends with the process`,
    ])
  }
  // The worker, and whatever else opens it, may have another working directory.
  return { ...resolved, file: resolve(file) }
}
