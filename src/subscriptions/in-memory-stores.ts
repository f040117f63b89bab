import { inMemoryTransaction } from '../store/in-memory-event-store.ts'
import {
  InMemoryEventStore,
  type InMemoryEventStoreOptions,
  InMemorySnapshotStore,
  type Snapshot,
} from '../store/index.ts'
import { MemoryTable } from '../store/memory-table.ts'
import { type Checkpoint, InMemoryCheckpointStore } from './checkpoint-store.ts'
import { InMemorySubscriptionDeadLetterStore, type ParkedEvent } from './dead-letter-store.ts'
import { InMemoryLeaseStore } from './lease-store.ts'
import type { Stores, StoreTransaction } from './stores.ts'

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
  readonly #snapshots = new MemoryTable<Snapshot>()
  readonly #checkpoints = new MemoryTable<Checkpoint>()
  readonly #parked = new MemoryTable<ParkedEvent>()

  constructor(options: InMemoryEventStoreOptions = {}) {
    this.events = new InMemoryEventStore(options)
    this.snapshots = new InMemorySnapshotStore(this.#snapshots)
    this.checkpoints = new InMemoryCheckpointStore(this.#checkpoints)
    this.deadLetters = new InMemorySubscriptionDeadLetterStore(this.#parked)
  }

  transaction<T>(work: (tx: StoreTransaction<undefined>) => Promise<T>): Promise<T> {
    const snapshots = new MemoryTable(this.#snapshots)
    const checkpoints = new MemoryTable(this.#checkpoints)
    const parked = new MemoryTable(this.#parked)
    return inMemoryTransaction(this.events, {
      run: (events) =>
        work({
          client: undefined,
          events,
          snapshots: new InMemorySnapshotStore(snapshots),
          checkpoints: new InMemoryCheckpointStore(checkpoints),
          deadLetters: new InMemorySubscriptionDeadLetterStore(parked),
        }),
      commit: () => {
        for (const table of [snapshots, checkpoints, parked]) table.commit()
      },
    })
  }

  async ready(): Promise<void> {}

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}
