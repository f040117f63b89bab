import { EventspineError } from '../errors.ts'
import type { ExpectedVersion } from './event-store.ts'

/** Somebody else wrote to the stream: it is not at the version that an append expected. Nothing was written. */
export class OptimisticLockError extends EventspineError {
  readonly code = 'OPTIMISTIC_LOCK'
  readonly aggregateId: string
  readonly aggregateType: string
  readonly expectedVersion: ExpectedVersion
  readonly actualVersion: number

  constructor(stream: StreamName, expectedVersion: ExpectedVersion, actualVersion: number) {
    super(
      `${streamText(stream)} is at version ${actualVersion}, expected ${EXPECTATIONS[String(expectedVersion)] ?? `version ${expectedVersion}`}. ` +
        'Load it again and retry.',
    )
    this.aggregateId = stream.aggregateId
    this.aggregateType = stream.aggregateType
    this.expectedVersion = expectedVersion
    this.actualVersion = actualVersion
  }
}

const EXPECTATIONS: Readonly<Record<string, string>> = { noStream: 'no stream', streamExists: 'a stream' }

/** An event id is in the store already, for something else than this append would write. Nothing was written. */
export class DuplicateEventError extends EventspineError {
  readonly code = 'EVENT_ID_DUPLICATE'
  readonly eventId: string

  constructor(eventId: string, detail: string) {
    super(`The event id ${eventId} ${detail}. Give each event an id of its own.`)
    this.eventId = eventId
  }
}

/** An event names another aggregate than the stream it is in, or is to be written to. */
export class EventStreamMismatchError extends EventspineError {
  readonly code = 'EVENT_STREAM_MISMATCH'
  readonly eventId: string

  constructor(
    event: StreamName & { readonly eventId: string; readonly eventType: string },
    stream: StreamName,
  ) {
    super(
      `The ${event.eventType} ${event.eventId} belongs to ${streamText(event)}, not to ${streamText(stream)}.`,
    )
    this.eventId = event.eventId
  }
}

/** Aggregates of several types have this id, so that the id alone names no stream. */
export class AmbiguousStreamError extends EventspineError {
  readonly code = 'STREAM_AMBIGUOUS'
  readonly aggregateId: string
  readonly aggregateTypes: readonly string[]

  constructor(aggregateId: string, aggregateTypes: readonly string[]) {
    super(
      `${aggregateId} is the id of several aggregates (${aggregateTypes.join(', ')}): say which aggregateType.`,
    )
    this.aggregateId = aggregateId
    this.aggregateTypes = aggregateTypes
  }
}

interface StreamName {
  readonly aggregateId: string
  readonly aggregateType: string
}

function streamText({ aggregateType, aggregateId }: StreamName): string {
  return `${aggregateType} ${aggregateId}`
}
