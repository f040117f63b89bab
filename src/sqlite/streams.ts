import { randomUUID } from 'node:crypto'
import { type EventClass, GenericEvent } from '../events/index.ts'
import { encodeRow } from '../store/event-row.ts'
import {
  type AppendRequest,
  type AppendResult,
  appendRefusal,
  type EventStream,
  type GetEventsOptions,
  STREAM_DELETED,
  type StreamName,
  type StreamStore,
} from '../store/index.ts'
import { storedAppend } from '../store/known-events.ts'
import { checkedGetEvents } from '../store/read-options.ts'
import type { SqliteAccess } from './access.ts'
import { endOfStream, isKnown } from './append.ts'
import { readStream } from './reads.ts'

/** The streams of a file, or of a transaction in it. */
export class SqliteStreams implements StreamStore {
  readonly #access: SqliteAccess

  constructor(access: SqliteAccess) {
    this.#access = access
  }

  async appendEvents(given: AppendRequest): Promise<AppendResult> {
    const request = storedAppend(given, await this.#storedName(given))
    const { aggregateId, aggregateType, expectedVersion } = request
    const rows = request.events.map(encodeRow)
    const characters = rows.reduce((sum, row) => sum + row.payload.length + 500, 0)
    const args = { aggregateId, aggregateType, expectedVersion, rows }
    const outcome = await this.#access.write('append', args, characters)
    if (outcome.outcome !== 'stored' && outcome.outcome !== 'repetition')
      throw appendRefusal(request, outcome)
    const { newVersion, globalPosition } = outcome
    return { newVersion, globalPosition }
  }

  async getEvents(aggregateId: string, given: GetEventsOptions = {}): Promise<EventStream> {
    const options = checkedGetEvents(given)
    const { aggregateType } = options
    const named = aggregateType === undefined ? {} : await this.#storedName({ aggregateId, aggregateType })
    const range = { ...options, ...named }
    const { rows, version, isDeleted, ...stream } = await readStream(this.#access.read, aggregateId, range)
    const stored = await this.#access.decoder.decodeAll(rows)
    const events = stored.map(({ event, fault }) => {
      if (fault !== undefined) throw fault
      return event
    })
    const type = aggregateType ?? events[0]?.aggregateType ?? stream.aggregateType
    return { aggregateId, aggregateType: type, events, version, isDeleted }
  }

  eventExists(eventId: string): Promise<boolean> {
    return this.#access.read((db) => isKnown(db, eventId))
  }

  async deleteStream({ aggregateId, aggregateType }: StreamName): Promise<AppendResult> {
    const stream = await this.#storedName({ aggregateId, aggregateType })
    const tombstone = encodeRow(
      new GenericEvent({ ...stream, eventId: randomUUID(), eventType: STREAM_DELETED, data: {} }),
    )
    return this.#access.write('deleteStream', { stream, tombstone })
  }

  registerEvents(eventClasses: readonly EventClass[]): void {
    this.#access.decoder.known.register(eventClasses)
  }

  #storedName(name: StreamName): StreamName | Promise<StreamName> {
    const { decoder, read } = this.#access
    return decoder.known.storedName(name, (one) => read((db) => endOfStream(db, one).version > 0))
  }
}
