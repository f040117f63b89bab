import { ConfigError } from '../errors.ts'
import type { EventClass, EventRegistry } from '../events/index.ts'
import { observabilityRules } from '../kit/observability-options.ts'
import {
  booleanOption,
  durationMs,
  durationMsOrInfinity,
  type OptionRule,
  objectWith,
  oneOf,
  optional,
  positiveInteger,
  positiveIntegerOrInfinity,
  resolveOptions,
} from '../kit/options.ts'
import type { FieldsFirstLogger, Logger } from '../observability/logger.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import { DEFAULT_INBOX_RETENTION_MS } from '../subscriptions/inbox.ts'
import type { PooledPostgresClient, PostgresPool } from './client.ts'

/** Options of {@link PostgresStores}. */
export interface PostgresStoresOptions<Client extends PooledPostgresClient = PooledPostgresClient> {
  /** `postgres://user:password@host:port/database`. Either this or `pool`. */
  readonly postgresUrl?: string
  /** A pool of the npm package `pg`, instead of `postgresUrl`. It is used, and left open by `close`. */
  readonly pool?: PostgresPool<Client>
  /** Connections of the pool that is made of `postgresUrl`. Default 10. */
  readonly poolSize?: number
  /** Longest wait for a connection of that pool, in milliseconds. Default 10,000. */
  readonly connectTimeoutMs?: number
  /** Schema of the tables, one for each store. Default `'eventspine'`. */
  readonly schema?: string
  /**
   * What `ready` does about the schema. `'run'` runs the missing migrations; `'check'` fails when some are missing;
   * `'off'` does not look. Default: `'check'` where `NODE_ENV` is `'production'`, else `'run'`.
   */
  readonly migrate?: 'run' | 'check' | 'off'
  /**
   * `'concurrent'` (default): writers do not wait for each other. `'serialized'`: one append after the other until its
   * commit, so that the table itself is in commit order, for those who read it by hand or on a replica. All writers of a
   * store must have the same.
   */
  readonly order?: 'concurrent' | 'serialized'
  /**
   * How this process learns of appends in others. `'listen'` (default): by NOTIFY, on a connection of its own, and by
   * polling while that does not work. `'poll'`: by polling only; no NOTIFY is sent.
   */
  readonly wakeUp?: 'listen' | 'poll'
  /** Longest time between two looks while polling, in milliseconds. Default 1,000. */
  readonly pollIntervalMs?: number
  /** Use named prepared statements; false for PgBouncer before 1.21 in transaction mode. Default true. */
  readonly prepare?: boolean
  /**
   * How long a transaction of `transaction` may do nothing before the server ends it, in milliseconds; while it is open
   * with an append, the feed waits for it. Default 60,000; Infinity for no limit.
   */
  readonly idleTransactionTimeoutMs?: number
  /** `health` is `'degraded'` when the feed has been held back for so long, in milliseconds. Default 10,000. */
  readonly heldBackWarningMs?: number
  /**
   * Age at which notes of the inbox are removed, in milliseconds; Infinity for never. An event that is delivered again after that
   * has its effect again. Default 30 days.
   */
  readonly inboxRetentionMs?: number
  /**
   * Classes of the stored events. Repositories and subscription managers make theirs known, too; an event of any other
   * type comes back as a `GenericEvent`.
   */
  readonly events?: readonly EventClass[]
  /** Registry of the stored events' classes; `defaultRegistry` is looked at after it. */
  readonly registry?: EventRegistry
  /** Where failures are reported; `console` (warnings and errors) by default. Takes pino's loggers too. */
  readonly logger?: Logger | FieldsFirstLogger
}

const defaults = {
  postgresUrl: undefined as string | undefined,
  pool: undefined as PostgresPool | undefined,
  poolSize: 10,
  connectTimeoutMs: 10_000,
  schema: 'eventspine',
  migrate: undefined as 'run' | 'check' | 'off' | undefined,
  order: 'concurrent',
  wakeUp: 'listen',
  pollIntervalMs: 1000,
  prepare: true,
  idleTransactionTimeoutMs: 60_000,
  heldBackWarningMs: 10_000,
  inboxRetentionMs: DEFAULT_INBOX_RETENTION_MS,
  events: undefined as readonly EventClass[] | undefined,
  registry: undefined as EventRegistry | undefined,
  logger: undefined as Logger | FieldsFirstLogger | undefined,
}

const postgresUrl: OptionRule = {
  rule: 'a URL that begins with postgres:// or postgresql://',
  isValid: (value) => typeof value === 'string' && /^postgres(ql)?:\/\//.test(value) && URL.canParse(value),
  // It may hold a password.
  isSecret: true,
}

/** Longer names are cut off by the server, two of them to the same one. */
const MAX_NAME_BYTES = 63

const schemaName: OptionRule = {
  rule: `a name of at most ${MAX_NAME_BYTES} bytes, without a zero byte or a $, not beginning with pg_`,
  isValid: (value) =>
    typeof value === 'string' &&
    value !== '' &&
    !/[\0$]/.test(value) &&
    !value.startsWith('pg_') &&
    Buffer.byteLength(value) <= MAX_NAME_BYTES,
}

const rules: Readonly<Record<keyof typeof defaults, OptionRule>> = {
  postgresUrl: optional(postgresUrl),
  pool: optional(objectWith('a pool of the npm package pg', 'connect')),
  poolSize: positiveInteger,
  connectTimeoutMs: durationMs,
  schema: schemaName,
  migrate: optional(oneOf('run', 'check', 'off')),
  order: oneOf('concurrent', 'serialized'),
  wakeUp: oneOf('listen', 'poll'),
  pollIntervalMs: durationMs,
  prepare: booleanOption,
  idleTransactionTimeoutMs: durationMsOrInfinity,
  heldBackWarningMs: durationMs,
  inboxRetentionMs: positiveIntegerOrInfinity,
  events: optional({ rule: 'an array of event classes', isValid: Array.isArray }),
  registry: optional(objectWith('an EventRegistry', 'register', 'getOrUndefined')),
  logger: observabilityRules.logger,
}

/** The options, complete. */
export interface ResolvedPostgresOptions extends Omit<Readonly<typeof defaults>, 'migrate' | 'logger'> {
  readonly migrate: 'run' | 'check' | 'off'
  readonly logger: Logger
}

/** @throws ConfigError with every fault. */
export function resolvePostgresOptions(given: PostgresStoresOptions): ResolvedPostgresOptions {
  const options = resolveOptions('PostgresStores', given, defaults, rules)
  if ((options.postgresUrl === undefined) === (options.pool === undefined)) {
    throw new ConfigError('PostgresStores', ['exactly one of postgresUrl and pool is needed'])
  }
  const migrate = options.migrate ?? (process.env['NODE_ENV'] === 'production' ? 'check' : 'run')
  return Object.freeze({ ...options, migrate, logger: resolveLogger(options.logger) })
}
