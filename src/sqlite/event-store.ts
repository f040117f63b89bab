import { toError } from '../errors.ts'
import { readable } from '../redaction.ts'
import type { StoredRow } from '../store/event-row.ts'
import { encodeRow, importable } from '../store/event-row.ts'
import type {
  EventStore,
  EventStoreHealth,
  FeedPage,
  ReadAllOptions,
  StoredEvent,
  StreamName,
} from '../store/index.ts'
import { checkedArchiveTarget, checkedReadWithArchive } from '../store/read-options.ts'
import type { SqliteAccess } from './access.ts'
import type { SqliteDatabase } from './database.ts'
import { SqliteArchiveError, SqliteImportError } from './errors.ts'
import { type FeedRows, feedEnd, positionBefore, readFeed } from './reads.ts'
import { text } from './rows.ts'
import { SqliteStreams } from './streams.ts'
import type { SqliteWatch } from './watch.ts'
import { MOVE_BATCH } from './writes.ts'

/** Which events `readAll` reads from a SQLite file. */
export interface SqliteReadOptions extends ReadAllOptions {
  /** Include archived events. Default false. */
  readonly includeArchived?: boolean
}

/** The events to archive: a stream, or all events up to a position that all checkpoints have passed. */
export type ArchiveTarget = StreamName | { readonly upTo: number }

const PAGE = 500

/** The event store of a {@link SqliteStores}. */
export class SqliteEventStore extends SqliteStreams implements EventStore {
  readonly #access: SqliteAccess
  readonly #database: SqliteDatabase
  readonly #watch: SqliteWatch
  readonly #close: () => Promise<void>
  #id: string | undefined

  constructor(
    access: SqliteAccess,
    database: SqliteDatabase,
    watch: SqliteWatch,
    close: () => Promise<void>,
  ) {
    super(access)
    this.#access = access
    this.#database = database
    this.#watch = watch
    this.#close = close
  }

  async *readAll(options: SqliteReadOptions = {}): AsyncIterable<StoredEvent> {
    const { limit = Number.POSITIVE_INFINITY, ...range } = checkedReadWithArchive('readAll', options)
    const { head } = await this.#access.read(feedEnd)
    const last = Math.min(head, range.toPosition ?? head)
    let { fromPosition = 0 } = range
    for (let left = limit; left > 0; ) {
      const wanted = Math.min(PAGE, left)
      const { rows, isCut } = await this.#rows({ ...range, fromPosition }, wanted, last)
      yield* await this.#access.decoder.decodeAll(rows)
      fromPosition = rows.at(-1)?.position ?? last
      left -= rows.length
      if (rows.length < wanted && !isCut) return
    }
  }

  async readPage(options: ReadAllOptions = {}): Promise<FeedPage> {
    const { limit = PAGE, ...range } = checkedReadWithArchive('readPage', options)
    const { head, headEventId } = await this.#access.read(feedEnd)
    const last = Math.min(head, range.toPosition ?? head)
    const { rows, isCut } = await this.#rows(range, limit, last)
    const events = await this.#access.decoder.decodeAll(rows, range.undecoded)
    return { events, head, headEventId, ...(isCut && { isCut }) }
  }

  #rows(range: SqliteReadOptions, limit: number, last: number): Promise<FeedRows> {
    const { read, decoder } = this.#access
    return readFeed(read, decoder.known.withAliases(range), limit, last)
  }

  async headPosition(): Promise<number> {
    return (await this.#access.read(feedEnd)).head
  }

  positionBefore(time: Date): Promise<number> {
    return this.#access.read((db) => positionBefore(db, time.getTime()))
  }

  onAppend(listener: () => void): () => void {
    return this.#watch.onAppend(listener)
  }

  async identity(): Promise<string> {
    this.#id ??= await this.#access.read((db) => text(db.get('select id from eventspine_store')?.['id']))
    return this.#id
  }

  async health(): Promise<EventStoreHealth> {
    try {
      await this.#access.read(feedEnd)
      this.#database.assertInPlace()
      return { status: 'up', problems: [], heldBack: undefined }
    } catch (thrown) {
      return { status: 'down', problems: [readable(toError(thrown).message)], heldBack: undefined }
    }
  }

  async ready(): Promise<void> {
    await this.#database.open()
  }

  /** Closes the stores that this event store belongs to. */
  close(): Promise<void> {
    return this.#close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close()
  }

  /**
   * Stores events of another store with their positions, versions and times, in transactions of 1,000. Events that are
   * already stored are skipped, so an interrupted import can be repeated.
   *
   * @returns the number of stored events.
   * @throws SqliteImportError if a position belongs to another event, or is before the end of the feed.
   * @example
   * await sqlite.events.import(other.events.readAll())
   */
  async import(events: AsyncIterable<StoredEvent> | Iterable<StoredEvent>): Promise<number> {
    let imported = 0
    let batch: StoredRow[] = []
    const flush = async () => {
      const answer = await this.#access.write('importRows', { rows: batch })
      if (answer.refused !== undefined) throw new SqliteImportError(answer.refused)
      imported += answer.imported
      batch = []
    }
    for await (const stored of events) {
      const { position, storedAt } = stored
      const event = importable(stored)
      batch.push({ ...encodeRow(event), aggregateVersion: event.aggregateVersion, position, storedAt })
      if (batch.length === MOVE_BATCH) await flush()
    }
    if (batch.length > 0) await flush()
    return imported
  }

  /** Reads all events in order, including archived ones, in the form that `import` of another store accepts. */
  export(): AsyncIterable<StoredEvent> {
    return this.readAll({ includeArchived: true })
  }

  /**
   * Moves events to the archive, in transactions of 1,000. They leave the feed and stay in their streams.
   *
   * @returns the number of archived events.
   * @throws SqliteArchiveError if a checkpoint is before the events.
   * @throws ConfigError if the target is neither a stream nor `upTo`.
   */
  async archive(target: ArchiveTarget): Promise<number> {
    const checked = checkedArchiveTarget(target)
    const args = 'upTo' in checked ? { upTo: checked.upTo } : { ...checked }
    let moved = 0
    for (;;) {
      const answer = await this.#access.write('archive', args)
      if (answer.behind !== undefined) throw new SqliteArchiveError(answer.behind)
      moved += answer.moved
      if (answer.moved < MOVE_BATCH) return moved
    }
  }
}
