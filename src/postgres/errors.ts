import { EventspineError, toError } from '../errors.ts'
import {
  StoreFullError,
  StoreOutcomeUnknownError,
  StoreReadOnlyError,
  StoreSchemaError,
  StoreUnavailableError,
} from '../store/index.ts'
import { NoAnswerError } from './answers.ts'
import { schemaVersion } from './schema.ts'

/** The name of the stores in messages. */
export const STORE = 'PostgreSQL'

/** No connection of the pool became free before the deadline. */
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

/** The server ended a statement because of a timeout or a request to cancel. Nothing was written. */
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

/** The database role lacks a right. */
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

/** This server cannot provide the feed. */
export class PostgresFeedError extends EventspineError {
  static override readonly name = 'PostgresFeedError'
  readonly code = 'POSTGRES_FEED_UNREADABLE'
}

/**
 * The snapshot of the transaction is older than the stream that it appends to. Roll back and run the transaction again.
 * Happens only in REPEATABLE READ and SERIALIZABLE.
 */
export class PostgresSnapshotTooOldError extends EventspineError {
  static override readonly name = 'PostgresSnapshotTooOldError'
  readonly code = 'POSTGRES_SNAPSHOT_TOO_OLD'
  override readonly retryable = true

  constructor() {
    super(
      'The stream has events that the snapshot of this transaction does not contain. Roll the transaction back and run it ' +
        'again.',
    )
  }
}

/** A statement of the transaction had failed, so the server rolled back instead of committing. */
export class PostgresTransactionAbortedError extends EventspineError {
  static override readonly name = 'PostgresTransactionAbortedError'
  readonly code = 'POSTGRES_TRANSACTION_ABORTED'

  constructor() {
    super(
      'The transaction was rolled back, because one of its statements had failed. Do not catch errors of statements ' +
        'inside the transaction.',
    )
  }
}

/** PostgreSQL cannot store a value of the event. Detected before anything is sent. */
export class PostgresValueError extends EventspineError {
  static override readonly name = 'PostgresValueError'
  readonly code = 'POSTGRES_VALUE_REFUSED'

  constructor(detail: string) {
    super(`PostgreSQL cannot store the value: ${detail}.`)
  }
}

/** Events cannot be archived, because a subscription has not handled them. */
export class PostgresArchiveError extends EventspineError {
  static override readonly name = 'PostgresArchiveError'
  readonly code = 'POSTGRES_ARCHIVE'
  readonly subscription: string

  constructor(subscription: string) {
    super(
      `The checkpoint of ${subscription} is before the events to archive. Let it catch up, or delete its checkpoint.`,
    )
    this.subscription = subscription
  }
}

/** An error of the server, with SQLSTATE and severity. */
interface ServerError {
  readonly code: string
  readonly severity: string | undefined
}

/** The SQLSTATE of an error that the server reported; undefined for any other error. */
export function sqlStateOf(error: unknown): string | undefined {
  return serverError(error)?.code
}

/**
 * Returns the typed error for an error of a client.
 *
 * @param isWrite - true if the effect of the statement may be stored although the response is missing.
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
        'the server does not accept writes, because it is a standby',
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

/** The error for a connection that could not be opened or taken from the pool. Nothing was sent. */
export function connectionFailure(thrown: unknown, pool: object): Error {
  const error = toError(thrown)
  if (error instanceof EventspineError) return error
  const options = { cause: error }
  if (error instanceof NoAnswerError || /timeout exceeded when trying to connect/.test(error.message)) {
    const total = numberOf(pool, 'totalCount')
    const size = numberOf(Reflect.get(pool, 'options'), 'max')
    if (total !== undefined && total === size) return new PostgresPoolExhaustedError(size, options)
  }
  return new StoreUnavailableError(STORE, error.message, options)
}

/**
 * True if the connection must not be used again: it broke, or its server no longer accepts writes. Errors that the stores
 * create themselves do not count.
 */
export function isBroken(thrown: unknown): boolean {
  const cause = thrown instanceof EventspineError ? thrown.cause : thrown
  if (cause === undefined) return false
  const server = serverError(cause)
  return server === undefined || isLost(server) || server.code === '25006'
}

/** True if the server aborted the statement because of another one, so that a repetition may succeed at once. */
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

/** True if the session ended, so the outcome of a statement in flight is unknown. */
function isLost({ code, severity }: ServerError): boolean {
  return severity === 'FATAL' || severity === 'PANIC' || code.startsWith('08') || code.startsWith('57P')
}

function numberOf(object: unknown, name: string): number | undefined {
  if (typeof object !== 'object' || object === null) return undefined
  const value: unknown = Reflect.get(object, name)
  return typeof value === 'number' ? value : undefined
}
