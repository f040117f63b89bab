import { toError } from '../errors.ts'
import { EventRegistry } from '../events/index.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import { RowDecoder } from '../store/event-row.ts'
import { StoreClosedError, TransactionRequiredError } from '../store/index.ts'
import {
  type DatabaseStores,
  type StoreTransaction,
  TransactionalInbox,
  TransactionalProjection,
  type TransactionalProjectionOptions,
} from '../subscriptions/index.ts'
import type { SqliteAccess } from './access.ts'
import { SqliteCheckpointStore } from './checkpoints.ts'
import { SqliteDatabase } from './database.ts'
import { SqliteDeadLetterStore } from './dead-letters.ts'
import { assertSameDriver, type SqliteConnection } from './driver.ts'
import { errorOf, failureOf } from './errors.ts'
import { SqliteEventStore } from './event-store.ts'
import { SqliteInboxNotes } from './inbox.ts'
import { SqliteLeaseStore } from './leases.ts'
import { type ResolvedSqliteOptions, resolveSqliteOptions, type SqliteStoresOptions } from './options.ts'
import { SqliteOutbox, SqliteOutboxTransaction } from './outbox.ts'
import { text } from './rows.ts'
import { SqliteSnapshotStore } from './snapshots.ts'
import { SqliteStatements } from './statements.ts'
import { SqliteStreams } from './streams.ts'
import { SqliteWatch } from './watch.ts'
import { runWrite, type Write, type WriteName } from './writes.ts'

/**
 * All stores in one SQLite file, with an inbox and an outbox. They need no server, and no package if they use the
 * driver of Node.js. Several processes may use the file; they write one after the other.
 *
 * @example
 * await using stores = new SqliteStores({ file: 'data/orders.db' })
 * const orders = new AggregateRepository({ eventStore: stores.events, aggregateFactory: Order, aggregateType: 'Order' })
 */
export class SqliteStores implements DatabaseStores<SqliteConnection> {
  readonly events: SqliteEventStore
  readonly snapshots: SqliteSnapshotStore
  readonly checkpoints: SqliteCheckpointStore
  readonly leases: SqliteLeaseStore
  readonly deadLetters: SqliteDeadLetterStore
  readonly inbox: TransactionalInbox<SqliteConnection>
  readonly outbox: SqliteOutbox
  readonly #database: SqliteDatabase
  readonly #watch: SqliteWatch
  readonly #decoder: RowDecoder
  readonly #options: ResolvedSqliteOptions

  /** The file is opened by the first call, or by `ready`. @throws ConfigError */
  constructor(options: SqliteStoresOptions) {
    const resolved = resolveSqliteOptions(options)
    this.#options = resolved
    this.#decoder = new RowDecoder(resolved.registry ?? new EventRegistry(), 'text')
    this.#decoder.known.register(resolved.events)
    this.#database = new SqliteDatabase(resolved, (writes, results) => this.#committed(writes, results))
    const logger = resolveLogger(resolved.logger)
    this.#watch = new SqliteWatch({
      open: () => {
        this.#database.open().catch((thrown: unknown) => {
          logger.warn('opening the file failed', { file: resolved.file, error: toError(thrown) })
        })
      },
      version: () => Number(this.#database.reader?.get('pragma data_version')?.['data_version'] ?? 0),
      releases: () => text(this.#database.reader?.get(RELEASED)?.['released']),
      intervalMs: resolved.watchIntervalMs,
      logger,
    })
    const access: SqliteAccess = {
      read: this.#database.read,
      write: this.#database.write,
      decoder: this.#decoder,
    }
    this.events = new SqliteEventStore(access, this.#database, this.#watch, () => this.close())
    this.snapshots = new SqliteSnapshotStore(access)
    this.checkpoints = new SqliteCheckpointStore(access)
    this.leases = new SqliteLeaseStore(access, this.#watch)
    this.deadLetters = new SqliteDeadLetterStore(access)
    this.outbox = new SqliteOutbox({
      ...{ access, leases: this.leases },
      storeId: () => this.events.identity(),
      onAppend: (listener) => this.#watch.onAppend(listener),
    })
    const notes = new SqliteInboxNotes(access)
    this.inbox = new TransactionalInbox({
      transaction: (work) => this.transaction(work),
      has: (...note) => notes.has(...note),
      pruneSome: (before) => notes.pruneSome(before),
      retentionMs: resolved.inboxRetentionMs,
      logger,
    })
  }

  async transaction<T>(work: (tx: StoreTransaction<SqliteConnection>) => T | Promise<T>): Promise<T> {
    const written: Write[] = []
    const results: unknown[] = []
    const result = await this.#database.transaction(async (db) => {
      const unit = new OpenUnit(db, this.#decoder, this.#options, (write, outcome) => {
        written.push(write)
        results.push(outcome)
      })
      try {
        return await work(unit.transaction)
      } finally {
        unit.end()
      }
    })
    this.#committed(written, results)
    return result
  }

  /**
   * Returns the stores inside a transaction that you have opened with `begin immediate` on your own connection to the
   * file. Its commit is detected in the same way as a commit of another process.
   *
   * @throws TypeError if the connection uses another driver than the stores.
   */
  within(client: SqliteConnection): StoreTransaction<SqliteConnection> {
    assertSameDriver(this.#options.driver, client)
    return new OpenUnit(new SqliteStatements(client), this.#decoder, this.#options, () => undefined)
      .transaction
  }

  projection(
    options: TransactionalProjectionOptions<SqliteConnection>,
  ): TransactionalProjection<SqliteConnection> {
    const { checkpoints, deadLetters, inbox } = this
    const transaction: typeof this.transaction = (work) => this.transaction(work)
    const onRecorded = () => inbox.pruneInTime()
    return TransactionalProjection.create({ transaction, checkpoints, deadLetters, onRecorded }, options)
  }

  async ready(): Promise<void> {
    await this.#database.open()
  }

  async close(): Promise<void> {
    this.#watch.close()
    await this.#database.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #committed(writes: readonly Write[], results: readonly unknown[]): void {
    const events = writes.some(({ name }, index) => growsFeed(name, results[index]))
    const leases = writes.some(({ name }) => name === 'releaseLease')
    if (events || leases) this.#watch.committed({ events, leases })
  }
}

/** Selects the released leases, as one text. */
const RELEASED = `select group_concat(name || ' ' || fence) as released from eventspine_leases where expires_at = 0`

function growsFeed(name: WriteName, result: unknown): boolean {
  if (name === 'append') return Reflect.get(Object(result), 'outcome') === 'stored'
  return name === 'deleteStream' || name === 'importRows' || name === 'addToOutbox'
}

/** Writes that make sense only if other writes are committed with them. */
const NEEDS_TRANSACTION: ReadonlySet<WriteName> = new Set(['addNote', 'addToOutbox'])

/** @throws TransactionRequiredError for a caller's connection without an open transaction. */
function assertInTransaction(connection: SqliteConnection, operation: string): void {
  // The property has one name in `node:sqlite` and another in better-sqlite3.
  const isIn = Reflect.get(connection, 'isTransaction') ?? Reflect.get(connection, 'inTransaction')
  if (isIn === false) throw new TransactionRequiredError(operation, 'a connection without one')
}

/** An open transaction. */
class OpenUnit {
  readonly transaction: StoreTransaction<SqliteConnection>
  readonly #options: ResolvedSqliteOptions
  #isOpen = true
  #failure: Error | undefined

  constructor(
    db: SqliteStatements,
    decoder: RowDecoder,
    options: ResolvedSqliteOptions,
    onWrite: (write: Write, result: unknown) => void,
  ) {
    this.#options = options
    const access: SqliteAccess = {
      decoder,
      read: async (read) => {
        return this.#run(() => read(db))
      },
      write: async (name, args) => {
        if (NEEDS_TRANSACTION.has(name)) assertInTransaction(db.connection, name)
        const result = this.#run(() => runWrite(db, { name, args }))
        onWrite({ name, args }, result)
        // The result of the write with this name.
        return result as never
      },
    }
    this.transaction = {
      client: db.connection,
      events: new SqliteStreams(access),
      snapshots: new SqliteSnapshotStore(access),
      checkpoints: new SqliteCheckpointStore(access),
      deadLetters: new SqliteDeadLetterStore(access),
      inbox: new SqliteInboxNotes(access),
      outbox: new SqliteOutboxTransaction(access),
    }
  }

  end(): void {
    this.#isOpen = false
  }

  #run<T>(call: () => T): T {
    if (!this.#isOpen) throw new StoreClosedError('The transaction')
    // The failure may have ended the transaction, and later statements would be committed on their own.
    if (this.#failure !== undefined) throw this.#failure
    try {
      return call()
    } catch (thrown) {
      const failure = failureOf(thrown)
      if (failure.code === 0) throw thrown
      const { file, busyTimeoutMs } = this.#options
      this.#failure = errorOf(failure, file, busyTimeoutMs, toError(thrown))
      throw this.#failure
    }
  }
}
