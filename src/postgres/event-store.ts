import type { EventClass } from '../events/index.ts'
import type { RowDecoder } from '../store/event-row.ts'
import type {
  AppendRequest,
  AppendResult,
  EventStore,
  EventStoreHealth,
  EventStream,
  FeedPage,
  GetEventsOptions,
  HeldBack,
  StoredEvent,
  StreamName,
} from '../store/index.ts'
import { checkedArchiveTarget } from '../store/read-options.ts'
import type { AppendSignal } from './append-signal.ts'
import { archiveEvents, type PostgresArchiveTarget } from './archive.ts'
import type { PostgresConnections } from './connections.ts'
import { translated } from './errors.ts'
import type { PostgresFeed, PostgresReadOptions } from './feed.ts'
import { importEvents } from './import.ts'
import { type Statement, textOf } from './session.ts'
import type { PostgresStreams } from './streams.ts'

export interface PostgresEventStoreParts {
  readonly connections: PostgresConnections
  readonly schema: string
  readonly isSerialized: boolean
  readonly decoder: RowDecoder
  readonly streams: PostgresStreams
  readonly feed: PostgresFeed
  readonly signal: AppendSignal
  readonly heldBackWarningMs: number
  /** Resolves when the schema is that of this release. */
  readonly ready: () => Promise<void>
  readonly close: () => Promise<void>
}

/** The event store of a `PostgresStores`. */
export class PostgresEventStore implements EventStore {
  readonly #parts: PostgresEventStoreParts
  readonly #identity: Statement

  constructor(parts: PostgresEventStoreParts) {
    this.#parts = parts
    this.#identity = { key: 'identity', text: `select id from ${parts.schema}.store` }
  }

  async appendEvents(request: AppendRequest): Promise<AppendResult> {
    this.#parts.connections.assertOutside('appendEvents')
    await this.#parts.ready()
    return this.#parts.streams.appendEvents(request)
  }

  async getEvents(aggregateId: string, options?: GetEventsOptions): Promise<EventStream> {
    await this.#parts.ready()
    return this.#parts.streams.getEvents(aggregateId, options)
  }

  async eventExists(eventId: string): Promise<boolean> {
    await this.#parts.ready()
    return this.#parts.streams.eventExists(eventId)
  }

  async deleteStream(stream: StreamName): Promise<AppendResult> {
    this.#parts.connections.assertOutside('deleteStream')
    await this.#parts.ready()
    return this.#parts.streams.deleteStream(stream)
  }

  registerEvents(eventClasses: readonly EventClass[]): void {
    this.#parts.streams.registerEvents(eventClasses)
  }

  async *readAll(options?: PostgresReadOptions): AsyncIterable<StoredEvent> {
    await this.#parts.ready()
    yield* this.#parts.feed.all(options)
  }

  async readPage(options?: PostgresReadOptions): Promise<FeedPage> {
    await this.#parts.ready()
    return this.#parts.feed.page(options)
  }

  async headPosition(): Promise<number> {
    await this.#parts.ready()
    return (await this.#parts.feed.end()).head
  }

  async lastPosition(): Promise<number> {
    await this.#parts.ready()
    return this.#parts.feed.last()
  }

  async positionBefore(time: Date): Promise<number> {
    await this.#parts.ready()
    return this.#parts.feed.positionBefore(time)
  }

  onAppend(listener: () => void): () => void {
    return this.#parts.signal.onAppend(listener)
  }

  async identity(): Promise<string> {
    await this.#parts.ready()
    const [[id] = []] = await this.#parts.connections.run(this.#identity)
    return textOf(id)
  }

  async health(): Promise<EventStoreHealth> {
    let heldBack: HeldBack | undefined
    try {
      await this.#parts.ready()
      await this.#parts.feed.end()
      heldBack = await this.#parts.feed.heldBack()
    } catch (thrown) {
      return { status: 'down', problems: [translated(thrown, false).message], heldBack: undefined }
    }
    if (heldBack === undefined || heldBack.sinceMs < this.#parts.heldBackWarningMs) {
      return { status: 'up', problems: [], heldBack }
    }
    const seconds = Math.round(heldBack.sinceMs / 1000)
    const problem = `the feed has been held back for ${seconds} s by an open append of ${heldBack.session}`
    return { status: 'degraded', problems: [problem], heldBack }
  }

  ready(): Promise<void> {
    return this.#parts.ready()
  }

  close(): Promise<void> {
    return this.#parts.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /**
   * Writes events of another store, or of a file, with COPY. They keep versions, ids and times, and get new positions in
   * the order of the iterable. Each batch is a transaction. Events that are already in the store are skipped, so an
   * interrupted import can be repeated.
   *
   * @returns the number of imported events.
   * @throws the error of the iterable; the server's error if a stream has another event at a version.
   */
  async import(events: AsyncIterable<StoredEvent> | Iterable<StoredEvent>): Promise<number> {
    await this.#parts.ready()
    const result = await importEvents(
      this.#parts.connections,
      this.#parts.schema,
      this.#parts.isSerialized,
      events,
    )
    this.#parts.signal.written()
    return result
  }

  /** Reads all events in order, including archived ones, in the form that `import` of another store accepts. */
  export(): AsyncIterable<StoredEvent> {
    return this.readAll({ includeArchived: true })
  }

  /**
   * Moves events to the archive, in transactions of 1,000. They leave the feed, keep their positions, and stay in their
   * streams.
   *
   * @returns the number of archived events.
   * @throws PostgresArchiveError if a checkpoint is before the events.
   * @throws ConfigError if the target is neither a stream nor `upTo`.
   * @example
   * await stores.events.archive({ upTo: await stores.events.positionBefore(lastYear) })
   */
  async archive(target: PostgresArchiveTarget): Promise<number> {
    const checked = checkedArchiveTarget(target)
    await this.#parts.ready()
    const { head } = await this.#parts.feed.end()
    return archiveEvents(this.#parts.connections, this.#parts.schema, checked, head)
  }
}
