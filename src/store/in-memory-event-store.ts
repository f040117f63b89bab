import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import { toError } from '../errors.ts'
import type { DomainEvent, EventClass } from '../events/index.ts'
import type { FieldsFirstLogger, Logger } from '../observability/logger.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import { TransactionBypassError } from './errors.ts'
import type {
  AppendRequest,
  AppendResult,
  EventStore,
  EventStoreHealth,
  EventStream,
  FeedFilter,
  FeedPage,
  GetEventsOptions,
  ReadAllOptions,
  StoredEvent,
  StreamName,
  StreamStore,
} from './event-store.ts'
import { MemoryLog } from './memory-log.ts'
import { MemoryReader } from './memory-reader.ts'
import { checkedGetEvents, checkedRead, checkedStoreOptions } from './read-options.ts'

/** Options of an {@link InMemoryEventStore}. */
export interface InMemoryEventStoreOptions {
  /** Logger for listeners that throw; `console` by default. */
  readonly logger?: Logger | FieldsFirstLogger
  /** Returns the time at which events are stored. Default: the system's clock. */
  readonly now?: () => Date
}

let listenToDeletions: (store: InMemoryEventStore, listener: (stream: StreamName) => void) => void
let runInTransaction: <T>(store: InMemoryEventStore, work: TransactionWork<T>) => Promise<T>

/** Work inside a transaction. If the work succeeds, `commit` is called together with the commit of the events. */
export interface TransactionWork<T> {
  readonly run: (events: StreamStore) => Promise<T>
  readonly commit: () => void
}

/** Keeps events in memory, for tests and small programs. They are lost when the process ends. */
export class InMemoryEventStore implements EventStore {
  static {
    runInTransaction = (store, work) => store.#transaction(work)
    listenToDeletions = (store, listener) => {
      store.#onDeleted = listener
    }
  }

  readonly #logger: Logger
  readonly #reader = new MemoryReader()
  readonly #log: MemoryLog
  readonly #listeners = new Set<() => void>()
  readonly #id = randomUUID()
  /** Runs transactions, and writes that wait for them, one at a time. */
  #writing: Promise<unknown> | undefined
  readonly #inside = new AsyncLocalStorage<{ isOpen: boolean }>()
  #onDeleted: (stream: StreamName) => void = () => undefined

  /** @throws ConfigError if an option is unknown or wrong. */
  constructor(options: InMemoryEventStoreOptions = {}) {
    const { logger, now = () => new Date() } = checkedStoreOptions('InMemoryEventStore', options)
    this.#logger = resolveLogger(logger)
    this.#log = new MemoryLog(now, this.#reader)
  }

  appendEvents(request: AppendRequest): Promise<AppendResult> {
    return this.#write('appendEvents', () => this.#log.append(request))
  }

  deleteStream(stream: StreamName): Promise<AppendResult> {
    return this.#write('deleteStream', () => {
      const { version, isDeleted } = this.#log.read(stream.aggregateId, stream, false)
      if (version > 0 && !isDeleted) this.#onDeleted(stream)
      return this.#log.deleteStream(stream)
    })
  }

  async getEvents(aggregateId: string, options: GetEventsOptions = {}): Promise<EventStream> {
    return this.#log.read(aggregateId, checkedGetEvents(options), false)
  }

  async *readAll(options: ReadAllOptions = {}): AsyncIterable<StoredEvent> {
    const { limit = Number.POSITIVE_INFINITY, ...range } = checkedRead('readAll', options)
    const { fromPosition = 0, toPosition = Number.POSITIVE_INFINITY } = range
    const isWanted = matcher(this.#reader.known.withAliases(range))
    let given = 0
    if (given >= limit) return
    for (const stored of this.#log.after(fromPosition)) {
      if (stored.position > toPosition) return
      if (!isWanted(stored.event)) continue
      given += 1
      yield this.#reader.read(stored)
      if (given >= limit) return
    }
  }

  async readPage(options: ReadAllOptions = {}): Promise<FeedPage> {
    const { limit = 500, ...range } = checkedRead('readPage', options)
    const { head } = this.#log
    // By way of `readAll`, which a subclass may override.
    const events: StoredEvent[] = []
    for await (const stored of this.readAll({ ...range, limit })) events.push(stored)
    return { events, head, headEventId: this.#log.at(head)?.event.eventId }
  }

  async eventExists(eventId: string): Promise<boolean> {
    return this.#log.has(eventId, false)
  }

  async headPosition(): Promise<number> {
    return this.#log.head
  }

  async positionBefore(time: Date): Promise<number> {
    for (const { storedAt, position } of this.#log.after(0)) if (storedAt >= time) return position - 1
    return this.#log.head
  }

  onAppend(listener: () => void): () => void {
    // A new function per call, so that the same listener can be added twice.
    const entry = () => listener()
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }

  registerEvents(eventClasses: readonly EventClass[]): void {
    this.#reader.known.register(eventClasses)
  }

  async identity(): Promise<string> {
    return this.#id
  }

  async health(): Promise<EventStoreHealth> {
    return { status: 'up', problems: [], heldBack: undefined }
  }

  async ready(): Promise<void> {}

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}

  /** Writes at once, or after the running transaction. */
  async #write<T>(operation: string, write: () => T): Promise<T> {
    if (this.#inside.getStore()?.isOpen) throw new TransactionBypassError(operation)
    while (this.#writing !== undefined) await this.#writing
    const result = write()
    if (this.#log.commit()) this.#notify()
    return result
  }

  async #transaction<T>({ run, commit }: TransactionWork<T>): Promise<T> {
    if (this.#inside.getStore()?.isOpen) throw new TransactionBypassError('transaction')
    while (this.#writing !== undefined) await this.#writing
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#writing = promise
    const inside = { isOpen: true }
    try {
      const result = await this.#inside.run(inside, () => run(this.#writer()))
      commit()
      if (this.#log.commit()) this.#notify()
      return result
    } catch (thrown) {
      this.#log.rollback()
      throw thrown
    } finally {
      inside.isOpen = false
      this.#writing = undefined
      resolve()
    }
  }

  #writer(): StreamStore {
    const log = this.#log
    return {
      appendEvents: async (request) => log.append(request),
      deleteStream: async (stream) => log.deleteStream(stream),
      getEvents: async (aggregateId, options = {}) => log.read(aggregateId, checkedGetEvents(options), true),
      eventExists: async (eventId) => log.has(eventId, true),
      registerEvents: (eventClasses) => this.#reader.known.register(eventClasses),
    }
  }

  #notify(): void {
    for (const listener of this.#listeners) {
      try {
        listener()
      } catch (thrown) {
        this.#logger.error('a listener of onAppend failed', { error: toError(thrown) })
      }
    }
  }
}

/**
 * Runs work in a transaction of an in-memory store. Its appends become visible if the work succeeds; otherwise they are
 * removed.
 */
export function inMemoryTransaction<T>(store: InMemoryEventStore, work: TransactionWork<T>): Promise<T> {
  return runInTransaction(store, work)
}

/** Calls the listener with each stream that is deleted outside of a transaction. */
export function onStreamDeleted(store: InMemoryEventStore, listener: (stream: StreamName) => void): void {
  listenToDeletions(store, listener)
}

/** @returns a function that returns whether an event passes the filter. */
export function matcher(filter: FeedFilter): (event: DomainEvent) => boolean {
  const { eventTypes, aggregateTypes, tenantId, correlationId } = filter
  const types = eventTypes && new Set(eventTypes)
  const kinds = aggregateTypes && new Set(aggregateTypes)
  return (event) =>
    (types === undefined || types.has(event.eventType)) &&
    (kinds === undefined || kinds.has(event.aggregateType)) &&
    (tenantId === undefined || event.tenantId === tenantId) &&
    (correlationId === undefined || event.correlationId === correlationId)
}
