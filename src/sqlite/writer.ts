import { codeOf, failureOf, SQLITE_BUSY, SQLITE_CORRUPT, type SqliteFailure } from './errors.ts'
import type { SqliteStatements } from './statements.ts'
import { runWrite, type Write } from './writes.ts'

/** What a batch of writes came to: all results, or nothing was written. */
export type WriterAnswer = { readonly results: readonly unknown[] } | { readonly failure: SqliteFailure }

/** Runs writes in one transaction. Never throws. */
export function runBatch(db: SqliteStatements, batch: readonly Write[]): WriterAnswer {
  const { connection } = db
  let isCommitting = false
  try {
    connection.exec('begin immediate')
    const results = batch.map((write) => runWrite(db, write))
    isCommitting = true
    connection.exec('commit')
    return { results }
  } catch (thrown) {
    const failure = failureOf(thrown, isCommitting)
    rollBack(db)
    return { failure }
  }
}

/** Ends a transaction that SQLite may have ended itself. */
export function rollBack({ connection }: SqliteStatements): void {
  try {
    connection.exec('rollback')
  } catch (thrown) {
    // "no transaction is active": what failed before had ended it.
    if (thrown instanceof Error && codeOf(thrown) > 1) throw thrown
  }
}

/** Copies what is committed from the log into the file, as far as nobody reads it. */
export function checkpointLog(db: SqliteStatements): void {
  try {
    db.get('pragma wal_checkpoint(passive)')
  } catch (thrown) {
    // Another process does it at this moment.
    if (!(thrown instanceof Error) || codeOf(thrown) !== SQLITE_BUSY) throw thrown
  }
}

/** Reads the whole file. @returns what is wrong with it. */
export function checkFile(db: SqliteStatements): WriterAnswer {
  try {
    const [answer] = Object.values(db.get('pragma quick_check(1)') ?? {})
    if (answer === 'ok') return { results: [] }
    return { failure: { code: SQLITE_CORRUPT, message: String(answer), isAtCommit: false } }
  } catch (thrown) {
    return { failure: failureOf(thrown) }
  }
}
