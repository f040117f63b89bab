import type { RowDecoder } from '../store/event-row.ts'
import type { FeedPage, HeldBack, ReadAllOptions, StoredEvent } from '../store/index.ts'
import { isCut, PAGE_BYTES, upToBytes } from '../store/page-bytes.ts'
import { PostgresFeedError } from './errors.ts'
import { storedRow } from './event-columns.ts'
import { conditionsOf, holderOf, pageByIndex, pageInOrder, positionBefore } from './feed-statements.ts'
import { isTrue, numberOf, type Session, type Statement, textOf } from './session.ts'

/** Where the feed ends. */
export interface FeedEnd {
  /** Position of the last event at or before which nothing can be added. */
  readonly head: number
  readonly headEventId: string | undefined
  /** An open append keeps the feed from going further. */
  readonly isHeld: boolean
}

export interface PostgresReadOptions extends ReadAllOptions {
  /** Also the events that were archived. Default false. */
  readonly includeArchived?: boolean
}

/** Events of a page unless the caller says otherwise. */
const PAGE = 500

/** How long an end may be used for pages far before it, in milliseconds. A failover takes longer. */
const END_AGE_MS = 250

/** A page that is found among so many times as many positions is read in the order of positions, not by an index. */
const DENSE = 8

/** For how many filters it is remembered how they are read best. */
const MAX_FILTERS = 200

/** The feed of a store: in the order of positions, up to where no event can be added any more. */
export class PostgresFeed {
  readonly #session: Session
  readonly #schema: string
  readonly #decoder: RowDecoder
  readonly #isSerialized: boolean
  readonly #onEnd: (end: FeedEnd) => void
  readonly #end: Statement
  readonly #holder: Statement
  readonly #before: Statement
  readonly #density = new Map<string, boolean>()
  #reading: Promise<FeedEnd> | undefined
  #next: Promise<FeedEnd> | undefined
  #known: { readonly end: FeedEnd; readonly at: number } | undefined

  /** @param onEnd - is called with each look at the end. */
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
    this.#holder = holderOf(schema)
    this.#before = positionBefore(schema)
  }

  /** The end as it is after the call. Callers that ask while a look is under way share the next one. */
  end(): Promise<FeedEnd> {
    if (this.#reading === undefined) {
      this.#reading = this.#look().finally(() => {
        this.#reading = undefined
      })
      return this.#reading
    }
    this.#next ??= this.#reading
      .catch(() => undefined) // reported to those who asked for it
      .then(() => {
        this.#next = undefined
        return this.end()
      })
    return this.#next
  }

  async page({ limit = PAGE, ...options }: PostgresReadOptions = {}): Promise<FeedPage> {
    const { fromPosition = 0 } = options
    const far = this.#known
    if (
      far !== undefined &&
      far.end.head - fromPosition > 2 * limit &&
      performance.now() - far.at < END_AGE_MS
    ) {
      const part = await this.#read(options, far.end.head, limit)
      // A page that is neither full nor cut says that the feed has no more: only the present end may say that.
      if (part.events.length === limit || part.isCut) return pageOf(part, far.end)
    }
    const end = await this.end()
    return pageOf(await this.#read(options, end.head, limit), end)
  }

  async *all({
    limit = Number.POSITIVE_INFINITY,
    ...options
  }: PostgresReadOptions = {}): AsyncIterable<StoredEvent> {
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

  async positionBefore(time: Date): Promise<number> {
    const { head } = await this.end()
    const [[position] = []] = await this.#session.run(this.#before, [time.toISOString(), head])
    return numberOf(position ?? '0')
  }

  /** What keeps the feed from going on: the oldest entry of the register. */
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

  async #look(): Promise<FeedEnd> {
    const [row = []] = await this.#session.run(this.#end)
    const [head, eventId, isHeld, isReplica] = row
    if (isTrue(isReplica) && !this.#isSerialized) {
      throw new PostgresFeedError(
        "The server is a standby, and only the primary knows which appends are open. Read the feed there, or have all writers use order: 'serialized'.",
      )
    }
    const end = { head: numberOf(head), headEventId: eventId ?? undefined, isHeld: isTrue(isHeld) }
    if (!Number.isSafeInteger(end.head))
      throw new PostgresFeedError(`The position ${head} is no safe integer.`)
    this.#known = { end, at: performance.now() }
    this.#onEnd(end)
    return end
  }

  async #read(options: PostgresReadOptions, head: number, limit: number): Promise<PartOfFeed> {
    const { fromPosition = 0, toPosition = head, maxBytes = PAGE_BYTES } = options
    const to = Math.min(head, toPosition)
    const conditions = conditionsOf(options)
    if (to <= fromPosition || limit <= 0 || conditions.some(({ values }) => values.length === 0))
      return { events: [], isCut: false }
    const filter = JSON.stringify(conditions)
    const { includeArchived = false } = options
    const isDense = includeArchived || conditions.length === 0 || this.#density.get(filter) === true
    const statement = isDense
      ? pageInOrder(this.#schema, conditions, includeArchived)
      : pageByIndex(this.#schema, conditions)
    const values = [fromPosition, to, limit, maxBytes, ...conditions.map((condition) => condition.values)]
    const cells = await this.#session.run(statement, values)
    const rows = upToBytes(cells.map(storedRow), maxBytes)
    const part = { events: await this.#decoder.decodeAll(rows), isCut: isCut(rows, limit, maxBytes) }
    if (conditions.length > 0) this.#remember(filter, part, { from: fromPosition, to, limit })
    return part
  }

  #remember(filter: string, { events, isCut }: PartOfFeed, { from, to, limit }: FeedRange): void {
    const last = events.length === limit || isCut ? (events.at(-1)?.position ?? to) : to
    if (this.#density.size >= MAX_FILTERS) this.#density.clear()
    this.#density.set(filter, last - from <= DENSE * Math.max(events.length, 50))
  }
}

interface FeedRange {
  readonly from: number
  readonly to: number
  readonly limit: number
}

/** Events of the feed, and whether their size ended them. */
interface PartOfFeed {
  readonly events: readonly StoredEvent[]
  readonly isCut: boolean
}

const pageOf = ({ events, isCut }: PartOfFeed, { head, headEventId }: FeedEnd): FeedPage => ({
  events,
  head,
  headEventId,
  ...(isCut && { isCut }),
})
