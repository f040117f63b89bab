import { ConfigError } from '../errors.ts'
import { Dispatcher } from '../handling/dispatcher.ts'
import { type HandlerEntry, isCalled, recordedName } from '../handling/handler-entry.ts'
import type { HandlerFailure } from '../handling/handler-failure.ts'
import type { StoredEvent } from '../store/index.ts'
import { type ParkedEvent, parkedError, type SubscriptionDeadLetterStore } from './dead-letter-store.ts'
import { SubscriptionStoppedError } from './errors.ts'
import type { FeedSubscription } from './feed-subscription.ts'

/** Which parked events to replay. */
export interface ReplayOptions {
  /** Only the parked events at these positions. Default all. */
  readonly positions?: readonly number[]
}

/** A parked event that failed again, and stays parked. */
export interface ReplayFailure {
  readonly position: number
  readonly eventId: string
  readonly error: Error
}

/** The outcome of a replay of parked events. */
export interface ReplayReport {
  /** Number of events that were handled and removed. */
  readonly replayed: number
  readonly failed: readonly ReplayFailure[]
}

const PAGE = 100

export async function replayParked(
  subscription: FeedSubscription,
  positions: readonly number[] | undefined,
): Promise<ReplayReport> {
  const { host, name } = subscription
  const { deadLetters } = host
  if (deadLetters === undefined)
    throw new ConfigError('replayParked', ['the option deadLetters of the manager is required'])
  if (host.leases !== undefined && !subscription.isLeading) {
    throw new SubscriptionStoppedError(name, 'replay parked events')
  }
  const replay = new Replay(subscription, deadLetters)
  const failed: ReplayFailure[] = []
  let replayed = 0
  for (let after: ParkedEvent | undefined; ; ) {
    const page = await deadLetters.list({ subscription: name, after, limit: PAGE })
    for (const parked of page) {
      if (positions !== undefined && !positions.includes(parked.position)) continue
      const error = await replay.run(parked)
      if (error === undefined) replayed += 1
      else failed.push({ position: parked.position, eventId: parked.event.eventId, error })
    }
    after = page.at(-1)
    if (page.length < PAGE) return { replayed, failed }
  }
}

class Replay {
  readonly #subscription: FeedSubscription
  readonly #deadLetters: SubscriptionDeadLetterStore
  readonly #dispatcher: Dispatcher

  constructor(subscription: FeedSubscription, deadLetters: SubscriptionDeadLetterStore) {
    const { host, options, monitor } = subscription
    this.#subscription = subscription
    this.#deadLetters = deadLetters
    this.#dispatcher = new Dispatcher({
      tracer: host.tracer,
      handlerTimeoutMs: options.handlerTimeoutMs,
      owner: subscription,
      cause: subscription.consumer.isBatch ? 'none' : 'event',
      metrics: { recorder: undefined },
      observer: {
        handled: () => undefined,
        failed: () => {
          monitor.handlerErrors += 1
        },
      },
    })
  }

  /** @returns the error because of which the event stays parked; undefined if it was handled. */
  async run(parked: ParkedEvent): Promise<Error | undefined> {
    const stored = await this.#stored(parked)
    if (stored.fault !== undefined) return this.#park(parked, [stored.fault], parked.handlerNames)
    const all = this.#subscription.consumer.handlersFor([stored])
    const failures = await this.#dispatch(handlersThatFailed(all, parked), stored, parked)
    if (failures.length > 0) {
      const names = failures.map(({ handler }) => recordedName(handler))
      return this.#park(
        parked,
        failures.map(({ error }) => error),
        names,
      )
    }
    await this.#deadLetters.remove(parked.subscription, parked.position)
    return undefined
  }

  async #dispatch(
    handlers: Parameters<Dispatcher['run']>[0],
    { event, position }: StoredEvent,
    { attempts, subscription }: ParkedEvent,
  ): Promise<readonly HandlerFailure[]> {
    return this.#dispatcher.run(handlers, event, {
      consumerGroup: subscription,
      attempt: attempts + 1,
      deliveryCount: 1,
      messageId: String(position),
      busSignal: this.#subscription.stopped,
    })
  }

  /** Returns the event from the store, decoded by the current class; the parked event if the store no longer has it. */
  async #stored({ position, event, failedAt }: ParkedEvent): Promise<StoredEvent> {
    const range = { fromPosition: position - 1, toPosition: position, limit: 1 }
    const { events } = await this.#subscription.host.store.readPage(range)
    const [found] = events
    return found?.event.eventId === event.eventId ? found : { event, position, storedAt: failedAt }
  }

  async #park(
    parked: ParkedEvent,
    errors: readonly Error[],
    handlerNames: readonly string[],
  ): Promise<Error> {
    const error = errors[0] ?? new Error('unknown')
    await this.#deadLetters.add({
      ...parked,
      handlerNames,
      ...parkedError(error, this.#subscription.options),
      attempts: parked.attempts + 1,
      failedAt: new Date(),
    })
    return error
  }
}

/**
 * Returns the handlers that had failed. If a failed handler has no name, or none of the current handlers has its name,
 * all handlers run, so that none is skipped; handlers that had succeeded then handle the event again.
 */
function handlersThatFailed(
  handlers: readonly HandlerEntry[],
  { handlerNames }: ParkedEvent,
): readonly HandlerEntry[] {
  const isKnown = handlerNames.every((name) => handlers.some((handler) => isCalled(handler, name)))
  if (!isKnown || handlerNames.length === 0) return handlers
  return handlers.filter((handler) => handlerNames.some((name) => isCalled(handler, name)))
}
