import { EventspineError, toError } from '../errors.ts'
import {
  StoreFullError,
  StoreOutcomeUnknownError,
  StoreReadOnlyError,
  StoreSchemaError,
  StoreUnavailableError,
} from '../store/index.ts'
import { schemaVersion } from './schema.ts'

/** How the stores name themselves in messages. */
export const STORE = 'PostgreSQL'

/** No connection of the pool became free in time. */
export class PostgresPoolExhaustedError extends EventspineError {
  static override readonly name = 'PostgresPoolExhaustedError'
  readonly code = 'POSTGRES_POOL_EXHAUSTED'
  override readonly retryable = true

  constructor(size: number | undefined, options?: ErrorOptions) {
    super(
      `All ${size ?? 'the'} connections of the pool were in use for too long. Make it larger, or hold connections for ` +
        'less time: each open transaction holds one.',
      options,
    )
  }
}

/** The server ended a statement because it took too long, or because somebody canceled it. Nothing was written. */
export class PostgresTimeoutError extends EventspineError {
  static override readonly name = 'PostgresTimeoutError'
  readonly code = 'POSTGRES_TIMEOUT'
  override readonly retryable = true

  constructor(options?: ErrorOptions) {
    super(
      'PostgreSQL canceled the statement (statement_timeout, lock_timeout, or a request to cancel).',
      options,
    )
  }
}

/** The role may not do this. */
export class PostgresPermissionError extends EventspineError {
  static override readonly name = 'PostgresPermissionError'
  readonly code = 'POSTGRES_PERMISSION'

  constructor(detail: string, options?: ErrorOptions) {
    super(
      `The role lacks a right: ${detail}. docs/postgres.md lists the rights that a service needs.`,
      options,
    )
  }
}

/** The feed cannot be read here. */
export class PostgresFeedError extends EventspineError {
  static override readonly name = 'PostgresFeedError'
  readonly code = 'POSTGRES_FEED_UNREADABLE'
}

/**
 * The transaction reads a snapshot that is older than the stream that it appends to. Roll it back and run it again. Only
 * in REPEATABLE READ and SERIALIZABLE.
 */
export class PostgresSnapshotTooOldError extends EventspineError {
  static override readonly name = 'PostgresSnapshotTooOldError'
  readonly code = 'POSTGRES_SNAPSHOT_TOO_OLD'
  override readonly retryable = true

  constructor() {
    super(
      'The stream has events that the snapshot of this transaction does not show. Roll the transaction back and run it ' +
        'again.',
    )
  }
}

/** The transaction had failed before it was to be committed: the server rolled it back. */
export class PostgresTransactionAbortedError extends EventspineError {
  static override readonly name = 'PostgresTransactionAbortedError'
  readonly code = 'POSTGRES_TRANSACTION_ABORTED'

  constructor() {
    super(
      'The transaction was rolled back, because one of its statements had failed. Let the work of a transaction fail ' +
        'with its statements.',
    )
  }
}

/** An event cannot be stored as it is. Found before anything is sent. */
export class PostgresValueError extends EventspineError {
  static override readonly name = 'PostgresValueError'
  readonly code = 'POSTGRES_VALUE_REFUSED'

  constructor(detail: string) {
    super(`PostgreSQL cannot keep this: ${detail}.`)
  }
}

/** Events are to be archived that a subscription has not handled. */
export class PostgresArchiveError extends EventspineError {
  static override readonly name = 'PostgresArchiveError'
  readonly code = 'POSTGRES_ARCHIVE'
  readonly subscription: string

  constructor(subscription: string) {
    super(
      `The checkpoint of ${subscription} lies before events that are to be archived. Let it catch up, or delete its checkpoint.`,
    )
    this.subscription = subscription
  }
}

/** What the server reports: SQLSTATE and severity. */
interface ServerError {
  readonly code: string
  readonly severity: string | undefined
}

/** The SQLSTATE of an error that the server reported; undefined for any other error. */
export function sqlStateOf(error: unknown): string | undefined {
  return serverError(error)?.code
}

/**
 * The typed error of what a client threw.
 *
 * @param isWrite - the statement may have been stored although it has no answer.
 */
export function translated(thrown: unknown, isWrite: boolean): Error {
  const error = toError(thrown)
  if (error instanceof EventspineError) return error
  const options = { cause: error }
  const server = serverError(error)
  if (server === undefined || isLost(server)) {
    return isWrite
      ? new StoreOutcomeUnknownError(STORE, options)
      : new StoreUnavailableError(STORE, error.message, options)
  }
  switch (server.code) {
    case '53100':
    case '54P01':
      return new StoreFullError(STORE, options)
    case '25006':
      return new StoreReadOnlyError(
        STORE,
        'the server takes no writes: it is a standby, or was made one',
        true,
        options,
      )
    case '57014':
    case '55P03':
      return new PostgresTimeoutError(options)
    case '42501':
      return new PostgresPermissionError(error.message, options)
    case '3F000':
    case '42P01':
    case '42883':
    case '42703':
      return new StoreSchemaError(STORE, 0, schemaVersion, `${error.message}. Run its migrations.`)
    case '54000':
      return new PostgresValueError(error.message)
    default:
      return error
  }
}

/** The error of a connection that could not be had: nothing was sent. */
export function connectionFailure(thrown: unknown, pool: object): Error {
  const error = toError(thrown)
  if (error instanceof EventspineError) return error
  const options = { cause: error }
  if (/timeout exceeded when trying to connect/.test(error.message)) {
    const total = numberOf(pool, 'totalCount')
    const size = numberOf(Reflect.get(pool, 'options'), 'max')
    if (total !== undefined && total === size) return new PostgresPoolExhaustedError(size, options)
  }
  return new StoreUnavailableError(STORE, error.message, options)
}

/**
 * True where the connection must not be used again: it broke, or its server is no longer the one that takes writes. An
 * error that the stores made themselves says nothing about it.
 */
export function isBroken(thrown: unknown): boolean {
  const cause = thrown instanceof EventspineError ? thrown.cause : thrown
  if (cause === undefined) return false
  const server = serverError(cause)
  return server === undefined || isLost(server) || server.code === '25006'
}

/** The same statement may succeed at once: the server ended it in favor of another one. */
export function isTransient(thrown: unknown): boolean {
  const code = sqlStateOf(thrown)
  return code === '40001' || code === '40P01'
}

export const isUniqueViolation = (thrown: unknown): boolean => sqlStateOf(thrown) === '23505'

function serverError(error: unknown): ServerError | undefined {
  if (!(error instanceof Error) || !('code' in error) || !('severity' in error)) return undefined
  const { code, severity } = error
  if (typeof code !== 'string' || !/^[0-9A-Z]{5}$/.test(code)) return undefined
  return { code, severity: typeof severity === 'string' ? severity : undefined }
}

/** The session ended: of a statement under way nothing is known. */
function isLost({ code, severity }: ServerError): boolean {
  return severity === 'FATAL' || severity === 'PANIC' || code.startsWith('08') || code.startsWith('57P')
}

function numberOf(object: unknown, name: string): number | undefined {
  if (typeof object !== 'object' || object === null) return undefined
  const value: unknown = Reflect.get(object, name)
  return typeof value === 'number' ? value : undefined
}
