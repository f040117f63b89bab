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
import { rememberConnection } from '../redaction.ts'
import { DEFAULT_INBOX_RETENTION_MS } from '../subscriptions/inbox.ts'
import type { OwnPoolClient, PooledPostgresClient, PostgresPool } from './client.ts'

/** Options of {@link PostgresStores}. */
export interface PostgresStoresOptions<Client extends PooledPostgresClient = OwnPoolClient> {
  /** `postgres://user:password@host:port/database`. Either this or `pool`. */
  readonly postgresUrl?: string
  /** A pool of the npm package `pg`, instead of `postgresUrl`. `close` does not end it. */
  readonly pool?: PostgresPool<Client>
  /** Maximum connections of the pool for `postgresUrl`. Default 10. */
  readonly poolSize?: number
  /** Maximum wait for a connection of that pool, in milliseconds. Default 10,000. */
  readonly connectTimeoutMs?: number
  /**
   * Maximum wait for the answer to a statement of the stores, in milliseconds. After that, the call rejects with
   * `StoreOutcomeUnknownError` for a write, or with `StoreUnavailableError`, and the connection is closed. It also limits the wait
   * for a connection of a given `pool`. The caller's own statements in a transaction have no limit: set `query_timeout` of `pg`.
   * Default 30,000; Infinity for no limit.
   */
  readonly answerTimeoutMs?: number
  /** Schema of the tables. Each schema is one store. Default `'eventspine'`. */
  readonly schema?: string
  /**
   * How `ready` treats the schema. `'run'` runs missing migrations, `'check'` fails if any are missing, `'off'` does
   * not check. Default: `'check'` if `NODE_ENV` is `'production'`, otherwise `'run'`.
   */
  readonly migrate?: 'run' | 'check' | 'off'
  /**
   * `'concurrent'` (default): writers do not wait for each other. `'serialized'`: each append waits for the commit of
   * the previous one, so that the rows of the table are in commit order for your own SQL queries and for replicas. All
   * writers of a store must use the same value.
   */
  readonly order?: 'concurrent' | 'serialized'
  /**
   * How this process detects appends of other processes. `'listen'` (default): it receives NOTIFY on a separate
   * connection, and polls while notifications do not arrive. `'poll'`: it only polls, and sends no NOTIFY.
   */
  readonly wakeUp?: 'listen' | 'poll'
  /** Maximum time between two polls, in milliseconds. Default 1,000. */
  readonly pollIntervalMs?: number
  /** Use named prepared statements. Set it to false for PgBouncer before 1.21 in transaction mode. Default true. */
  readonly prepare?: boolean
  /**
   * Time after which the server ends an idle transaction of `transaction`, in milliseconds. An open transaction with an
   * append holds the feed back. Default 60,000; Infinity for no limit.
   */
  readonly idleTransactionTimeoutMs?: number
  /**
   * Time after which the server ends a statement in `stores.transaction`, also one of your own, in milliseconds. Default
   * Infinity: the setting `statement_timeout` of the connection applies.
   */
  readonly transactionStatementTimeoutMs?: number
  /** `health` returns `'degraded'` if the feed is held back for longer than this, in milliseconds. Default 10,000. */
  readonly heldBackWarningMs?: number
  /**
   * Age at which inbox records are removed, in milliseconds; Infinity for never. If an event is delivered again after
   * that, it is handled again. Default 30 days.
   */
  readonly inboxRetentionMs?: number
  /**
   * Event classes. The stores return their events as instances, and events of other types as `GenericEvent`s.
   * Repositories and subscription managers register their own classes.
   */
  readonly events?: readonly EventClass[]
  /** Registry of event classes. `defaultRegistry` is the fallback. */
  readonly registry?: EventRegistry
  /** Receives failures. Default: `console`, for warnings and errors. Loggers of pino work, too. */
  readonly logger?: Logger | FieldsFirstLogger
}

export const postgresDefaults = {
  postgresUrl: undefined as string | undefined,
  pool: undefined as PostgresPool | undefined,
  poolSize: 10,
  connectTimeoutMs: 10_000,
  answerTimeoutMs: 30_000,
  schema: 'eventspine',
  migrate: undefined as 'run' | 'check' | 'off' | undefined,
  order: 'concurrent',
  wakeUp: 'listen',
  pollIntervalMs: 1000,
  prepare: true,
  idleTransactionTimeoutMs: 60_000,
  transactionStatementTimeoutMs: Number.POSITIVE_INFINITY,
  heldBackWarningMs: 10_000,
  inboxRetentionMs: DEFAULT_INBOX_RETENTION_MS,
  events: undefined as readonly EventClass[] | undefined,
  registry: undefined as EventRegistry | undefined,
  logger: undefined as Logger | FieldsFirstLogger | undefined,
}

const postgresUrl: OptionRule = {
  rule: 'a URL that starts with postgres:// or postgresql://',
  isValid: (value) => typeof value === 'string' && /^postgres(ql)?:\/\//.test(value) && URL.canParse(value),
  hasCredentials: true,
}

/** The server truncates longer names, so two of them could become the same. */
const MAX_NAME_BYTES = 63

const schemaName: OptionRule = {
  rule: `a name of at most ${MAX_NAME_BYTES} bytes, without a zero byte or a $, that does not start with pg_`,
  isValid: (value) =>
    typeof value === 'string' &&
    value !== '' &&
    !/[\0$]/.test(value) &&
    !value.startsWith('pg_') &&
    Buffer.byteLength(value) <= MAX_NAME_BYTES,
}

export const postgresRules: Readonly<Record<keyof typeof postgresDefaults, OptionRule>> = {
  postgresUrl: optional(postgresUrl),
  pool: optional(objectWith('a pool of the npm package pg', 'connect')),
  poolSize: positiveInteger,
  connectTimeoutMs: durationMs,
  answerTimeoutMs: durationMsOrInfinity,
  schema: schemaName,
  migrate: optional(oneOf('run', 'check', 'off')),
  order: oneOf('concurrent', 'serialized'),
  wakeUp: oneOf('listen', 'poll'),
  pollIntervalMs: durationMs,
  prepare: booleanOption,
  idleTransactionTimeoutMs: durationMsOrInfinity,
  transactionStatementTimeoutMs: durationMsOrInfinity,
  heldBackWarningMs: durationMs,
  inboxRetentionMs: positiveIntegerOrInfinity,
  events: optional({ rule: 'an array of event classes', isValid: Array.isArray }),
  registry: optional(objectWith('an EventRegistry', 'register', 'getOrUndefined')),
  logger: observabilityRules.logger,
}

/** The options with all defaults. */
export interface ResolvedPostgresOptions
  extends Omit<Readonly<typeof postgresDefaults>, 'migrate' | 'logger'> {
  readonly migrate: 'run' | 'check' | 'off'
  readonly logger: Logger
}

/** @throws ConfigError with every fault. */
export function resolvePostgresOptions(
  given: PostgresStoresOptions<PooledPostgresClient>,
): ResolvedPostgresOptions {
  const options = resolveOptions('PostgresStores', given, postgresDefaults, postgresRules)
  if ((options.postgresUrl === undefined) === (options.pool === undefined)) {
    throw new ConfigError('PostgresStores', ['exactly one of postgresUrl and pool is needed'])
  }
  rememberConnection(Reflect.get(options.pool ?? {}, 'options'))
  const migrate = options.migrate ?? (process.env['NODE_ENV'] === 'production' ? 'check' : 'run')
  return Object.freeze({ ...options, migrate, logger: resolveLogger(options.logger) })
}
