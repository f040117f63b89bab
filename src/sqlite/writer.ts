import { codeOf, failureOf, SQLITE_BUSY, SQLITE_CORRUPT, type SqliteFailure } from './errors.ts'
import type { SqliteStatements } from './statements.ts'
import { runWrite, type Write } from './writes.ts'

/** The outcome of a batch: all results, or a failure, in which case nothing was written. */
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

/** Rolls back a transaction, even if SQLite has already ended it. */
export function rollBack({ connection }: SqliteStatements): void {
  try {
    connection.exec('rollback')
  } catch (thrown) {
    // "no transaction is active": the earlier failure has ended it.
    if (thrown instanceof Error && codeOf(thrown) > 1) throw thrown
  }
}

/** Copies committed pages from the log into the file, except those that a reader still needs. */
export function checkpointLog(db: SqliteStatements): void {
  try {
    db.get('pragma wal_checkpoint(passive)')
  } catch (thrown) {
    // Another process is copying the log.
    if (!(thrown instanceof Error) || codeOf(thrown) !== SQLITE_BUSY) throw thrown
  }
}

/** Checks the whole file for damage. */
export function checkFile(db: SqliteStatements): WriterAnswer {
  try {
    const [answer] = Object.values(db.get('pragma quick_check(1)') ?? {})
    if (answer === 'ok') return { results: [] }
    return { failure: { code: SQLITE_CORRUPT, message: String(answer), isAtCommit: false } }
  } catch (thrown) {
    return { failure: failureOf(thrown) }
  }
}
