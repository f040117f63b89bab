import {
  type AppendRequest,
  type AppendResult,
  type EventStore,
  type EventStream,
  InMemoryEventStore,
  InMemoryStores,
  planAppend,
  type StoredEvent,
  type Stores,
  type StoreTransaction,
  type StreamStore,
  type TransactionalProjection,
  type TransactionalProjectionOptions,
} from '../../src/index.ts'

/**
 * Stores with the fault that most feeds on a SQL sequence have: a position is drawn when an event is written, and seen
 * when its transaction commits. Transactions run side by side.
 */
export class NaiveSequenceStores implements Stores<undefined> {
  readonly #others = new InMemoryStores()
  readonly #rows: StoredEvent[] = []
  readonly #listeners = new Set<() => void>()
  #sequence = 0
  readonly snapshots = this.#others.snapshots
  readonly checkpoints = this.#others.checkpoints
  readonly leases = this.#others.leases
  readonly deadLetters = this.#others.deadLetters
  readonly inbox = this.#others.inbox
  readonly outbox = this.#others.outbox
  readonly events: EventStore = this.#eventStore()

  async transaction<T>(work: (tx: StoreTransaction<undefined>) => Promise<T>): Promise<T> {
    const { snapshots, checkpoints, deadLetters } = this
    const written: StoredEvent[] = []
    const result = await work({
      ...{ client: undefined, snapshots, checkpoints, deadLetters },
      events: this.#streams(written),
      // Not used by the tests that run on it.
      inbox: { add: async () => true },
      outbox: { add: async () => undefined },
    })
    this.#commit(written)
    return result
  }

  /** Not used by the tests that run on it. */
  projection(options: TransactionalProjectionOptions<undefined>): TransactionalProjection<undefined> {
    return this.#others.projection(options)
  }

  async ready(): Promise<void> {}

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}

  #eventStore(): EventStore {
    const head = () => this.#rows.at(-1)?.position ?? 0
    // The tests do not use the members that are not overridden.
    return Object.assign(new InMemoryEventStore(), this.#streams(undefined), {
      readPage: async ({ fromPosition = 0, limit = 500 } = {}) => {
        const events = this.#rows.filter(({ position }) => position > fromPosition).slice(0, limit)
        return { events, head: head(), headEventId: undefined }
      },
      readAll: async function* (this: EventStore, options = {}) {
        yield* (await this.readPage({ limit: Number.POSITIVE_INFINITY, ...options })).events
      },
      headPosition: async () => head(),
      onAppend: (listener: () => void) => {
        this.#listeners.add(listener)
        return () => void this.#listeners.delete(listener)
      },
    })
  }

  #streams(written: StoredEvent[] | undefined): StreamStore {
    const visible = () => [...this.#rows, ...(written ?? [])]
    const ofStream = (id: string) => visible().filter(({ event }) => event.aggregateId === id)
    return {
      appendEvents: async (request: AppendRequest): Promise<AppendResult> => {
        const fresh: StoredEvent[] = []
        const stream = { version: ofStream(request.aggregateId).length, isDeleted: false }
        const plan = planAppend(request, stream, (id) => visible().find(({ event }) => event.eventId === id))
        for (const event of plan.toWrite) {
          this.#sequence += 1
          fresh.push({ event, position: this.#sequence, storedAt: new Date() })
        }
        if (written === undefined) this.#commit(fresh)
        else written.push(...fresh)
        const last = fresh.at(-1) ?? ofStream(request.aggregateId).at(-1)
        const repeated = plan.lastKnown
        return (
          repeated ?? { newVersion: last?.event.aggregateVersion ?? 0, globalPosition: last?.position ?? 0 }
        )
      },
      getEvents: async (aggregateId): Promise<EventStream> => {
        const events = ofStream(aggregateId).map(({ event }) => event)
        return { aggregateId, aggregateType: 'Note', events, version: events.length, isDeleted: false }
      },
      eventExists: async (eventId) => visible().some(({ event }) => event.eventId === eventId),
      deleteStream: async () => ({ newVersion: 0, globalPosition: 0 }),
      registerEvents: () => undefined,
    }
  }

  #commit(written: readonly StoredEvent[]): void {
    this.#rows.push(...written)
    this.#rows.sort((a, b) => a.position - b.position)
    if (written.length > 0) for (const listener of this.#listeners) listener()
  }
}
