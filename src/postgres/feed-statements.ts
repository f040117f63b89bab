import type { FeedFilter } from '../store/index.ts'
import { rowsOf } from './joined-rows.ts'
import type { Statement } from './session.ts'

export interface Condition {
  readonly column: string
  readonly values: readonly string[]
}

/** Minimum size of an event in the index of large events, in bytes. */
const LARGE_BYTES = 8192

/**
 * Number of events that the planner expects in a page of the usual sizes. Without it, the planner expects a tenth of the table
 * for any limit, so that each page would be planned on its own, which takes a quarter of the time of the page.
 */
const USUAL_EVENTS = 1000

/** Returns a key that is short enough for the name of a prepared statement. */
const keyOf = (conditions: readonly Condition[]): string =>
  conditions.map(({ column }) => column.slice(0, 4)).join('')

/** The conditions of a filter. The first one is that whose index usually finds the fewest events. */
export function conditionsOf({
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

/** Which page a statement reads, and in which form. */
export interface PageForm {
  readonly conditions: readonly Condition[]
  readonly includeArchived: boolean
  /** True for each row as one text. */
  readonly joined: boolean
  /** The value of $3. */
  readonly limit: number
}

/**
 * A page in the order of the positions. $1 to $4 are the position to start after, the last position, the maximum number
 * of events and the maximum number of bytes; the values of each condition follow.
 */
export function pageInOrder(schema: string, form: PageForm): Statement {
  const { conditions, includeArchived, joined, limit } = form
  if (conditions.length === 0 && !includeArchived) return wholePage(schema, joined, limit)
  const where = conditions.map(({ column }, index) => `and ${column} = any ($${index + 5}::text[])`).join(' ')
  const first = (table: string) =>
    `(select * from ${schema}.${table} where position > $1 ${where} order by position limit $3)`
  const page = includeArchived
    ? `(${first('events')} union all ${first('events_archive')} order by position limit $3)`
    : first('events')
  // The limit is in the inner query and the end of the feed in the outer one. With both bounds on the position in one
  // query, a planner without statistics expects only a few rows, and sorts the whole table.
  const source = `${page} page where position <= $2`
  const key = `${includeArchived ? 'all' : 'page'}_${keyOf(conditions)}`
  return sized(key, source, joined)
}

/**
 * A page without a filter. Adding up the bytes of each event would take as long as finding it, so the statement adds up
 * only the large events, which an index finds. The reader adds up the others.
 */
function wholePage(schema: string, joined: boolean, limit: number): Statement {
  const cut =
    'select position from (select position, sum(bytes) over (order by position) as total ' +
    `from (select position, bytes from ${schema}.events where bytes > ${LARGE_BYTES} and position > $1 ` +
    'order by position limit $3) large) large where total >= $4 order by position limit 1'
  const page = firstAfter(`${schema}.events`, limit)
  const source = `(${page}) page where position <= $2 and position <= coalesce((${cut}), $2)`
  return inForm(`page_${sizeKey(limit)}`, source, joined)
}

const sizeKey = (limit: number): string => (limit > USUAL_EVENTS ? 'large' : '')

/** The first $3 events after the position $1. @param limit - the value of $3. */
function firstAfter(table: string, limit: number): string {
  const after = `select * from ${table} where position > $1 order by position limit`
  if (limit > USUAL_EVENTS) return `${after} $3`
  return `select * from (${after} ${USUAL_EVENTS}) usual order by position limit $3`
}

/** A page by the index of the first condition, which returns the positions in order for each of its values. */
export function pageByIndex(
  schema: string,
  { conditions, joined }: Pick<PageForm, 'conditions' | 'joined'>,
): Statement {
  const [first, ...others] = conditions
  const column = first?.column ?? 'event_type'
  const where = others.map((other, index) => `and ${other.column} = any ($${index + 6}::text[])`).join(' ')
  // The query uses an array of positions instead of a join, because for a join the planner might scan the whole table.
  // It compares rows, because only the index of the column has this order: for a value and a range of positions, the
  // planner might use the primary key and scan all events that do not match.
  const source =
    `${schema}.events where position = any (array(` +
    'select wanted.position from unnest($5::text[]) as one (value) cross join lateral (' +
    `select position from ${schema}.events where (${column}, position) > (one.value, $1) ` +
    `and (${column}, position) <= (one.value, $2) and ${column} is not null ` +
    `${where} order by ${column}, position limit $3) wanted order by 1 limit $3))`
  return sized(`index_${keyOf(conditions)}`, source, joined)
}

/** The end of the feed, and the events after a position if that is near the end. $1 to $7: see {@link afterPosition}. */
export function endAndNext(schema: string): Statement {
  return { key: 'feed_next', text: `select * from ${schema}.feed_next($1, $2, $3, $4, $5, $6, $7)` }
}

/** The values of {@link endAndNext}. A condition that the filter does not have is null. */
export function afterPosition(
  position: number,
  limit: number,
  maxBytes: number,
  conditions: readonly Condition[],
): readonly unknown[] {
  const wanted = (name: string) => conditions.find(({ column }) => column === name)?.values ?? null
  return [
    position,
    limit,
    maxBytes,
    wanted('correlation_id'),
    wanted('event_type'),
    wanted('tenant_id'),
    wanted('aggregate_type'),
  ]
}

const OUTBOX_BYTES = 'octet_length(payload::text) + coalesce(octet_length(metadata::text), 0)'

/** A page of the outbox, with the values of `pageInOrder`. */
export function outboxPage(
  schema: string,
  { conditions, joined, limit }: Omit<PageForm, 'includeArchived'>,
): Statement {
  const outbox = `${schema}.outbox`
  if (conditions.length === 0) return wholeOutboxPage(outbox, joined, limit)
  const where = conditions.map(({ column }, index) => `and ${column} = any ($${index + 5}::text[])`).join(' ')
  const first = `select * from ${outbox} where position > $1 ${where} order by position limit $3`
  const source = `(select *, ${OUTBOX_BYTES} as bytes from (${first}) page where position <= $2) page`
  return sized(`outbox_${keyOf(conditions)}`, source, joined)
}

/** Most pages are smaller than $4 bytes. One sum shows that in half the time of a sum for each event. */
function wholeOutboxPage(outbox: string, joined: boolean, limit: number): Statement {
  const page = firstAfter(outbox, limit)
  const total = `select sum(${OUTBOX_BYTES}) from (${page}) whole`
  const totals = `select position, sum(${OUTBOX_BYTES}) over (order by position) as total from (${page}) whole`
  const cut = `select position from (${totals}) totals where total >= $4 order by position limit 1`
  const last = `case when (${total}) < $4 then $2 else least($2, (${cut})) end`
  return inForm(`outbox_${sizeKey(limit)}`, `(${page}) page where position <= ${last}`, joined)
}

/** Ends a page with the event that reaches $4 bytes. Large values of later events are not read from the disk. */
function sized(key: string, source: string, joined: boolean): Statement {
  const before = 'sum(bytes) over (order by position rows unbounded preceding) - bytes as before'
  return inForm(key, `(select *, ${before} from ${source}) page where before < $4`, joined)
}

const inForm = (key: string, source: string, joined: boolean): Statement => ({
  key: joined ? `${key}_joined` : key,
  text: rowsOf(source, joined),
})

/** The position of the last event, of those in the archive, too. */
export function lastPosition(schema: string): Statement {
  const last = (table: string) => `coalesce((select max(position) from ${schema}.${table}), 0)`
  return { key: 'feed_last', text: `select greatest(${last('events')}, ${last('events_archive')})` }
}

/** $1: a time, $2: the end of the feed. */
export function positionBefore(schema: string): Statement {
  const { events, archive } = { events: `${schema}.events`, archive: `${schema}.events_archive` }
  const first = (table: string) =>
    `(select min(position) from ${table} where stored_at >= $1::timestamptz and position <= $2)`
  const last = (table: string) =>
    `(select max(position) from ${table} where position <= $2 and position < coalesce((select position from first), $2 + 1))`
  return {
    key: 'before',
    text:
      `with first as (select least(${first(events)}, ${first(archive)}) as position) ` +
      `select coalesce(greatest(${last(events)}, ${last(archive)}), 0)`,
  }
}

/** Finds the session with the oldest entry in the register. $1 is the sequence. */
export function holderOf(schema: string): Statement {
  const text = `
    select s.last - r.behind, r.pid, a.application_name, a.usename, a.state,
      date_part('epoch', clock_timestamp() - coalesce(a.xact_start, p.prepared)) * 1000, p.gid
    from (select coalesce(pg_sequence_last_value($1::regclass), 0) as last from ${schema}.events_position_seq) s
    cross join lateral (
      select (s.last - l.objid::bigint) & 2147483647 as behind, l.pid, l.virtualtransaction
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
  return { key: 'holder', text }
}
