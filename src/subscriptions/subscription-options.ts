import { ConfigError } from '../errors.ts'
import { assertEventClass } from '../events/event-registry.ts'
import type { EventClass } from '../events/index.ts'
import {
  delayMs,
  durationMs,
  durationMsOrInfinity,
  fraction,
  nonEmptyText,
  nonNegativeInteger,
  type OptionRule,
  oneOf,
  optional,
  positiveInteger,
  positiveIntegerOrInfinity,
  resolveOptions,
} from '../kit/options.ts'

/**
 * Where a subscription begins that has no checkpoint yet: at the beginning (`'checkpoint'`, `'beginning'`), behind the
 * last event there is (`'end'`), after a position, or with the first event that was stored at a time or later.
 */
export type StartFrom = 'checkpoint' | StartPlace

/** The first event, what comes after the last one there is, after a position, or from a time on. */
export type StartPlace = 'beginning' | 'end' | number | Date

/** How far a subscription has come on its way to the end of the feed. */
export interface SubscriptionProgress {
  readonly name: string
  readonly position: number
  /** Position of the last event that there was. */
  readonly head: number
  readonly eventsHandled: number
  readonly eventsPerSecond: number
  readonly isCaughtUp: boolean
}

export interface SubscriptionOptions {
  /** Name of the subscription, which its checkpoint goes by. Default: that of the subscriber, or of its class. */
  readonly name?: string
  /**
   * Where to begin when the manager first starts it: `'checkpoint'`, or a place, whatever the checkpoint says. With `'end'`
   * that skips what came since the checkpoint, so that a new subscription is better given {@link startNewFrom}. From then
   * on, and where an instance stood by for another, the checkpoint counts. Default `'checkpoint'`.
   */
  readonly startFrom?: StartFrom
  /** Where to begin where there is no checkpoint. Default `'beginning'`. */
  readonly startNewFrom?: StartPlace
  /** Only events of these classes, of those that the handlers take. Default all. */
  readonly eventClasses?: readonly EventClass[]
  /** Only events of aggregates of these types. Default all. */
  readonly aggregateTypes?: readonly string[]
  /** Only events of this tenant. Default all. */
  readonly tenantId?: string
  /** Events read at a time, and the most that a batch handler gets. Default 500. */
  readonly batchSize?: number
  /**
   * Aggregates handled at the same time. With 1, the default, events come strictly in the order of the feed; with more,
   * in order per aggregate. A batch handler gets one batch at a time in any case.
   */
  readonly concurrency?: number
  /** Events begun and not finished at most, with a concurrency above 1. Default 1,000. */
  readonly maxInFlight?: number
  /** Save the checkpoint after so many events; 1 for after every event. Default 100. */
  readonly checkpointEveryEvents?: number
  /** Save the checkpoint at the latest so long after an event, in milliseconds. Default 1,000. */
  readonly checkpointEveryMs?: number
  /** Look for events at the latest after so long, in milliseconds, though nothing told of any. Default 1,000. */
  readonly pollIntervalMs?: number
  /** Retries of a handler after its first attempt. Default 3. */
  readonly maxRetries?: number
  /** Wait before the first retry, in milliseconds; doubles with each further one. Default 1,000. */
  readonly retryBaseDelayMs?: number
  /** Longest wait between two attempts, in milliseconds, before jitter. Default 60,000. */
  readonly retryMaxDelayMs?: number
  /** Part of each delay, from 0 to 1, by which chance makes it shorter or longer. Default 0.1. */
  readonly retryJitter?: number
  /** Longest time of one run of a handler, in milliseconds. Default Infinity. */
  readonly handlerTimeoutMs?: number
  /** The name that `handlerTimeoutMs` has in eventsource-py. Pass one of them. */
  readonly processingTimeoutMs?: number
  /**
   * What comes after the last retry: `'stop'` stops the subscription before the event, with health down;
   * `'deadLetter'` puts the event into the manager's `deadLetters` and goes on. Default `'stop'`.
   */
  readonly onFailure?: 'stop' | 'deadLetter'
  /** Told now and then how far it has come, and when it has caught up. Must not throw. */
  readonly onProgress?: (progress: SubscriptionProgress) => void
  /** Shortest time between two calls of `onProgress`, in milliseconds. Default 1,000. */
  readonly progressIntervalMs?: number
}

export const subscriptionDefaults = {
  name: undefined as string | undefined,
  startFrom: 'checkpoint' as StartFrom,
  startNewFrom: 'beginning' as StartPlace,
  eventClasses: undefined as readonly EventClass[] | undefined,
  aggregateTypes: undefined as readonly string[] | undefined,
  tenantId: undefined as string | undefined,
  batchSize: 500,
  concurrency: 1,
  maxInFlight: 1000,
  checkpointEveryEvents: 100,
  checkpointEveryMs: 1000,
  pollIntervalMs: 1000,
  maxRetries: 3,
  retryBaseDelayMs: 1000,
  retryMaxDelayMs: 60_000,
  retryJitter: 0.1,
  handlerTimeoutMs: Number.POSITIVE_INFINITY,
  processingTimeoutMs: undefined as number | undefined,
  onFailure: 'stop' as 'stop' | 'deadLetter',
  onProgress: undefined as ((progress: SubscriptionProgress) => void) | undefined,
  progressIntervalMs: 1000,
}

/** The options of a subscription, complete. */
export type ResolvedSubscriptionOptions = Readonly<typeof subscriptionDefaults>

function isPlace(value: unknown): boolean {
  if (value instanceof Date) return !Number.isNaN(value.getTime())
  return value === 'beginning' || value === 'end' || nonNegativeInteger.isValid(value)
}

const rules: Readonly<Record<keyof typeof subscriptionDefaults, OptionRule>> = {
  name: optional(nonEmptyText),
  startFrom: {
    rule: "'checkpoint', 'beginning', 'end', a position (an integer of at least 0) or a valid Date",
    isValid: (value) => value === 'checkpoint' || isPlace(value),
  },
  startNewFrom: {
    rule: "'beginning', 'end', a position (an integer of at least 0) or a valid Date",
    isValid: isPlace,
  },
  eventClasses: optional({ rule: 'an array of event classes', isValid: isListOf(isEventClass) }),
  aggregateTypes: optional({
    rule: 'an array of non-empty strings',
    isValid: isListOf(nonEmptyText.isValid),
  }),
  tenantId: optional(nonEmptyText),
  batchSize: positiveInteger,
  concurrency: positiveInteger,
  maxInFlight: positiveInteger,
  checkpointEveryEvents: positiveIntegerOrInfinity,
  checkpointEveryMs: durationMsOrInfinity,
  pollIntervalMs: durationMs,
  maxRetries: {
    rule: `${nonNegativeInteger.rule}, or Infinity for no limit`,
    isValid: (value) => value === Number.POSITIVE_INFINITY || nonNegativeInteger.isValid(value),
  },
  retryBaseDelayMs: delayMs,
  retryMaxDelayMs: delayMs,
  retryJitter: fraction,
  handlerTimeoutMs: durationMsOrInfinity,
  processingTimeoutMs: optional(durationMsOrInfinity),
  onFailure: oneOf('stop', 'deadLetter'),
  onProgress: optional({ rule: 'a function', isValid: (value) => typeof value === 'function' }),
  progressIntervalMs: delayMs,
}

/** @throws ConfigError */
export function resolveSubscriptionOptions(
  name: string,
  given: SubscriptionOptions,
): ResolvedSubscriptionOptions {
  const options = resolveOptions(`subscription ${name}`, given, subscriptionDefaults, rules)
  const { processingTimeoutMs } = options
  if (processingTimeoutMs === undefined) return options
  if ((given.handlerTimeoutMs ?? undefined) !== undefined) {
    throw new ConfigError(`subscription ${name}`, ['handlerTimeoutMs and processingTimeoutMs are one option'])
  }
  return Object.freeze({ ...options, handlerTimeoutMs: processingTimeoutMs })
}

function isListOf(isValid: (value: unknown) => boolean): (value: unknown) => boolean {
  return (value) => Array.isArray(value) && value.length > 0 && value.every(isValid)
}

function isEventClass(value: unknown): boolean {
  try {
    assertEventClass(value)
    return true
  } catch {
    return false // it says only what a rule says, too
  }
}
