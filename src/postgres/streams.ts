import { randomUUID } from 'node:crypto'
import type { EventClass } from '../events/index.ts'
import { type RowDecoder, rawEvent, type StoredRow } from '../store/event-row.ts'
import {
  AmbiguousStreamError,
  type AppendRequest,
  type AppendResult,
  appendRefusal,
  decideAppend,
  type EventStream,
  type GetEventsOptions,
  type KnownEvent,
  STREAM_DELETED,
  type StoredEvent,
  type StreamName,
  type StreamState,
  type StreamStore,
} from '../store/index.ts'
import { storedAppend } from '../store/known-events.ts'
import { checkedGetEvents } from '../store/read-options.ts'
import { type AppendOutcome, checkKey, type PreparedAppend, prepareAppend } from './append-statement.ts'
import { PostgresSnapshotTooOldError } from './errors.ts'
import { EVENT_COLUMNS, storedRow } from './event-columns.ts'
import { numberOf, type Row, type Session, type Statement, textOf } from './session.ts'

/** Sends an append of prepared events. */
export type SendAppend = (append: PreparedAppend) => Promise<AppendOutcome>

export interface PostgresStreamsParts {
  readonly session: Session
  readonly schema: string
  readonly decoder: RowDecoder
  readonly send: SendAppend
  readonly isSerialized: boolean
  /** Undefined if each statement is its own transaction. */
  readonly inTransaction: { readonly notify: string | null } | undefined
  /** Called after each write. @param isNotified - true if its commit notified the other processes. */
  readonly onWritten: (isNotified?: boolean) => void
}

/** Maximum number of times that an append reads a stream again because others write to it. */
const MAX_LOOKS = 100

/** Reads and writes streams, on any connection or in a transaction. */
export class PostgresStreams implements StreamStore {
  readonly #parts: PostgresStreamsParts
  readonly #statements: ReturnType<typeof statementsFor>

  constructor(parts: PostgresStreamsParts) {
    this.#parts = parts
    this.#statements = statementsFor(parts.schema)
  }

  async appendEvents(given: AppendRequest): Promise<AppendResult> {
    const request = storedAppend(given, await this.#storedName(given))
    return this.#append(request, prepareAppend(request))
  }

  async getEvents(aggregateId: string, options: GetEventsOptions = {}): Promise<EventStream> {
    const { aggregateType, fromVersion = 0, toVersion = Number.POSITIVE_INFINITY } = checkedGetEvents(options)
    const type =
      aggregateType === undefined
        ? await this.#typeOf(aggregateId)
        : (await this.#storedName({ aggregateId, aggregateType })).aggregateType
    if (type === undefined) {
      return { aggregateId, aggregateType: undefined, events: [], version: 0, isDeleted: false }
    }
    const range = { from: Math.max(0, fromVersion), to: Math.min(toVersion, MAX_VERSION) }
    const stream = { aggregateId, aggregateType: type }
    const found = await this.#read(stream, range)
    const last = found.at(-1)
    const state =
      last !== undefined && range.to === MAX_VERSION
        ? { version: last.event.aggregateVersion, isDeleted: last.event.eventType === STREAM_DELETED }
        : await this.#state(stream)
    const events = state.isDeleted ? [] : found.map(eventOf)
    const current = aggregateType ?? events[0]?.aggregateType ?? type
    const { version, isDeleted } = state
    return { aggregateId, aggregateType: current, events, version, isDeleted }
  }

  async eventExists(eventId: string): Promise<boolean> {
    const rows = await this.#parts.session.run(this.#statements.exists, [eventId])
    return rows.length > 0
  }

  async deleteStream(name: StreamName): Promise<AppendResult> {
    const { session, isSerialized, inTransaction, onWritten } = this.#parts
    const { aggregateId, aggregateType } = await this.#storedName(name)
    checkKey('aggregateType', aggregateType)
    checkKey('aggregateId', aggregateId)
    const [row = []] = await session.run(this.#statements.deleteStream, [
      aggregateType,
      aggregateId,
      randomUUID(),
      randomUUID(),
      new Date().toISOString(),
      inTransaction !== undefined,
      isSerialized,
      inTransaction?.notify ?? null,
    ])
    onWritten()
    return { newVersion: numberOf(row[0]), globalPosition: numberOf(row[1]) }
  }

  registerEvents(eventClasses: readonly EventClass[]): void {
    this.#parts.decoder.known.register(eventClasses)
  }

  #storedName(name: StreamName): Promise<StreamName> {
    const exists = async (one: StreamName) => (await this.#state(one)).version > 0
    return this.#parts.decoder.known.storedName(name, exists)
  }

  async #append(request: AppendRequest, prepared: PreparedAppend): Promise<AppendResult> {
    if (prepared.rows.length === 0) return this.#appendKnown(request, prepared)
    const { letter, version, lastPosition, isNotified } = await this.#sendFresh(prepared)
    switch (letter) {
      case 'w':
        this.#parts.onWritten(isNotified)
        return { newVersion: version + prepared.rows.length, globalPosition: lastPosition }
      case 'c':
        throw appendRefusal(request, { outcome: 'conflict', actualVersion: version })
      case 'd':
        throw appendRefusal(request, { outcome: 'deleted' })
      case 's':
        throw new PostgresSnapshotTooOldError()
      default:
        return this.#appendKnown(request, prepared)
    }
  }

  /** Outside of a caller's transaction, the next statement has a newer snapshot at every isolation level. */
  async #sendFresh(prepared: PreparedAppend): Promise<AppendOutcome> {
    for (let look = 1; ; look += 1) {
      const outcome = await this.#parts.send(prepared)
      if (outcome.letter !== 's' || this.#parts.inTransaction !== undefined || look >= MAX_LOOKS)
        return outcome
    }
  }

  /** Some of the event ids are already in the store: the append rules decide the outcome. */
  async #appendKnown(request: AppendRequest, prepared: PreparedAppend): Promise<AppendResult> {
    for (let look = 1; ; look += 1) {
      const state = await this.#state(request)
      const known = await this.#knownEvents(request)
      const eventIds = request.events.map(({ eventId }) => eventId)
      const decision = decideAppend({ ...request, eventIds }, state, (index) => known[index])
      if (decision.outcome === 'repetition') {
        return { newVersion: decision.newVersion, globalPosition: decision.globalPosition }
      }
      if (decision.outcome !== 'write') throw appendRefusal(request, decision)
      const rows = prepared.rows.slice(decision.firstIndex)
      if (rows.length === 0) return { newVersion: state.version, globalPosition: state.lastPosition }
      const missing = { ...prepared, rows, expected: state.version }
      const { letter, lastPosition, isNotified } = await this.#parts.send(missing)
      if (letter === 'w') {
        this.#parts.onWritten(isNotified)
        return { newVersion: state.version + rows.length, globalPosition: lastPosition }
      }
      // Another writer was faster: read the stream again and apply the append rules.
      const isStuck = letter === 's' && this.#parts.inTransaction !== undefined
      if (isStuck || look >= MAX_LOOKS) throw new PostgresSnapshotTooOldError()
    }
  }

  /** The stored events with these ids, by index. */
  async #knownEvents({ events }: AppendRequest): Promise<readonly (KnownEvent | undefined)[]> {
    const ids = events.map(({ eventId }) => eventId)
    const rows = await this.#parts.session.run(this.#statements.byIds, [ids])
    const found = new Map(rows.map((row) => [textOf(row[1]), storedRow(row)]))
    return events.map((event) => {
      const stored = found.get(event.eventId)
      if (stored === undefined) return undefined
      const { aggregateId, aggregateType, aggregateVersion, position } = stored
      return { aggregateId, aggregateType, aggregateVersion, position, isSame: isSame(event, stored) }
    })
  }

  async #typeOf(aggregateId: string): Promise<string | undefined> {
    const [[first, last] = []] = await this.#parts.session.run(this.#statements.types, [aggregateId])
    if (first === last || first === null) return first ?? undefined
    const all = await this.#parts.session.run(this.#statements.allTypes, [aggregateId])
    throw new AmbiguousStreamError(
      aggregateId,
      all.map(([type]) => textOf(type)),
    )
  }

  async #read(stream: StreamName, { from, to }: VersionRange): Promise<readonly StoredEvent[]> {
    if (to <= from) return []
    const { session } = this.#parts
    const { aggregateId, aggregateType } = stream
    const live = await session.run(this.#statements.read, [aggregateId, aggregateType, from, to])
    const events = await this.#decodeAll(live)
    const [first] = events
    const isComplete = first !== undefined && first.event.aggregateVersion === from + 1
    if (isComplete || first?.event.eventType === STREAM_DELETED) return events
    const end = first === undefined ? to : first.event.aggregateVersion - 1
    const archived = await session.run(this.#statements.readArchive, [aggregateId, aggregateType, from, end])
    return [...(await this.#decodeAll(archived)), ...events]
  }

  async #state({
    aggregateId,
    aggregateType,
  }: StreamName): Promise<StreamState & { readonly lastPosition: number }> {
    const [row] = await this.#parts.session.run(this.#statements.state, [aggregateId, aggregateType])
    if (row === undefined) return { version: 0, isDeleted: false, lastPosition: 0 }
    const [version, type, position] = row
    return {
      version: numberOf(version),
      isDeleted: type === STREAM_DELETED,
      lastPosition: numberOf(position),
    }
  }

  #decodeAll(rows: readonly Row[]): Promise<readonly StoredEvent[]> {
    return this.#parts.decoder.decodeAll(rows.map(storedRow))
  }
}

interface VersionRange {
  readonly from: number
  readonly to: number
}

const MAX_VERSION = 2 ** 31 - 1

/** @throws StoredEventError */
function eventOf({ event, fault }: StoredEvent) {
  if (fault !== undefined) throw fault
  return event
}

function isSame(given: AppendRequest['events'][number], stored: StoredRow): boolean {
  const raw = rawEvent(stored)
  return JSON.stringify(given.withAggregateVersion(stored.aggregateVersion)) === JSON.stringify(raw)
}

function statementsFor(schema: string) {
  const { events, archive } = { events: `${schema}.events`, archive: `${schema}.events_archive` }
  const both = (columns: string, where: string) =>
    `select ${columns} from ${events} where ${where} union all select ${columns} from ${archive} where ${where}`
  const ofStream = 'aggregate_id = $1 and aggregate_type = $2'
  const read = (table: string) =>
    `select ${EVENT_COLUMNS} from ${table} where ${ofStream} and aggregate_version > $3 and aggregate_version <= $4 ` +
    'order by aggregate_version'
  const deletePlaces = '$1, $2, $3, $4, $5, $6, $7, $8'
  return {
    read: { key: 'read', text: read(events) },
    readArchive: { key: 'read_archive', text: read(archive) },
    state: {
      key: 'state',
      text: `${both('aggregate_version, event_type, position', ofStream)} order by aggregate_version desc limit 1`,
    },
    exists: { key: 'exists', text: `${both('1', 'event_id = $1')} limit 1` },
    byIds: { key: 'by_ids', text: both(EVENT_COLUMNS, 'event_id = any ($1::text[])') },
    types: {
      key: 'types',
      text: `select min(t), max(t) from (
        select min(aggregate_type) as t from ${events} where aggregate_id = $1 union all
        select max(aggregate_type) from ${events} where aggregate_id = $1 union all
        select min(aggregate_type) from ${archive} where aggregate_id = $1 union all
        select max(aggregate_type) from ${archive} where aggregate_id = $1) types`,
    },
    allTypes: {
      key: 'all_types',
      text: `select distinct aggregate_type from (${both('aggregate_type', 'aggregate_id = $1')}) types order by 1`,
    },
    deleteStream: {
      key: 'delete_stream',
      text: `select * from ${schema}.delete_stream(${deletePlaces})`,
      isWrite: true,
    },
  } satisfies Record<string, Statement>
}
