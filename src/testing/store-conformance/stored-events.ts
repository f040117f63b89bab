import assert from 'node:assert/strict'
import { type DomainEvent, defineEvent } from '../../index.ts'
import type {
  AppendResult,
  EventStore,
  ExpectedVersion,
  ReadAllOptions,
  StoredEvent,
  StreamStore,
} from '../../store/index.ts'
import { Noted, noted } from '../conformance/events.ts'

export { Noted, noted }

interface Sample {
  readonly orderId: string
  readonly placedAt: string
  readonly total: number
  readonly isPaid: boolean
  readonly discount: null
  readonly serial: bigint
  readonly lines: readonly { readonly skuId: string; readonly count: number }[]
}

/** An event with a field of each kind. The names of two fields suggest a conversion that must not happen. */
export class Sampled extends defineEvent<Sample>()({ type: 'ConformanceSampled', aggregateType: 'Note' }) {}

/** An event of another aggregate type, whose ids may equal those of notes. */
export class Filed extends defineEvent<{ readonly n: number }>()({
  type: 'ConformanceFiled',
  aggregateType: 'File',
}) {}

/** An event of any size. */
export class Texted extends defineEvent<{ readonly n: number; readonly text: string }>()({
  type: 'ConformanceTexted',
  aggregateType: 'Note',
}) {}

/** Appends events to the stream of the first event. */
export function append(
  store: EventStore,
  events: readonly DomainEvent[],
  expectedVersion: ExpectedVersion = 'any',
): Promise<AppendResult> {
  const { aggregateId = 'a', aggregateType = 'Note' } = events[0] ?? {}
  return store.appendEvents({ aggregateId, aggregateType, events, expectedVersion })
}

/** Appends one event to its own stream. */
export function appendTo(
  store: StreamStore,
  event: DomainEvent,
  expectedVersion: ExpectedVersion = 'any',
): Promise<AppendResult> {
  const { aggregateId, aggregateType } = event
  return store.appendEvents({ aggregateId, aggregateType, events: [event], expectedVersion })
}

/** Why a call was refused. */
export async function refusal(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => assert.fail('the call was not refused'),
    (error: unknown) => error,
  )
}

export async function readAll(store: EventStore, options?: ReadAllOptions): Promise<readonly StoredEvent[]> {
  const all: StoredEvent[] = []
  for await (const stored of store.readAll(options)) all.push(stored)
  return all
}

/** Stored events as comparable text. */
export const written = (events: readonly DomainEvent[]): readonly string[] =>
  events.map((event) => JSON.stringify(event))

export const idsOf = (stored: readonly StoredEvent[]): readonly string[] =>
  stored.map(({ event }) => event.eventId)

export const positionsOf = (stored: readonly StoredEvent[]): readonly number[] =>
  stored.map(({ position }) => position)
