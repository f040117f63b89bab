import type { RowDecoder, StoredRow } from '../store/event-row.ts'
import type { FeedPage, HeldBack, ReadAllOptions, StoredEvent } from '../store/index.ts'
import { PAGE_BYTES, upToBytes } from '../store/page-bytes.ts'
import { checkedReadWithArchive } from '../store/read-options.ts'
import { PostgresFeedError } from './errors.ts'
import { EVENT_COLUMN_COUNT, storedRow } from './event-columns.ts'
import {
  afterPosition,
  conditionsOf,
  endAndNext,
  holderOf,
  lastPosition,
  pageByIndex,
  pageInOrder,
  positionBefore,
} from './feed-statements.ts'
import { pageRows } from './joined-rows.ts'
import { RecentEnd } from './recent-end.ts'
import { atMost, isTrue, numberOf, type Row, type Session, type Statement, textOf } from './session.ts'

/** The end of the feed. */
export interface FeedEnd {
  /** Position of the last readable event. No event can be added at or before it. */
  readonly head: number
  readonly headEventId: string | undefined
  /** True while an open append holds the feed back. */
  readonly isHeld: boolean
}

/** Which events `readAll` reads from PostgreSQL. */
export interface PostgresReadOptions extends ReadAllOptions {
  /** Include archived events. Default false. */
  readonly includeArchived?: boolean
}

/** Default number of events in a page. */
const PAGE = 500

/**
 * If the positions of a page span at most this many times its size, the page is read in position order instead of by an
 * index.
 */
const DENSE = 8

/** Maximum number of filters for which the faster query is remembered. */
const MAX_FILTERS = 200

/** The feed of a store: events in position order, up to the last position before which no event can be added. */
export class PostgresFeed {
  readonly #session: Session
  readonly #schema: string
  readonly #decoder: RowDecoder
  readonly #isSerialized: boolean
  readonly #onEnd: (end: FeedEnd) => void
  readonly #end: Statement
  readonly #next: Statement
  readonly #holder: Statement
  readonly #before: Statement
  readonly #last: Statement
  readonly #density = new Map<string, boolean>()
  #reading: Promise<FeedEnd> | undefined
  #nextReading: Promise<FeedEnd> | undefined
  readonly #recent = new RecentEnd<FeedEnd>()

  /** @param onEnd - called with the end each time it is read. */
  constructor(
    session: Session,
    schema: string,
    decoder: RowDecoder,
    isSerialized: boolean,
    onEnd: (end: FeedEnd) => void,
  ) {
    this.#onEnd = onEnd
    this.#session = session
    this.#schema = schema
    this.#decoder = decoder
    this.#isSerialized = isSerialized
    this.#end = {
      key: 'feed_end',
      text: `select head, head_event_id, is_held, is_replica from ${schema}.feed_end()`,
    }
    this.#next = endAndNext(schema)
    this.#holder = holderOf(schema)
    this.#before = positionBefore(schema)
    this.#last = lastPosition(schema)
  }

  /** Reads the end of the feed after the call. Callers that arrive during a read share the next read. */
  end(): Promise<FeedEnd> {
    if (this.#reading === undefined) {
      this.#reading = this.#look().finally(() => {
        this.#reading = undefined
      })
      return this.#reading
    }
    this.#nextReading ??= this.#reading
      .catch(() => undefined) // its callers get the error
      .then(() => {
        this.#nextReading = undefined
        return this.end()
      })
    return this.#nextReading
  }

  async page(given: PostgresReadOptions = {}): Promise<FeedPage> {
    const { limit = PAGE, ...options } = checkedReadWithArchive('readPage', given)
    const { fromPosition = 0 } = options
    const far = this.#recent.after(fromPosition, limit)
    if (far !== undefined) {
      const part = await this.#read(options, far.head, limit)
      // A page that is neither full nor cut means that there are no more events, which only the current end can prove.
      if (part.events.length === limit || part.isCut) return pageOf(part, far)
    }
    const { end, part } = await this.#endAndNext(options, limit)
    return pageOf(part ?? (await this.#read(options, end.head, limit)), end)
  }

  async *all(given: PostgresReadOptions = {}): AsyncIterable<StoredEvent> {
    const { limit = Number.POSITIVE_INFINITY, ...options } = checkedReadWithArchive('readAll', given)
    let position = options.fromPosition ?? 0
    for (let left = limit; left > 0; ) {
      const size = Math.min(left, PAGE)
      const page = await this.page({ ...options, fromPosition: position, limit: size })
      const { events } = page
      yield* events
      left -= events.length
      if (events.length < size && page.isCut !== true) return
      position = events.at(-1)?.position ?? position
    }
  }

  /** Position of the last committed event, readable or not. */
  async last(): Promise<number> {
    const [[position] = []] = await this.#session.run(this.#last)
    return numberOf(position ?? '0')
  }

  async positionBefore(time: Date): Promise<number> {
    const { head } = await this.end()
    const [[position] = []] = await this.#session.run(this.#before, [time.toISOString(), head])
    return numberOf(position ?? '0')
  }

  /** The session that holds the feed back: the oldest entry of the register. */
  async heldBack(): Promise<HeldBack | undefined> {
    const [row] = await this.#session.run(this.#holder, [`${this.#schema}.events_position_seq`])
    if (row === undefined) return undefined
    const [position, pid, name, user, state, since, prepared] = row
    const session =
      pid === null
        ? `the prepared transaction ${textOf(prepared)}`
        : `process ${textOf(pid)} (${textOf(name)}, user ${textOf(user)}, ${textOf(state)})`
    return { position: numberOf(position), sinceMs: Math.max(0, Math.round(numberOf(since ?? '0'))), session }
  }

  /** Reads the end, and the events after the position together with it if there is no more than a few. */
  async #endAndNext(options: PostgresReadOptions, limit: number): Promise<EndAndPart> {
    const isPlain = options.toPosition === undefined && options.includeArchived !== true && limit > 0
    // Callers that arrive during a read share the next one of the end.
    if (!isPlain || this.#reading !== undefined) return { end: await this.end() }
    const { fromPosition = 0, maxBytes = PAGE_BYTES } = options
    const conditions = conditionsOf(this.#decoder.known.withAliases(options))
    const values = afterPosition(fromPosition, atMost(limit), atMost(maxBytes), conditions)
    const answer = this.#session.run(this.#next, values).then(([first = [], ...cells]) => {
      const [isNear, fromEventId] = first.slice(EVENT_COLUMN_COUNT + 4)
      const end = this.#noted(first.slice(EVENT_COLUMN_COUNT))
      return { end, ...(isTrue(isNear) && { cells, fromEventId: fromEventId ?? undefined }) }
    })
    this.#reading = answer
      .then(({ end }) => end)
      .finally(() => {
        this.#reading = undefined
      })
    this.#reading.catch(() => undefined) // the caller gets the error of the answer
    const { end, cells, fromEventId } = await answer
    if (cells === undefined) return { end }
    return {
      end,
      part: { ...(await this.#part(cells.map(storedRow), { ...options, limit, maxBytes })), fromEventId },
    }
  }

  async #look(): Promise<FeedEnd> {
    const [row = []] = await this.#session.run(this.#end)
    return this.#noted(row)
  }

  #noted([head, eventId, isHeld, isReplica]: Row): FeedEnd {
    if (isTrue(isReplica) && !this.#isSerialized) {
      throw new PostgresFeedError(
        "The server is a standby, and only the primary knows which appends are open. Read the feed there, or have all writers use order: 'serialized'.",
      )
    }
    const end = { head: numberOf(head), headEventId: eventId ?? undefined, isHeld: isTrue(isHeld) }
    if (!Number.isSafeInteger(end.head))
      throw new PostgresFeedError(`The position ${head} is not a safe integer.`)
    this.#recent.note(end)
    this.#onEnd(end)
    return end
  }

  async #read(options: PostgresReadOptions, head: number, limit: number): Promise<PartOfFeed> {
    const { fromPosition = 0, toPosition = head, maxBytes = PAGE_BYTES } = options
    const to = Math.min(head, toPosition)
    const conditions = conditionsOf(this.#decoder.known.withAliases(options))
    if (to <= fromPosition || limit <= 0 || conditions.some(({ values }) => values.length === 0))
      return { events: [], isCut: false }
    const filter = JSON.stringify(conditions)
    const { includeArchived = false } = options
    const isDense = includeArchived || conditions.length === 0 || this.#density.get(filter) === true
    const statement = (joined: boolean) =>
      isDense
        ? pageInOrder(this.#schema, { conditions, includeArchived, joined, limit })
        : pageByIndex(this.#schema, { conditions, joined })
    const values = [
      fromPosition,
      to,
      atMost(limit),
      atMost(maxBytes),
      ...conditions.map(({ values }) => values),
    ]
    const found = await pageRows(options.undecoded === true, (joined) =>
      this.#session.run(statement(joined), values),
    )
    const part = await this.#part(found, { ...options, limit, maxBytes })
    if (conditions.length > 0) this.#remember(filter, part, { from: fromPosition, to, limit })
    return part
  }

  async #part(found: readonly StoredRow[], { limit, maxBytes, undecoded }: PartOptions): Promise<PartOfFeed> {
    const { rows, isCut } = upToBytes(found, limit, maxBytes)
    return { events: await this.#decoder.decodeAll(rows, undecoded), isCut }
  }

  #remember(filter: string, { events, isCut }: PartOfFeed, { from, to, limit }: FeedRange): void {
    const last = events.length === limit || isCut ? (events.at(-1)?.position ?? to) : to
    if (this.#density.size >= MAX_FILTERS) this.#density.clear()
    this.#density.set(filter, last - from <= DENSE * Math.max(events.length, 50))
  }
}

interface PartOptions extends Pick<ReadAllOptions, 'undecoded'> {
  readonly limit: number
  readonly maxBytes: number
}

interface FeedRange {
  readonly from: number
  readonly to: number
  readonly limit: number
}

/** Events of the feed, and whether the part ended because of its size. */
interface PartOfFeed {
  readonly events: readonly StoredEvent[]
  readonly isCut: boolean
  /** Id of the event at the position before the part, if it was read. */
  readonly fromEventId?: string | undefined
}

interface EndAndPart {
  readonly end: FeedEnd
  readonly part?: PartOfFeed
}

const pageOf = ({ events, isCut, fromEventId }: PartOfFeed, { head, headEventId }: FeedEnd): FeedPage => ({
  events,
  head,
  headEventId,
  ...(isCut && { isCut }),
  ...(fromEventId !== undefined && { fromEventId }),
})
