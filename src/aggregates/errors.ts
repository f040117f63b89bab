import { EventspineError } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import type { AppendResult } from '../store/index.ts'

/** There is no aggregate with this id. */
export class AggregateNotFoundError extends EventspineError {
  readonly code = 'AGGREGATE_NOT_FOUND'
  readonly aggregateId: string
  readonly aggregateType: string

  constructor(aggregateType: string, aggregateId: string) {
    super(`There is no ${aggregateType} ${aggregateId}. Make it with createNew, or use loadOrCreate.`)
    this.aggregateId = aggregateId
    this.aggregateType = aggregateType
  }
}

/** An event's version does not follow that of the aggregate: one is missing, or comes twice. */
export class EventVersionError extends EventspineError {
  readonly code = 'EVENT_VERSION_UNEXPECTED'
  readonly eventId: string
  readonly aggregateId: string
  readonly expectedVersion: number
  readonly actualVersion: number

  constructor({ eventType, eventId, aggregateId, aggregateVersion }: DomainEvent, expectedVersion: number) {
    super(
      `The ${eventType} ${eventId} of ${aggregateId} has version ${aggregateVersion}, expected ${expectedVersion}: ` +
        'the history has a gap or a repetition.',
    )
    this.eventId = eventId
    this.aggregateId = aggregateId
    this.expectedVersion = expectedVersion
    this.actualVersion = aggregateVersion
  }
}

/** An event came for which no `on` and no `ignore` was declared. */
export class UnhandledEventError extends EventspineError {
  readonly code = 'EVENT_UNHANDLED'
  readonly eventType: string

  constructor(eventType: string) {
    super(
      `No state follows from ${eventType}: declare it with on(${eventType}, ...) or ignore(${eventType}).`,
    )
    this.eventType = eventType
  }
}

/**
 * The events are in the store, and were not published, or not all of them. Do not save again: a relay
 * (`SubscriptionManager.relay`) publishes what is stored; without one, publish `events` again.
 */
export class PublishAfterSaveError extends EventspineError {
  readonly code = 'PUBLISH_AFTER_SAVE_FAILED'
  /** What is stored, as it was to be published. */
  readonly events: readonly DomainEvent[]
  readonly newVersion: number
  readonly globalPosition: number

  constructor(events: readonly DomainEvent[], { newVersion, globalPosition }: AppendResult, cause: Error) {
    super(
      `${events.length} events of ${events[0]?.aggregateId} are stored (up to position ${globalPosition}) but may not be ` +
        `published: ${cause.message}. A relay publishes them; do not save them again.`,
      { cause },
    )
    this.events = events
    this.newVersion = newVersion
    this.globalPosition = globalPosition
  }
}
