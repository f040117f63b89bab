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
} from '../bus/options.ts'
import { assertEventClass } from '../events/event-registry.ts'
import type { EventClass } from '../events/index.ts'

/**
 * Where a subscription begins that has no checkpoint yet: at the beginning (`'checkpoint'`, `'beginning'`), behind the
 * last event there is (`'end'`), after a position, or with the first event that was stored at a time or later.
 */
export type StartFrom = 'checkpoint' | 'beginning' | 'end' | number | Date

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
  /** Where to begin without a checkpoint; where there is one, it counts. Default `'checkpoint'`. */
  readonly startFrom?: StartFrom
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
  onFailure: 'stop' as 'stop' | 'deadLetter',
  onProgress: undefined as ((progress: SubscriptionProgress) => void) | undefined,
  progressIntervalMs: 1000,
}

/** The options of a subscription, complete. */
export type ResolvedSubscriptionOptions = Readonly<typeof subscriptionDefaults>

const STARTS: readonly unknown[] = ['checkpoint', 'beginning', 'end']

const rules: Readonly<Record<keyof typeof subscriptionDefaults, OptionRule>> = {
  name: optional(nonEmptyText),
  startFrom: {
    rule: "'checkpoint', 'beginning', 'end', a position (an integer of at least 0) or a valid Date",
    isValid: (value) =>
      STARTS.includes(value) ||
      nonNegativeInteger.isValid(value) ||
      (value instanceof Date && !Number.isNaN(value.getTime())),
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
  onFailure: oneOf('stop', 'deadLetter'),
  onProgress: optional({ rule: 'a function', isValid: (value) => typeof value === 'function' }),
  progressIntervalMs: delayMs,
}

/** @throws ConfigError */
export function resolveSubscriptionOptions(
  name: string,
  given: SubscriptionOptions,
): ResolvedSubscriptionOptions {
  return resolveOptions(`subscription ${name}`, given, subscriptionDefaults, rules)
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
