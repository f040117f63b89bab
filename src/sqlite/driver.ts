import { createRequire } from 'node:module'
import { ConfigError } from '../errors.ts'

/** A value that SQLite can store. */
export type SqliteValue = string | number | null

/** The common part of the prepared statements of `node:sqlite` and better-sqlite3. */
export interface SqliteStatement {
  run(...values: readonly SqliteValue[]): {
    readonly changes: number | bigint
    readonly lastInsertRowid: number | bigint
  }
  get(...values: readonly SqliteValue[]): unknown
  all(...values: readonly SqliteValue[]): unknown[]
  iterate(...values: readonly SqliteValue[]): Iterable<unknown>
  /** Of `node:sqlite`, since Node.js 22.16: each row is an array. */
  setReturnArrays?(isEnabled: boolean): unknown
  /** Of better-sqlite3: each row is the value of its first column. */
  pluck?(isEnabled: boolean): unknown
}

/** The part of a connection that the stores use: a `DatabaseSync` of `node:sqlite`, or a better-sqlite3 `Database`. */
export interface SqliteConnection {
  exec(sql: string): unknown
  prepare(sql: string): SqliteStatement
  close(): unknown
}

/** The package that opens files. */
export type SqliteDriver = 'node:sqlite' | 'better-sqlite3'

type OpenFile = new (file: string) => SqliteConnection

/** @throws ConfigError if the driver is not installed; the driver's error if the file cannot be opened. */
export function openConnection(driver: SqliteDriver, file: string): SqliteConnection {
  const Connection = classOf(driver)
  return new Connection(file)
}

/**
 * Checks that a connection uses the same copy of SQLite. If one copy closes a file, it releases the locks of another
 * copy in the same process, and the file can be damaged: https://sqlite.org/howtocorrupt.html, section 2.2.1.
 *
 * @throws TypeError
 */
export function assertSameDriver(driver: SqliteDriver, client: SqliteConnection): void {
  if (client instanceof classOf(driver)) return
  throw new TypeError(
    `within takes a connection of ${driver}, the driver of these stores: two copies of SQLite in one process break each ` +
      "other's locks. Open it with the same driver, or set the stores' driver option.",
  )
}

function classOf(driver: SqliteDriver): OpenFile {
  return driver === 'node:sqlite' ? nodeDriver() : betterSqlite3()
}

function nodeDriver(): OpenFile {
  // Undefined if this version of Node.js has no such module.
  const module: typeof import('node:sqlite') | undefined = process.getBuiltinModule('node:sqlite')
  if (module === undefined) {
    throw new ConfigError('SqliteStores', [
      `driver 'node:sqlite' is not in Node.js ${process.versions.node}: use Node.js 22.13 or later, or driver 'better-sqlite3'`,
    ])
  }
  return module.DatabaseSync
}

function betterSqlite3(): OpenFile {
  try {
    // The package is CommonJS: its export is the class.
    return createRequire(import.meta.url)('better-sqlite3') as OpenFile
  } catch (cause) {
    const fault =
      "driver 'better-sqlite3' cannot be loaded: npm install better-sqlite3, with the Node.js version that runs this program"
    throw Object.assign(new ConfigError('SqliteStores', [fault]), { cause })
  }
}
