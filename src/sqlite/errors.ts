import { EventspineError, toError } from '../errors.ts'
import {
  StoreFullError,
  StoreOutcomeUnknownError,
  StoreReadOnlyError,
  StoreUnavailableError,
} from '../store/errors.ts'

/** Another process held the file's write lock for longer than `busyTimeoutMs`. Nothing was written. */
export class SqliteBusyError extends EventspineError {
  static override readonly name = 'SqliteBusyError'
  readonly code = 'SQLITE_LOCKED'
  override readonly retryable = true

  constructor(file: string, waitedMs: number, options?: ErrorOptions) {
    super(
      `${file} has been locked by another process for ${waitedMs} ms. End its transaction, or raise busyTimeoutMs.`,
      options,
    )
  }
}

/** The file is not an SQLite database, or it is damaged. The stores do not change it. */
export class SqliteCorruptError extends EventspineError {
  static override readonly name = 'SqliteCorruptError'
  readonly code = 'SQLITE_CORRUPT'

  constructor(file: string, detail: string, options?: ErrorOptions) {
    super(
      `${file} is damaged, or not an SQLite database (${detail}). Restore it from a backup, or recover the readable part with sqlite3's .recover.`,
      options,
    )
  }
}

/** The file is on a file system on which locks between processes are not reliable. */
export class SqliteNetworkFileError extends EventspineError {
  static override readonly name = 'SqliteNetworkFileError'
  readonly code = 'SQLITE_NETWORK_FILE'

  constructor(file: string, detail: string) {
    super(
      `${file} is on ${detail}, where locks between processes are not reliable, so SQLite files can be damaged. ` +
        'Use a local disk, or set allowNetworkFile if only one process ever opens it.',
    )
  }
}

/** SQLite refused a statement for a reason that no other error class covers. */
export class SqliteError extends EventspineError {
  static override readonly name = 'SqliteError'
  readonly code = 'SQLITE_FAILED'

  constructor(file: string, detail: string, options?: ErrorOptions) {
    super(`SQLite failed on ${file}: ${detail}.`, options)
  }
}

/** Events cannot be imported, because their positions are in use or before the end of the feed. */
export class SqliteImportError extends EventspineError {
  static override readonly name = 'SqliteImportError'
  readonly code = 'SQLITE_IMPORT'
  readonly position: number

  constructor(position: number) {
    super(
      `The event at position ${position} cannot be imported: the store already has other events up to this position. Import into an empty store.`,
    )
    this.position = position
  }
}

/** Events cannot be archived, because a subscription has not handled them. */
export class SqliteArchiveError extends EventspineError {
  static override readonly name = 'SqliteArchiveError'
  readonly code = 'SQLITE_ARCHIVE'
  readonly subscription: string

  constructor(subscription: string) {
    super(
      `The checkpoint of ${subscription} is before the events to archive. Let it catch up, or delete its checkpoint.`,
    )
    this.subscription = subscription
  }
}

/** A driver's error as plain data, so that it can be sent between threads. */
export interface SqliteFailure {
  /** Primary result code of SQLite; 0 for any other error. */
  readonly code: number
  readonly message: string
  /** True if the commit failed, so the writes may be stored. */
  readonly isAtCommit: boolean
}

export const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6
const SQLITE_READONLY = 8
export const SQLITE_IOERR = 10
export const SQLITE_CORRUPT = 11
const SQLITE_FULL = 13
const SQLITE_CANTOPEN = 14
const SQLITE_NOTADB = 26

/** Result codes by the names that better-sqlite3 uses. */
const CODES: Readonly<Record<string, number>> = {
  SQLITE_BUSY,
  SQLITE_LOCKED,
  SQLITE_READONLY,
  SQLITE_IOERR,
  SQLITE_CORRUPT,
  SQLITE_FULL,
  SQLITE_CANTOPEN,
  SQLITE_NOTADB,
}

export function failureOf(thrown: unknown, isAtCommit = false): SqliteFailure {
  const error = toError(thrown)
  return { code: codeOf(error), message: error.message, isAtCommit }
}

/** Primary result code. @returns 0 for an error that is not SQLite's. */
export function codeOf(error: Error): number {
  // node:sqlite reports the extended result code; its lowest byte is the primary one.
  if ('errcode' in error && typeof error.errcode === 'number') return error.errcode & 0xff
  if (!('code' in error) || typeof error.code !== 'string') return 0
  const [name] = Object.keys(CODES).filter((known) => String(error.code).startsWith(known))
  return name === undefined ? 0 : (CODES[name] ?? 0)
}

/** True if the cause of the failure is the file, and not the values to write. */
export function isAboutFile({ code }: SqliteFailure): boolean {
  return Object.values(CODES).includes(code)
}

/** The typed error of a failure. */
export function errorOf(
  { code, message, isAtCommit }: SqliteFailure,
  file: string,
  busyTimeoutMs: number,
  cause?: Error,
): Error {
  const options = cause === undefined ? undefined : { cause }
  switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return new SqliteBusyError(file, busyTimeoutMs, options)
    case SQLITE_READONLY:
      return new StoreReadOnlyError(file, `${message}. Give the process write access to it.`, false, options)
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return new SqliteCorruptError(file, message, options)
    case SQLITE_FULL:
      return new StoreFullError(file, options)
    case SQLITE_IOERR:
      if (isAtCommit) return new StoreOutcomeUnknownError(file, options)
      return new StoreUnavailableError(
        file,
        `${message}. Check the disk, and whether the file was replaced.`,
        options,
      )
    case SQLITE_CANTOPEN:
      return new StoreUnavailableError(file, `${message}. Its folder must exist and be writable.`, options)
    default:
      return new SqliteError(file, message, options)
  }
}
