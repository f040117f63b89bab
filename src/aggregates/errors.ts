import { EventspineError, sentence } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import type { AppendResult } from '../store/index.ts'

/** There is no aggregate with this id. */
export class AggregateNotFoundError extends EventspineError {
  static override readonly name = 'AggregateNotFoundError'
  readonly code = 'AGGREGATE_NOT_FOUND'
  readonly aggregateId: string
  readonly aggregateType: string

  constructor(aggregateType: string, aggregateId: string) {
    super(`There is no ${aggregateType} ${aggregateId}. Create it with createNew, or use loadOrCreate.`)
    this.aggregateId = aggregateId
    this.aggregateType = aggregateType
  }
}

/** The version of an event does not follow the version of the aggregate: an event is missing or repeated. */
export class EventVersionError extends EventspineError {
  static override readonly name = 'EventVersionError'
  readonly code = 'EVENT_VERSION_UNEXPECTED'
  readonly eventId: string
  readonly aggregateId: string
  readonly expectedVersion: number
  readonly actualVersion: number

  constructor({ eventType, eventId, aggregateId, aggregateVersion }: DomainEvent, expectedVersion: number) {
    super(
      `The ${eventType} ${eventId} of ${aggregateId} has version ${aggregateVersion}, expected ${expectedVersion}: ` +
        'an event is missing or repeated.',
    )
    this.eventId = eventId
    this.aggregateId = aggregateId
    this.expectedVersion = expectedVersion
    this.actualVersion = aggregateVersion
  }
}

/** An `evolution` received an event of a class that it declares neither with `on` nor with `ignore`. */
export class UnhandledEventError extends EventspineError {
  static override readonly name = 'UnhandledEventError'
  readonly code = 'EVENT_UNHANDLED'
  readonly eventType: string

  constructor(eventType: string) {
    super(
      `The evolution does not handle ${eventType}: declare it with on(${eventType}, ...) or ignore(${eventType}).`,
    )
    this.eventType = eventType
  }
}

/**
 * The events are stored, but publishing them failed for some or all. Do not save them again: a relay
 * (`SubscriptionManager.relay`) publishes stored events. Without a relay, publish `events` again.
 */
export class PublishAfterSaveError extends EventspineError {
  static override readonly name = 'PublishAfterSaveError'
  readonly code = 'PUBLISH_AFTER_SAVE_FAILED'
  readonly #events: readonly DomainEvent[]
  readonly newVersion: number
  readonly globalPosition: number

  constructor(events: readonly DomainEvent[], { newVersion, globalPosition }: AppendResult, cause: Error) {
    super(
      `${events.length} events of ${events[0]?.aggregateId} are stored (up to position ${globalPosition}) but may not be ` +
        `published: ${sentence(cause.message)} A relay publishes them; do not save them again.`,
      { cause },
    )
    this.#events = events
    this.newVersion = newVersion
    this.globalPosition = globalPosition
  }

  /** The stored events, as they should have been published. A getter, so that printing the error omits them. */
  get events(): readonly DomainEvent[] {
    return this.#events
  }
}
