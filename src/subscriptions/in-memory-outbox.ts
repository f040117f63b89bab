import { randomUUID } from 'node:crypto'
import { toError } from '../errors.ts'
import type { DomainEvent, EventClass } from '../events/index.ts'
import type { Logger } from '../observability/logger.ts'
import { matcher } from '../store/in-memory-event-store.ts'
import type { EventStoreHealth, FeedPage, ReadAllOptions, StoredEvent } from '../store/index.ts'
import { MemoryReader } from '../store/memory-reader.ts'
import { MemoryTable } from '../store/memory-table.ts'
import { checkedRead } from '../store/read-options.ts'
import { type Checkpoint, type CheckpointStore, replacement } from './checkpoint-store.ts'
import { InMemoryLeaseStore } from './lease-store.ts'
import type { Outbox } from './outbox.ts'

/** The outbox of `InMemoryStores`. */
export class InMemoryOutbox implements Outbox {
  readonly checkpoints: CheckpointStore
  readonly leases = new InMemoryLeaseStore()
  readonly #logger: Logger
  readonly #now: () => Date
  readonly #reader = new MemoryReader()
  readonly #relays = new MemoryTable<Checkpoint>()
  readonly #listeners = new Set<() => void>()
  readonly #id = randomUUID()
  #events: readonly StoredEvent[] = []
  #head = 0

  constructor(logger: Logger, now: () => Date) {
    this.#logger = logger
    this.#now = now
    this.checkpoints = {
      load: async (name) => this.#relays.get(name),
      save: async (name, checkpoint, previous) => this.#save(name, checkpoint, previous),
    }
  }

  /** Adds the events of a transaction when it commits. */
  commit(events: readonly DomainEvent[]): void {
    if (events.length === 0) return
    const storedAt = this.#now()
    const added = events.map((event, index) => ({ event, position: this.#head + 1 + index, storedAt }))
    this.#events = [...this.#events, ...added]
    this.#head += events.length
    for (const listener of this.#listeners) this.#call(listener)
  }

  async readPage(options: ReadAllOptions = {}): Promise<FeedPage> {
    const { limit = 500, ...range } = checkedRead('readPage', options)
    const { fromPosition = 0, toPosition = Number.POSITIVE_INFINITY } = range
    const isWanted = matcher(range)
    const events = this.#events
      .filter(({ event, position }) => position > fromPosition && position <= toPosition && isWanted(event))
      .slice(0, limit)
      .map((stored) => this.#reader.read(stored))
    return { events, head: this.#head, headEventId: this.#events.at(-1)?.event.eventId }
  }

  async headPosition(): Promise<number> {
    return this.#head
  }

  async positionBefore(time: Date): Promise<number> {
    const first = this.#events.find(({ storedAt }) => storedAt >= time)
    return first === undefined ? this.#head : first.position - 1
  }

  onAppend(listener: () => void): () => void {
    // A new function per call, so that the same listener can be added twice.
    const entry = () => listener()
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }

  async identity(): Promise<string> {
    return this.#id
  }

  async health(): Promise<EventStoreHealth> {
    return { status: 'up', problems: [], heldBack: undefined }
  }

  registerEvents(eventClasses: readonly EventClass[]): void {
    this.#reader.known.register(eventClasses)
  }

  async removeRelay(name: string): Promise<boolean> {
    return this.#relays.delete(name)
  }

  /** @throws CheckpointConflictError */
  #save(name: string, checkpoint: Checkpoint, previous: number | undefined): void {
    this.#relays.set(name, replacement(name, this.#relays.get(name), checkpoint, previous))
    const published = Math.min(...this.#relays.rows().map(({ position }) => position))
    this.#events = this.#events.filter(({ position }) => position >= published)
  }

  #call(listener: () => void): void {
    try {
      listener()
    } catch (thrown) {
      this.#logger.error('a listener of onAppend failed', { error: toError(thrown) })
    }
  }
}
