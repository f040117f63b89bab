import { type DomainEvent, GenericEvent } from '../events/index.ts'
import { planAppend } from './append-rules.ts'
import { AmbiguousStreamError } from './errors.ts'
import {
  type AppendRequest,
  type AppendResult,
  type EventStream,
  type GetEventsOptions,
  STREAM_DELETED,
  type StoredEvent,
  type StreamName,
} from './event-store.ts'
import { onlyOf, storedAppend } from './known-events.ts'
import type { MemoryReader } from './memory-reader.ts'

interface MemoryStream {
  readonly events: StoredEvent[]
  tombstone: StoredEvent | undefined
}

/** Events in memory. Events since the last commit are after `head`, and only the writer sees them. */
export class MemoryLog {
  readonly #now: () => Date
  readonly #reader: MemoryReader
  /** By position, from 1; undefined where an event was rolled back or deleted. */
  readonly #feed: (StoredEvent | undefined)[] = []
  readonly #byId = new Map<string, StoredEvent>()
  /** By aggregate id, then by aggregate type. */
  readonly #streams = new Map<string, Map<string, MemoryStream>>()
  #head = 0
  #committed = 0
  #storedAt = new Date(0)

  constructor(now: () => Date, reader: MemoryReader) {
    this.#now = now
    this.#reader = reader
  }

  /** Position of the last event that is committed. */
  get head(): number {
    return this.#head
  }

  /** The committed event at a position; undefined if there is none. */
  at(position: number): StoredEvent | undefined {
    return position <= this.#committed ? this.#feed[position - 1] : undefined
  }

  /** The committed events after a position. */
  *after(position: number): Iterable<StoredEvent> {
    for (let index = Math.max(0, position); index < this.#committed; index += 1) {
      const stored = this.#feed[index]
      if (stored !== undefined) yield stored
    }
  }

  /** @param isWriter - true to include uncommitted events. */
  has(eventId: string, isWriter: boolean): boolean {
    const stored = this.#byId.get(eventId)
    return stored !== undefined && this.#isVisible(stored, isWriter)
  }

  /** @throws as `EventStore.appendEvents` */
  append(given: AppendRequest): AppendResult {
    const request = storedAppend(given, this.#storedName(given))
    const { aggregateId, aggregateType } = request
    const stream = this.#streams.get(aggregateId)?.get(aggregateType)
    const version = lastOf(stream)?.event.aggregateVersion ?? 0
    const state = { version, isDeleted: stream?.tombstone !== undefined }
    const plan = planAppend(request, state, (eventId) => this.#byId.get(eventId))
    if (plan.lastKnown !== undefined) {
      const { newVersion, globalPosition } = plan.lastKnown
      return { newVersion, globalPosition }
    }
    if (plan.toWrite.length > 0) this.#write(plan.toWrite, this.#streamFor(request))
    return resultOf(lastOf(this.#streams.get(aggregateId)?.get(aggregateType)))
  }

  deleteStream(name: StreamName): AppendResult {
    const { aggregateId, aggregateType } = this.#storedName(name)
    const stream = this.#streams.get(aggregateId)?.get(aggregateType)
    const last = lastOf(stream)
    if (stream === undefined || last === undefined || stream.tombstone !== undefined) return resultOf(last)
    const aggregateVersion = last.event.aggregateVersion + 1
    const event = new GenericEvent({
      ...{ aggregateId, aggregateType, aggregateVersion, eventType: STREAM_DELETED, data: {} },
    })
    stream.tombstone = this.#push(event)
    return resultOf(stream.tombstone)
  }

  /** @throws AmbiguousStreamError, StoredEventError */
  read(
    aggregateId: string,
    { aggregateType, fromVersion = 0, toVersion = Number.POSITIVE_INFINITY }: GetEventsOptions,
    isWriter: boolean,
  ): EventStream {
    const stored = aggregateType && this.#storedName({ aggregateId, aggregateType }).aggregateType
    const [type, stream] = this.#find(aggregateId, stored, isWriter)
    const tombstone = stream?.tombstone
    const isDeleted = tombstone !== undefined && this.#isVisible(tombstone, isWriter)
    const all = stream?.events.filter((stored) => this.#isVisible(stored, isWriter)) ?? []
    const last = isDeleted ? tombstone : all.at(-1)
    const events = isDeleted ? [] : all.slice(Math.max(0, fromVersion), Math.max(0, toVersion))
    return {
      ...{
        aggregateId,
        aggregateType: aggregateType ?? type,
        isDeleted,
        version: last?.event.aggregateVersion ?? 0,
      },
      events: events.map((stored) => this.#reader.eventOf(stored)),
    }
  }

  /** Includes uncommitted streams, as only one writer works at a time. @throws AmbiguousStreamError */
  #storedName(name: StreamName): StreamName {
    const names = this.#reader.known.streamNames(name)
    if (names.length === 1) return name
    const exists = ({ aggregateId, aggregateType }: StreamName) =>
      lastOf(this.#streams.get(aggregateId)?.get(aggregateType)) !== undefined
    return onlyOf(name, names.filter(exists))
  }

  /** Makes the written events visible to all readers. @returns true if there were any. */
  commit(): boolean {
    const fresh = this.#feed.slice(this.#committed).filter((stored) => stored !== undefined)
    this.#committed = this.#feed.length
    for (const { event } of fresh) if (event.eventType === STREAM_DELETED) this.#forget(event)
    this.#head = fresh.at(-1)?.position ?? this.#head
    return fresh.length > 0
  }

  /** Removes the events since the last commit. Their positions are not used again. */
  rollback(): void {
    for (const stored of this.#feed.slice(this.#committed).reverse()) {
      if (stored === undefined) continue
      const { event, position } = stored
      this.#feed[position - 1] = undefined
      this.#byId.delete(event.eventId)
      const stream = this.#streamFor(event)
      if (stream.tombstone === stored) stream.tombstone = undefined
      else stream.events.pop()
    }
    this.#committed = this.#feed.length
  }

  #write(events: readonly DomainEvent[], stream: MemoryStream): void {
    for (const event of events) stream.events.push(this.#push(event))
  }

  #push(event: DomainEvent): StoredEvent {
    const stored = { event, position: this.#feed.length + 1, storedAt: this.#time() }
    this.#feed.push(stored)
    this.#byId.set(event.eventId, stored)
    return stored
  }

  /** Removes the events of a deleted stream. */
  #forget(name: StreamName): void {
    const stream = this.#streamFor(name)
    for (const { event, position } of stream.events) {
      this.#byId.delete(event.eventId)
      this.#feed[position - 1] = undefined
    }
    stream.events.length = 0
  }

  #isVisible({ position }: StoredEvent, isWriter: boolean): boolean {
    return isWriter || position <= this.#committed
  }

  #streamFor({ aggregateId, aggregateType }: StreamName): MemoryStream {
    const ofId = this.#streams.get(aggregateId) ?? new Map<string, MemoryStream>()
    const stream = ofId.get(aggregateType) ?? { events: [], tombstone: undefined }
    this.#streams.set(aggregateId, ofId.set(aggregateType, stream))
    return stream
  }

  /** The time of an append; never earlier than that of the previous event, even if the clock is set back. */
  #time(): Date {
    const now = this.#now()
    if (now > this.#storedAt) this.#storedAt = now
    return this.#storedAt
  }

  #find(
    aggregateId: string,
    aggregateType: string | undefined,
    isWriter: boolean,
  ): readonly [string | undefined, MemoryStream | undefined] {
    const ofId = this.#streams.get(aggregateId)
    if (aggregateType !== undefined) return [aggregateType, ofId?.get(aggregateType)]
    const existing = [...(ofId ?? [])].filter(([, stream]) => this.#exists(stream, isWriter))
    const [only, second] = existing
    if (second !== undefined) {
      throw new AmbiguousStreamError(
        aggregateId,
        existing.map(([type]) => type),
      )
    }
    return only ?? [undefined, undefined]
  }

  #exists({ events: [first], tombstone }: MemoryStream, isWriter: boolean): boolean {
    const any = first ?? tombstone
    return any !== undefined && this.#isVisible(any, isWriter)
  }
}

function lastOf(stream: MemoryStream | undefined): StoredEvent | undefined {
  return stream?.tombstone ?? stream?.events.at(-1)
}

function resultOf(last: StoredEvent | undefined): AppendResult {
  return { newVersion: last?.event.aggregateVersion ?? 0, globalPosition: last?.position ?? 0 }
}
