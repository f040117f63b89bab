import { setImmediate as nextTurn } from 'node:timers/promises'
import { toError } from '../errors.ts'
import type { DomainEvent, EventClass } from '../events/index.ts'
import { encodeRow, type StoredRow } from '../store/event-row.ts'
import type { EventStoreHealth, FeedPage, ReadAllOptions } from '../store/index.ts'
import { PAGE_BYTES } from '../store/page-bytes.ts'
import { checkedRead } from '../store/read-options.ts'
import type { CheckpointStore, LeaseStore, Outbox, OutboxTransaction } from '../subscriptions/index.ts'
import { OUTBOX_LEASE_PREFIX, outgoingEvents, PrefixedLeaseStore } from '../subscriptions/outbox.ts'
import type { SqliteAccess } from './access.ts'
import { SqliteCheckpointStore } from './checkpoints.ts'
import { conditionOf, type FeedEnd, firstRows } from './reads.ts'
import { text } from './rows.ts'
import type { SqliteStatements } from './statements.ts'

const PAGE = 500

/** Number of rows of a read. In between, a relay publishes the next batch of the previous page. */
const ROWS_PER_TURN = 100

export interface SqliteOutboxParts {
  readonly access: SqliteAccess
  readonly leases: LeaseStore
  /** Id of the store that the outbox belongs to. */
  readonly storeId: () => Promise<string>
  readonly onAppend: (listener: () => void) => () => void
}

/** The feed of the outbox, for relays. */
export class SqliteOutbox implements Outbox {
  readonly checkpoints: CheckpointStore
  readonly leases: LeaseStore
  readonly #parts: SqliteOutboxParts

  constructor(parts: SqliteOutboxParts) {
    this.#parts = parts
    this.checkpoints = new SqliteCheckpointStore(parts.access, 'eventspine_outbox_relays')
    this.leases = new PrefixedLeaseStore(parts.leases, OUTBOX_LEASE_PREFIX)
  }

  async readPage(options: ReadAllOptions = {}): Promise<FeedPage> {
    const { limit = PAGE, maxBytes = PAGE_BYTES, ...range } = checkedRead('readPage', options)
    const { fromPosition = 0, toPosition = Number.MAX_SAFE_INTEGER, ...filter } = range
    const { read, decoder } = this.#parts.access
    const { head, headEventId } = await read(outboxEnd)
    const [where, values] = conditionOf(filter)
    if (where === undefined || limit <= 0) return { events: [], head, headEventId }
    const select = (columns: string) =>
      `select ${columns} from eventspine_outbox where position > ? and position <= ?${where} order by position limit ?`
    const rows: StoredRow[] = []
    let [after, bytesLeft] = [fromPosition, maxBytes]
    while (rows.length < limit && bytesLeft > 0) {
      const count = Math.min(limit - rows.length, ROWS_PER_TURN)
      const wanted = [after, Math.min(head, toPosition), ...values, count]
      const found = await read((db) => firstRows(db, select, wanted, count, bytesLeft))
      for (const row of found.rows) rows.push(row)
      bytesLeft -= found.bytes
      after = found.rows.at(-1)?.position ?? after
      if (found.rows.length < count) break
      await nextTurn()
    }
    const isCut = bytesLeft <= 0 && rows.length < limit
    const events = await decoder.decodeAll(rows, range.undecoded)
    return { events, head, headEventId, ...(isCut && { isCut }) }
  }

  async headPosition(): Promise<number> {
    return (await this.#parts.access.read(outboxEnd)).head
  }

  async positionBefore(time: Date): Promise<number> {
    const sql = 'select max(position) as position from eventspine_outbox where stored_at < ?'
    const row = await this.#parts.access.read((db) => db.get(sql, time.getTime()))
    return Number(row?.['position'] ?? 0)
  }

  onAppend(listener: () => void): () => void {
    return this.#parts.onAppend(listener)
  }

  async identity(): Promise<string> {
    return `${await this.#parts.storeId()}/outbox`
  }

  async health(): Promise<EventStoreHealth> {
    try {
      await this.#parts.access.read(outboxEnd)
      return { status: 'up', problems: [], heldBack: undefined }
    } catch (thrown) {
      return { status: 'down', problems: [toError(thrown).message], heldBack: undefined }
    }
  }

  registerEvents(eventClasses: readonly EventClass[]): void {
    this.#parts.access.decoder.known.register(eventClasses)
  }

  removeRelay(name: string): Promise<boolean> {
    return this.#parts.access.write('removeRelay', { name })
  }
}

/** The outbox in a transaction. */
export class SqliteOutboxTransaction implements OutboxTransaction {
  readonly #access: SqliteAccess

  constructor(access: SqliteAccess) {
    this.#access = access
  }

  async add(events: readonly DomainEvent[]): Promise<void> {
    const rows = outgoingEvents(events).map((event) => ({
      ...encodeRow(event),
      aggregateVersion: event.aggregateVersion,
    }))
    await this.#access.write('addToOutbox', { rows })
  }
}

/** The event at the checkpoint of a relay is never removed, so the end is not before that checkpoint. */
function outboxEnd(db: SqliteStatements): FeedEnd {
  const last = db.get('select position, event_id from eventspine_outbox order by position desc limit 1')
  return last === undefined
    ? { head: 0, headEventId: undefined }
    : { head: Number(last['position']), headEventId: text(last['event_id']) }
}
