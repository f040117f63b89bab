import type { DomainEvent } from '../events/index.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import { inMemoryTransaction, onStreamDeleted } from '../store/in-memory-event-store.ts'
import {
  InMemoryEventStore,
  type InMemoryEventStoreOptions,
  InMemorySnapshotStore,
  type Snapshot,
  type SnapshotStore,
  type StreamStore,
} from '../store/index.ts'
import { MemoryTable } from '../store/memory-table.ts'
import { checkedStoreOptions } from '../store/read-options.ts'
import { InMemoryCheckpointStore, type NamedCheckpoint } from './checkpoint-store.ts'
import { InMemorySubscriptionDeadLetterStore, type ParkedEvent } from './dead-letter-store.ts'
import { type InboxNote, InMemoryInboxNotes } from './in-memory-inbox.ts'
import { InMemoryOutbox } from './in-memory-outbox.ts'
import { TransactionalInbox } from './inbox.ts'
import { InMemoryLeaseStore } from './lease-store.ts'
import { outgoingEvents } from './outbox.ts'
import type { StoreTransaction } from './store-transaction.ts'
import type { Stores } from './stores.ts'
import { TransactionalProjection } from './transactional-projection.ts'
import type { TransactionalProjectionOptions } from './transactional-units.ts'

/**
 * All stores in memory, with transactions, for tests of programs that use durable stores. Transactions run one at a time, and
 * appends outside of a transaction wait for it.
 */
export class InMemoryStores implements Stores<undefined> {
  readonly events: InMemoryEventStore
  readonly snapshots: InMemorySnapshotStore
  readonly checkpoints: InMemoryCheckpointStore
  readonly leases = new InMemoryLeaseStore()
  readonly deadLetters: InMemorySubscriptionDeadLetterStore
  readonly inbox: TransactionalInbox<undefined>
  readonly outbox: InMemoryOutbox
  readonly #snapshots = new MemoryTable<Snapshot>()
  readonly #checkpoints = new MemoryTable<NamedCheckpoint>()
  readonly #parked = new MemoryTable<ParkedEvent>()
  readonly #notes = new MemoryTable<InboxNote>()

  /** @throws ConfigError if an option is unknown or wrong. */
  constructor(given: InMemoryEventStoreOptions = {}) {
    const options = checkedStoreOptions('InMemoryStores', given)
    const logger = resolveLogger(options.logger)
    const notes = new InMemoryInboxNotes(this.#notes)
    this.events = new InMemoryEventStore(options)
    this.snapshots = new InMemorySnapshotStore(this.#snapshots)
    // A deletion leaves nothing of the state.
    onStreamDeleted(
      this.events,
      (stream) => void this.snapshots.delete(stream.aggregateType, stream.aggregateId),
    )
    this.checkpoints = new InMemoryCheckpointStore(this.#checkpoints)
    this.deadLetters = new InMemorySubscriptionDeadLetterStore(this.#parked)
    this.outbox = new InMemoryOutbox(logger, options.now ?? (() => new Date()))
    this.inbox = new TransactionalInbox<undefined>({
      transaction: (work) => this.transaction(work),
      has: (...note) => notes.has(...note),
      pruneSome: (before) => notes.pruneSome(before),
      retentionMs: Number.POSITIVE_INFINITY,
      logger,
    })
  }

  transaction<T>(work: (tx: StoreTransaction<undefined>) => T | Promise<T>): Promise<T> {
    const snapshots = new MemoryTable(this.#snapshots)
    const checkpoints = new MemoryTable(this.#checkpoints)
    const parked = new MemoryTable(this.#parked)
    const notes = new MemoryTable(this.#notes)
    const outgoing: DomainEvent[] = []
    return inMemoryTransaction(this.events, {
      run: async (events) =>
        work({
          client: undefined,
          events: deletingSnapshots(events, new InMemorySnapshotStore(snapshots)),
          snapshots: new InMemorySnapshotStore(snapshots),
          checkpoints: new InMemoryCheckpointStore(checkpoints),
          deadLetters: new InMemorySubscriptionDeadLetterStore(parked),
          inbox: new InMemoryInboxNotes(notes),
          outbox: { add: async (added) => void outgoing.push(...outgoingEvents(added)) },
        }),
      commit: () => {
        for (const table of [snapshots, checkpoints, parked, notes]) table.commit()
        this.outbox.commit(outgoing)
      },
    })
  }

  projection(options: TransactionalProjectionOptions<undefined>): TransactionalProjection<undefined> {
    const { checkpoints, deadLetters, inbox } = this
    const transaction: typeof this.transaction = (work) => this.transaction(work)
    const onRecorded = () => inbox.pruneInTime()
    return TransactionalProjection.create({ transaction, checkpoints, deadLetters, onRecorded }, options)
  }

  async ready(): Promise<void> {}

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** Streams whose deletion deletes their snapshots, too. */
function deletingSnapshots(events: StreamStore, snapshots: SnapshotStore): StreamStore {
  return {
    ...events,
    deleteStream: async (stream) => {
      const { aggregateId, aggregateType } = stream
      const { version, isDeleted } = await events.getEvents(aggregateId, { aggregateType })
      if (version > 0 && !isDeleted) await snapshots.delete(stream.aggregateType, stream.aggregateId)
      return events.deleteStream(stream)
    },
  }
}
