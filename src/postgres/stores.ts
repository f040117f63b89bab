import { EventRegistry } from '../events/index.ts'
import { RowDecoder } from '../store/event-row.ts'
import { StoreClosedError } from '../store/index.ts'
import {
  type DatabaseStores,
  type StoreTransaction,
  TransactionalInbox,
  TransactionalProjection,
  type TransactionalProjectionOptions,
} from '../subscriptions/index.ts'
import { AppendSignal } from './append-signal.ts'
import { appendStatement } from './append-statement.ts'
import { eventCheckpoints, PostgresCheckpointStore } from './checkpoints.ts'
import type { OwnPoolClient, PooledPostgresClient, PostgresClient } from './client.ts'
import { PostgresConnections } from './connections.ts'
import { PostgresDeadLetterStore } from './dead-letters.ts'
import { STORE } from './errors.ts'
import { PostgresEventStore } from './event-store.ts'
import { PostgresFeed } from './feed.ts'
import { GroupCommit, sendAppend } from './group-commit.ts'
import { addNoteText, PostgresInboxNotes } from './inbox.ts'
import { PostgresLeaseStore } from './leases.ts'
import { PostgresMigrations } from './migrations.ts'
import { OpenTransactionCheck, refusePool } from './open-transaction.ts'
import {
  type PostgresStoresOptions,
  type ResolvedPostgresOptions,
  resolvePostgresOptions,
} from './options.ts'
import { PostgresOutbox, PostgresOutboxTransaction } from './outbox.ts'
import { ClientSession, quoted, type Row, type Session, type Statement } from './session.ts'
import { PostgresSnapshotStore } from './snapshots.ts'
import { PostgresStreams } from './streams.ts'

/**
 * Events, snapshots, checkpoints, leases and parked events in PostgreSQL, and an inbox and outbox.
 *
 * Several processes can use one store. Readers of the feed never miss an event, and writers do not wait for each other.
 * The stores connect at the first call.
 *
 * @example
 * await using stores = new PostgresStores({ postgresUrl: 'postgres://localhost/shop' })
 * const orders = new AggregateRepository({ eventStore: stores.events, aggregateFactory: Order, aggregateType: 'Order' })
 */
export class PostgresStores<Client extends PooledPostgresClient = OwnPoolClient>
  implements DatabaseStores<PostgresClient>
{
  readonly events: PostgresEventStore
  readonly snapshots: PostgresSnapshotStore
  readonly checkpoints: PostgresCheckpointStore
  readonly leases: PostgresLeaseStore
  readonly deadLetters: PostgresDeadLetterStore
  readonly inbox: TransactionalInbox<Client>
  readonly outbox: PostgresOutbox
  /** The migrations of the schema. */
  readonly migrations: PostgresMigrations
  readonly #options: ResolvedPostgresOptions
  readonly #schema: string
  readonly #connections: PostgresConnections
  readonly #decoder: RowDecoder
  readonly #signal: AppendSignal
  #ready: Promise<void> | undefined
  #closed: Promise<void> | undefined

  /** @throws ConfigError with all faults of the options. */
  constructor(options: PostgresStoresOptions<Client>) {
    const resolved = resolvePostgresOptions(options)
    const schema = quoted(resolved.schema)
    const isSerialized = resolved.order === 'serialized'
    const connections = new PostgresConnections(resolved)
    const decoder = new RowDecoder(resolved.registry ?? new EventRegistry(), 'json')
    decoder.known.register(resolved.events ?? [])
    const feed = new PostgresFeed(connections, schema, decoder, isSerialized, (end) => this.#signal.seen(end))
    this.#options = resolved
    this.#schema = schema
    this.#connections = connections
    this.#decoder = decoder
    this.migrations = new PostgresMigrations(connections, resolved.schema)
    const { logger, pollIntervalMs, wakeUp, heldBackWarningMs } = resolved
    this.#signal = new AppendSignal({
      ...{ connections, feed, schema: resolved.schema, pollIntervalMs, logger },
      isListening: wakeUp === 'listen',
      outboxHead: () => this.outbox.headPosition(),
      ready: () => this.ready(),
    })
    const group = new GroupCommit(connections, schema, isSerialized, this.#signal)
    const streams = new PostgresStreams({
      ...{ session: connections, schema, decoder, isSerialized, inTransaction: undefined },
      send: (append) => group.append(append),
      onWritten: (isNotified) => this.#signal.written(isNotified),
    })
    const ready = () => this.ready()
    this.events = new PostgresEventStore({
      ...{ connections, schema, isSerialized, decoder, streams, feed, heldBackWarningMs, ready },
      signal: this.#signal,
      close: () => this.close(),
    })
    const session = new ReadySession(connections, ready)
    this.snapshots = new PostgresSnapshotStore(session, schema)
    this.checkpoints = new PostgresCheckpointStore(session, eventCheckpoints(schema))
    this.deadLetters = new PostgresDeadLetterStore(session, schema, decoder)
    this.leases = new PostgresLeaseStore(new ReadySession(this.#signal.service, ready), schema, {
      send: () => this.#signal.released(),
      listen: (listener) => this.#signal.onRelease(listener),
    })
    const notes = new PostgresInboxNotes(session, schema, isOpen)
    this.inbox = new TransactionalInbox({
      transaction: (work) => this.transaction(work),
      recording: ({ handlerName, eventId }, work) => {
        const add = addNoteText(schema, handlerName, eventId)
        return this.#transact((tx, rows) => work(tx, rows > 0), add)
      },
      has: (...note) => notes.has(...note),
      pruneSome: (before) => notes.pruneSome(before),
      retentionMs: resolved.inboxRetentionMs,
      logger,
    })
    this.outbox = new PostgresOutbox({
      ...{ session, schema, decoder, leases: this.leases },
      storeId: () => this.events.identity(),
      onAppend: (listener) => this.#signal.onOutbox(listener),
    })
  }

  transaction<T>(work: (tx: StoreTransaction<Client>) => T | Promise<T>): Promise<T> {
    return this.#transact(work)
  }

  /**
   * Returns the stores inside a transaction that the caller has opened on its own client, and will commit or roll back.
   * A refused append leaves the transaction usable. Call `ready` first.
   *
   * @throws TransactionRequiredError for a pool.
   * @example
   * await client.query('begin')
   * await orders.within(stores.within(client)).save(order)
   * await client.query('commit')
   */
  within<Own extends PostgresClient>(client: Own): StoreTransaction<Own> {
    if (this.#connections.isClosed) throw new StoreClosedError(STORE)
    refusePool(client)
    const check = new OpenTransactionCheck(client)
    return this.#transactionOn(client, {
      notify: this.#signal.payload,
      onWritten: () => undefined,
      assertOpen: (operation) => check.assertOpen(operation),
    })
  }

  projection(options: TransactionalProjectionOptions<Client>): TransactionalProjection<Client> {
    const { checkpoints, deadLetters, inbox } = this
    const transaction: typeof this.transaction = (work) => this.transaction(work)
    const onRecorded = () => inbox.pruneInTime()
    return TransactionalProjection.create({ transaction, checkpoints, deadLetters, onRecorded }, options)
  }

  ready(): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(new StoreClosedError(STORE))
    this.#ready ??= this.#prepare().catch((error: unknown) => {
      this.#ready = undefined // the next call tries again
      throw error
    })
    return this.#ready
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #prepare(): Promise<void> {
    const { migrate } = this.#options
    if (migrate === 'run') await this.migrations.run()
    if (migrate === 'check') await this.migrations.check()
  }

  async #close(): Promise<void> {
    await this.#connections.settled()
    await this.#signal.close()
    await this.#connections.close()
  }

  /** @param first - the first statement of the transaction. The work gets the number of its rows. */
  async #transact<T>(
    work: (tx: StoreTransaction<Client>, rows: number) => T | Promise<T>,
    first?: string,
  ): Promise<T> {
    this.#connections.assertOutside('transaction')
    await this.ready()
    let hasWritten = false
    const onWritten = () => {
      hasWritten = true
    }
    const result = await this.#connections.transaction(async (client, rows) => {
      // The client belongs to the given pool or to the stores' own.
      const tx = this.#transactionOn(client as Client, { notify: null, onWritten, assertOpen: isOpen })
      return work(tx, rows)
    }, first)
    if (hasWritten) this.#signal.written()
    return result
  }

  #transactionOn<Own extends PostgresClient>(
    client: Own,
    { notify, onWritten, assertOpen }: TransactionEnds,
  ): StoreTransaction<Own> {
    const session = new ClientSession(client, this.#connections.style)
    const schema = this.#schema
    const isSerialized = this.#options.order === 'serialized'
    const inTransaction = { notify }
    const statement = appendStatement(schema)
    return {
      client,
      events: new PostgresStreams({
        ...{ session, schema, decoder: this.#decoder, isSerialized, inTransaction, onWritten },
        send: (append) => sendAppend(session, statement, append, isSerialized, inTransaction),
      }),
      snapshots: new PostgresSnapshotStore(session, schema),
      checkpoints: new PostgresCheckpointStore(session, eventCheckpoints(schema)),
      deadLetters: new PostgresDeadLetterStore(session, schema, this.#decoder),
      inbox: new PostgresInboxNotes(session, schema, assertOpen),
      outbox: new PostgresOutboxTransaction({ session, schema, notify, onWritten, assertOpen }),
    }
  }
}

/** What a transaction does in addition to its statements. */
interface TransactionEnds {
  /** The payload that the commit notifies; null if this process sends the notification. */
  readonly notify: string | null
  readonly onWritten: () => void
  /** Rejects if no transaction is open. */
  readonly assertOpen: (operation: string) => Promise<void>
}

/** Used for a transaction that the stores have opened. */
const isOpen = async (): Promise<void> => undefined

/** Runs statements once the schema is ready. */
class ReadySession implements Session {
  readonly #session: Session
  readonly #ready: () => Promise<void>

  constructor(session: Session, ready: () => Promise<void>) {
    this.#session = session
    this.#ready = ready
  }

  async run(statement: Statement, values?: readonly unknown[]): Promise<readonly Row[]> {
    await this.#ready()
    return this.#session.run(statement, values)
  }
}
