import { EventspineError, sentence } from '../errors.ts'

/** There is no subscription with this name, and no checkpoint of one in another process. */
export class SubscriptionNotFoundError extends EventspineError {
  static override readonly name = 'SubscriptionNotFoundError'
  readonly code = 'SUBSCRIPTION_NOT_FOUND'

  constructor(name: string, known: readonly string[]) {
    const others = known.length === 0 ? 'none' : known.join(', ')
    super(`There is no subscription ${name} (subscriptions: ${others}).`)
  }
}

/** Another subscription of this manager has the same name: both would move the same checkpoint. */
export class DuplicateSubscriptionError extends EventspineError {
  static override readonly name = 'DuplicateSubscriptionError'
  readonly code = 'SUBSCRIPTION_DUPLICATE'

  constructor(name: string) {
    super(
      `A subscription ${name} already exists. Names must be unique, because they identify the checkpoint.`,
    )
  }
}

/** A subscription stopped because an event could not be handled. It is `down` until it is started again. */
export class SubscriptionFailedError extends EventspineError {
  static override readonly name = 'SubscriptionFailedError'
  readonly code = 'SUBSCRIPTION_FAILED'
  readonly subscription: string
  /** Position of the event that could not be handled. The position of the subscription is before it. */
  readonly position: number
  readonly eventId: string

  constructor(
    subscription: string,
    at: { readonly position: number; readonly eventId: string },
    cause: Error,
  ) {
    super(
      `The subscription ${subscription} has stopped before position ${at.position} (event ${at.eventId}): ` +
        `${sentence(cause.message)} Fix the handler and start the subscription again.`,
      { cause },
    )
    this.subscription = subscription
    this.position = at.position
    this.eventId = at.eventId
  }
}

/** A wait cannot succeed, because the subscription does not run on this instance, or was stopped. */
export class SubscriptionStoppedError extends EventspineError {
  static override readonly name = 'SubscriptionStoppedError'
  readonly code = 'SUBSCRIPTION_STOPPED'
  override readonly retryable = true

  constructor(name: string, operation: string) {
    super(`The subscription ${name} does not run on this instance, so it cannot ${operation}.`)
  }
}

/**
 * Another instance has moved the checkpoint of a subscription, so the subscription is running twice. Use a lease store
 * if several instances may run.
 */
export class CheckpointConflictError extends EventspineError {
  static override readonly name = 'CheckpointConflictError'
  readonly code = 'CHECKPOINT_CONFLICT'

  constructor(name: string, expected: number | undefined, actual: number | undefined) {
    super(
      `The checkpoint of ${name} is at ${actual ?? 'no position'}, expected ${expected ?? 'none'}: another instance ` +
        'runs the same subscription. Give the managers a lease store, or the subscriptions different names.',
    )
  }
}

/**
 * A subscription should start beyond the end of the feed: its checkpoint belongs to another store, or the store was
 * restored to an earlier state.
 */
export class PositionAheadError extends EventspineError {
  static override readonly name = 'PositionAheadError'
  readonly code = 'POSITION_AHEAD'

  constructor(name: string, position: number, head: number) {
    super(
      `${name} should continue after position ${position}, but the store ends at ${head}: the checkpoint belongs to ` +
        `another store, or the store was restored to an earlier state. ${FOREIGN_REMEDY}`,
    )
  }
}

/**
 * The checkpoint of a subscription belongs to another event store, or to a history of this store that a restore or a
 * failover has replaced.
 */
export class ForeignCheckpointError extends EventspineError {
  static override readonly name = 'ForeignCheckpointError'
  readonly code = 'CHECKPOINT_FOREIGN'
  readonly subscription: string
  readonly position: number

  constructor(subscription: string, position: number, detail: string) {
    super(
      `The checkpoint of ${subscription} at position ${position} does not belong to this event store: ${detail}. ${FOREIGN_REMEDY}`,
    )
    this.subscription = subscription
    this.position = position
  }
}

const FOREIGN_REMEDY =
  "Open the store that the checkpoint belongs to. Or handle the events of this store from the beginning: reset the projection, and start it once with startFrom: 'beginning', or delete the checkpoint."
