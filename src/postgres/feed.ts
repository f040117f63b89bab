import type { RowDecoder } from '../store/event-row.ts'
import type { FeedFilter, FeedPage, HeldBack, ReadAllOptions, StoredEvent } from '../store/index.ts'
import { PostgresFeedError } from './errors.ts'
import { EVENT_COLUMNS, storedRow } from './event-columns.ts'
import { isTrue, numberOf, type Row, type Session, type Statement, textOf } from './session.ts'

/** The end of the feed. */
export interface FeedEnd {
  /** Position of the last readable event. No event can be added at or before it. */
  readonly head: number
  readonly headEventId: string | undefined
  /** True while an open append holds the feed back. */
  readonly isHeld: boolean
}

export interface PostgresReadOptions extends ReadAllOptions {
  /** Include archived events. Default false. */
  readonly includeArchived?: boolean
}

/** Default number of events in a page. */
const PAGE = 500

/** How long a known end may be reused for pages far before it, in milliseconds. A failover takes longer. */
const END_AGE_MS = 250

/** A page whose positions span at most this many times its size is read in position order instead of by an index. */
const DENSE = 8

/** Number of filters whose faster way to read is remembered. */
const MAX_FILTERS = 200

/** The feed of a store: events in position order, up to the last position before which no event can be added. */
export class PostgresFeed {
  readonly #session: Session
  readonly #schema: string
  readonly #decoder: RowDecoder
  readonly #isSerialized: boolean
  readonly #onEnd: (end: FeedEnd) => void
  readonly #end: Statement
  readonly #holder: Statement
  readonly #density = new Map<string, boolean>()
  #reading: Promise<FeedEnd> | undefined
  #next: Promise<FeedEnd> | undefined
  #known: { readonly end: FeedEnd; readonly at: number } | undefined

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
    this.#holder = { key: 'holder', text: holderText(`${schema}.events_position_seq`) }
  }

  /** The end, read after the call. Callers that arrive during a read share the next one. */
  end(): Promise<FeedEnd> {
    if (this.#reading === undefined) {
      this.#reading = this.#look().finally(() => {
        this.#reading = undefined
      })
      return this.#reading
    }
    this.#next ??= this.#reading
      .catch(() => undefined) // its callers get the error
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
      const events = await this.#read(options, far.end.head, limit)
      // A page that is not full means that there are no more events, which only the current end can prove.
      if (events.length === limit) return { events, head: far.end.head, headEventId: far.end.headEventId }
    }
    const { head, headEventId } = await this.end()
    return { events: await this.#read(options, head, limit), head, headEventId }
  }

  async *all({
    limit = Number.POSITIVE_INFINITY,
    ...options
  }: PostgresReadOptions = {}): AsyncIterable<StoredEvent> {
    let position = options.fromPosition ?? 0
    for (let left = limit; left > 0; ) {
      const size = Math.min(left, PAGE)
      const { events } = await this.page({ ...options, fromPosition: position, limit: size })
      yield* events
      left -= events.length
      if (events.length < size) return
      position = events.at(-1)?.position ?? position
    }
  }

  async positionBefore(time: Date): Promise<number> {
    const { head } = await this.end()
    const { text } = this.#timeStatement()
    const [[position] = []] = await this.#session.run({ key: 'before', text }, [time.toISOString(), head])
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
      throw new PostgresFeedError(`The position ${head} is not a safe integer.`)
    this.#known = { end, at: performance.now() }
    this.#onEnd(end)
    return end
  }

  async #read(options: PostgresReadOptions, head: number, limit: number): Promise<readonly StoredEvent[]> {
    const { fromPosition = 0, toPosition = head } = options
    const to = Math.min(head, toPosition)
    const conditions = conditionsOf(options)
    if (to <= fromPosition || limit <= 0 || conditions.some(({ values }) => values.length === 0)) return []
    const filter = JSON.stringify(conditions)
    const { includeArchived = false } = options
    const isDense = includeArchived || conditions.length === 0 || this.#density.get(filter) === true
    const statement = isDense ? this.#inOrder(conditions, includeArchived) : this.#byIndex(conditions)
    const values = [fromPosition, to, limit, ...conditions.map((condition) => condition.values)]
    const rows = await this.#session.run(statement, values)
    if (conditions.length > 0) this.#remember(filter, rows, { from: fromPosition, to, limit })
    return rows.map((row) => this.#decoder.decode(storedRow(row)))
  }

  #remember(filter: string, rows: readonly Row[], range: { from: number; to: number; limit: number }): void {
    const last = rows.length === range.limit ? numberOf(rows.at(-1)?.[0]) : range.to
    if (this.#density.size >= MAX_FILTERS) this.#density.clear()
    this.#density.set(filter, last - range.from <= DENSE * Math.max(rows.length, 50))
  }

  // The limit is inside and the end of the feed outside: without statistics, the planner expects few rows between two
  // bounds on the position, and sorts the whole table.
  #inOrder(conditions: readonly Condition[], includeArchived: boolean): Statement {
    const where = conditions
      .map(({ column }, index) => `and ${column} = any ($${index + 4}::text[])`)
      .join(' ')
    const first = (table: string) =>
      `(select * from ${this.#schema}.${table} where position > $1 ${where} order by position limit $3)`
    const page = includeArchived
      ? `(${first('events')} union all ${first('events_archive')} order by position limit $3)`
      : first('events')
    return {
      key: `${includeArchived ? 'all' : 'page'}_${keyOf(conditions)}`,
      text: `select ${EVENT_COLUMNS} from ${page} page where position <= $2 order by position`,
    }
  }

  /** Reads by the index of the first condition, which has the positions in order for each value. */
  #byIndex(conditions: readonly Condition[]): Statement {
    const [first, ...others] = conditions
    const column = first?.column ?? 'event_type'
    const where = others.map((other, index) => `and ${other.column} = any ($${index + 5}::text[])`).join(' ')
    return {
      key: `index_${keyOf(conditions)}`,
      text:
        `select ${EVENT_COLUMNS} from ${this.#schema}.events join (` +
        'select wanted.position as at from unnest($4::text[]) as one (value) cross join lateral (' +
        `select position from ${this.#schema}.events where ${column} = one.value and position > $1 and position <= $2 ` +
        `${where} order by ${column}, position limit $3) wanted order by 1 limit $3) page on position = page.at ` +
        'order by position',
    }
  }

  #timeStatement(): { readonly text: string } {
    const { events, archive } = {
      events: `${this.#schema}.events`,
      archive: `${this.#schema}.events_archive`,
    }
    const first = (table: string) =>
      `(select min(position) from ${table} where stored_at >= $1::timestamptz and position <= $2)`
    const last = (table: string) =>
      `(select max(position) from ${table} where position <= $2 and position < coalesce((select position from first), $2 + 1))`
    return {
      text:
        `with first as (select least(${first(events)}, ${first(archive)}) as position) ` +
        `select coalesce(greatest(${last(events)}, ${last(archive)}), 0)`,
    }
  }
}

interface Condition {
  readonly column: string
  readonly values: readonly string[]
}

/** Short enough for the name of a prepared statement. */
const keyOf = (conditions: readonly Condition[]): string =>
  conditions.map(({ column }) => column.slice(0, 4)).join('')

/** The conditions of a filter, starting with the one whose index usually leads to the fewest events. */
function conditionsOf({
  correlationId,
  eventTypes,
  tenantId,
  aggregateTypes,
}: FeedFilter): readonly Condition[] {
  const all: readonly [string, readonly string[] | undefined][] = [
    ['correlation_id', correlationId === undefined ? undefined : [correlationId]],
    ['event_type', eventTypes],
    ['tenant_id', tenantId === undefined ? undefined : [tenantId]],
    ['aggregate_type', aggregateTypes],
  ]
  return all.flatMap(([column, values]) =>
    values === undefined ? [] : [{ column, values: [...new Set(values)] }],
  )
}

/** Selects the session with the oldest entry of the register. $1 is the sequence. */
function holderText(sequence: string): string {
  return `
    select s.last_value - r.behind, r.pid, a.application_name, a.usename, a.state,
      date_part('epoch', clock_timestamp() - coalesce(a.xact_start, p.prepared)) * 1000, p.gid
    from ${sequence} s
    cross join lateral (
      select (s.last_value - l.objid::bigint) & 2147483647 as behind, l.pid, l.virtualtransaction
      from pg_locks l
      where l.locktype = 'advisory' and l.objsubid = 2 and l.objid::bigint <= 2147483647
        and l.classid = $1::regclass::oid
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
    ) r
    left join pg_stat_activity a on a.pid = r.pid
    left join pg_locks x on r.pid is null and x.pid is null and x.locktype = 'transactionid'
      and x.virtualtransaction = r.virtualtransaction
    left join pg_prepared_xacts p on p.transaction = x.transactionid
    where r.behind between 1 and 2130706431
    order by r.behind desc limit 1`
}
