import type { DomainEvent, EventClass } from '../events/index.ts'
import type { RowDecoder } from '../store/event-row.ts'
import type { EventStoreHealth, FeedPage, ReadAllOptions } from '../store/index.ts'
import { PAGE_BYTES, upToBytes } from '../store/page-bytes.ts'
import { checkedRead } from '../store/read-options.ts'
import type { CheckpointStore, LeaseStore, Outbox, OutboxTransaction } from '../subscriptions/index.ts'
import { OUTBOX_LEASE_PREFIX, outgoingEvents, PrefixedLeaseStore } from '../subscriptions/outbox.ts'
import { eventColumns, prepareImport } from './append-statement.ts'
import { PostgresCheckpointStore, relayCheckpoints } from './checkpoints.ts'
import { translated } from './errors.ts'
import { conditionsOf, outboxPage } from './feed-statements.ts'
import { pageRows } from './joined-rows.ts'
import { RecentEnd } from './recent-end.ts'
import { atMost, isTrue, numberOf, type Session, type Statement } from './session.ts'

/** Default number of events in a page. */
const PAGE = 500

/**
 * Delay before the end is read again while a commit holds it back, in milliseconds. Usually the commit wakes the
 * readers earlier.
 */
const HELD_MS = 20

export interface PostgresOutboxParts {
  /** Waits for the schema before the first statement. */
  readonly session: Session
  readonly schema: string
  readonly decoder: RowDecoder
  readonly leases: LeaseStore
  /** Id of the store that the outbox belongs to. */
  readonly storeId: () => Promise<string>
  readonly onAppend: (listener: () => void) => () => void
}

interface OutboxEnd {
  readonly head: number
  readonly headEventId: string | undefined
}

/** The feed of the outbox, for relays. */
export class PostgresOutbox implements Outbox {
  readonly checkpoints: CheckpointStore
  readonly leases: LeaseStore
  readonly #parts: PostgresOutboxParts
  readonly #end: Statement
  readonly #removeRelay: Statement
  readonly #listeners = new Set<() => void>()
  #held: NodeJS.Timeout | undefined
  readonly #recent = new RecentEnd<OutboxEnd>()

  constructor(parts: PostgresOutboxParts) {
    const { session, schema, leases } = parts
    this.#parts = parts
    this.checkpoints = new PostgresCheckpointStore(session, relayCheckpoints(schema))
    this.leases = new PrefixedLeaseStore(leases, OUTBOX_LEASE_PREFIX)
    this.#end = {
      key: 'outbox_end',
      text: `select head, head_event_id, is_held from ${schema}.outbox_end()`,
    }
    this.#removeRelay = {
      key: 'remove_relay',
      text: `delete from ${schema}.outbox_relays where name = $1 returning 1`,
      isWrite: true,
    }
  }

  async readPage(given: ReadAllOptions = {}): Promise<FeedPage> {
    const { limit = PAGE, maxBytes = PAGE_BYTES, ...options } = checkedRead('readPage', given)
    const { fromPosition = 0 } = options
    const far = this.#recent.after(fromPosition, limit)
    if (far !== undefined) {
      const page = await this.#read(options, far, limit, maxBytes)
      // A page that is neither full nor cut means that there are no more events, which only the current end can prove.
      if (page.events.length === limit || page.isCut === true) return page
    }
    return this.#read(options, await this.#look(), limit, maxBytes)
  }

  async #read(
    options: ReadAllOptions,
    { head, headEventId }: OutboxEnd,
    limit: number,
    maxBytes: number,
  ): Promise<FeedPage> {
    const { session, schema, decoder } = this.#parts
    const { fromPosition = 0, toPosition = head } = options
    const to = Math.min(head, toPosition)
    const conditions = conditionsOf(options)
    if (to <= fromPosition || limit <= 0) return { events: [], head, headEventId }
    const values = [
      fromPosition,
      to,
      atMost(limit),
      atMost(maxBytes),
      ...conditions.map(({ values }) => values),
    ]
    const found = await pageRows(options.undecoded === true, (joined) =>
      session.run(outboxPage(schema, { conditions, joined, limit }), values),
    )
    const { rows, isCut } = upToBytes(found, limit, maxBytes)
    const events = await decoder.decodeAll(rows, options.undecoded)
    return { events, head, headEventId, ...(isCut && { isCut }) }
  }

  async headPosition(): Promise<number> {
    return (await this.#look()).head
  }

  async positionBefore(time: Date): Promise<number> {
    const { head } = await this.#look()
    const outbox = `${this.#parts.schema}.outbox`
    const first = `select min(position) from ${outbox} where stored_at >= $1::timestamptz and position <= $2`
    const text = `select coalesce(max(position), 0) from ${outbox} where position <= $2 and position < coalesce((${first}), $2 + 1)`
    const values = [time.toISOString(), head]
    const [[position] = []] = await this.#parts.session.run({ key: 'outbox_before', text }, values)
    return numberOf(position ?? '0')
  }

  onAppend(listener: () => void): () => void {
    // A new function per call, so that the same listener can be added twice.
    const entry = () => listener()
    this.#listeners.add(entry)
    const end = this.#parts.onAppend(entry)
    return () => {
      this.#listeners.delete(entry)
      end()
    }
  }

  async identity(): Promise<string> {
    return `${await this.#parts.storeId()}/outbox`
  }

  async health(): Promise<EventStoreHealth> {
    try {
      await this.#look()
      return { status: 'up', problems: [], heldBack: undefined }
    } catch (thrown) {
      return { status: 'down', problems: [translated(thrown, false).message], heldBack: undefined }
    }
  }

  registerEvents(eventClasses: readonly EventClass[]): void {
    this.#parts.decoder.known.register(eventClasses)
  }

  async removeRelay(name: string): Promise<boolean> {
    return (await this.#parts.session.run(this.#removeRelay, [name])).length > 0
  }

  async #look(): Promise<OutboxEnd> {
    const [[head, eventId, isHeld] = []] = await this.#parts.session.run(this.#end)
    if (isTrue(isHeld)) this.#wakeSoon()
    const end = { head: numberOf(head), headEventId: eventId ?? undefined }
    this.#recent.note(end)
    return end
  }

  /** A commit that fails holds the feed back without waking any reader. */
  #wakeSoon(): void {
    if (this.#held !== undefined) return
    this.#held = setTimeout(() => {
      this.#held = undefined
      for (const listener of this.#listeners) listener()
    }, HELD_MS).unref()
  }
}

export interface PostgresOutboxTransactionParts {
  readonly session: Session
  readonly schema: string
  /** The payload that the commit notifies; null if this process sends the notification. */
  readonly notify: string | null
  readonly onWritten: () => void
  /** Rejects if the session has no open transaction. */
  readonly assertOpen: (operation: string) => Promise<void>
}

/** The outbox in a transaction. */
export class PostgresOutboxTransaction implements OutboxTransaction {
  readonly #parts: PostgresOutboxTransactionParts
  readonly #add: Statement

  constructor(parts: PostgresOutboxTransactionParts) {
    this.#parts = parts
    const places = Array.from({ length: 14 }, (_, index) => `$${index + 1}`).join(', ')
    this.#add = {
      key: 'add_to_outbox',
      text: `select ${parts.schema}.add_to_outbox(${places})`,
      isWrite: true,
    }
  }

  async add(events: readonly DomainEvent[]): Promise<void> {
    const { session, notify, onWritten, assertOpen } = this.#parts
    const outgoing = outgoingEvents(events)
    const rows = outgoing.map(prepareImport)
    await assertOpen('outbox.add')
    if (rows.length === 0) return
    await session.run(this.#add, [
      ...eventColumns(rows),
      rows.map(({ aggregateType }) => aggregateType),
      rows.map(({ aggregateId }) => aggregateId),
      outgoing.map(({ aggregateVersion }) => aggregateVersion),
      notify,
    ])
    onWritten()
  }
}
