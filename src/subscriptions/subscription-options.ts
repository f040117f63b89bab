import { ConfigError } from '../errors.ts'
import { assertEventClass } from '../events/event-registry.ts'
import type { EventClass } from '../events/index.ts'
import type { HandlerPolicy } from '../handling/handler-policy.ts'
import {
  booleanOption,
  delayMs,
  delaysMs,
  durationMs,
  durationMsOrInfinity,
  fraction,
  functionOption,
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
 * Where a subscription without a checkpoint starts: at the beginning (`'checkpoint'`, `'beginning'`), after the last
 * event (`'end'`), after a position, or with the first event that was stored at or after a time.
 */
export type StartFrom = 'checkpoint' | StartPlace

/**
 * At the first event, after the last event, after a position, or at the first event that was stored at or after a time.
 */
export type StartPlace = 'beginning' | 'end' | number | Date

/** The progress of a subscription towards the end of the feed. */
export interface SubscriptionProgress {
  readonly name: string
  readonly position: number
  /** Position of the last event in the store. */
  readonly head: number
  readonly eventsHandled: number
  readonly eventsPerSecond: number
  readonly isCaughtUp: boolean
}

/** Options of one subscription. */
export interface SubscriptionOptions {
  /**
   * Name of the subscription, which identifies its checkpoint. Default: the `name` of the subscriber. One of the two is
   * required.
   */
  readonly name?: string
  /**
   * Where to start when the manager first starts the subscription: at the checkpoint, or at a given place regardless of the
   * checkpoint. `'end'` skips all events since the checkpoint, so prefer {@link startNewFrom} for a new subscription. Later
   * starts, and failovers from another instance, use the checkpoint. Default `'checkpoint'`.
   */
  readonly startFrom?: StartFrom
  /** Where to start if there is no checkpoint. Default `'beginning'`. */
  readonly startNewFrom?: StartPlace
  /** Only events of these classes, among those that the handlers handle. Default all. */
  readonly eventClasses?: readonly EventClass[]
  /** Only events of aggregates of these types. Default all. */
  readonly aggregateTypes?: readonly string[]
  /** Only events of this tenant. Default all. */
  readonly tenantId?: string
  /** Number of events per read, and maximum size of a batch for a batch handler. Default 500. */
  readonly batchSize?: number
  /**
   * Maximum number of aggregates handled concurrently. With 1, the default, events are handled in the order of the feed; with
   * more, in order per aggregate. A batch handler always gets one batch at a time.
   */
  readonly concurrency?: number
  /** Maximum number of events that are started and not finished, if `concurrency` is above 1. Default 1,000. */
  readonly maxInFlight?: number
  /** Number of events after which the checkpoint is saved; 1 for every event. Default 100; for a relay, 500. */
  readonly checkpointEveryEvents?: number
  /** Maximum time from an event to the save of the checkpoint, in milliseconds. Default 1,000. */
  readonly checkpointEveryMs?: number
  /** Maximum time between two reads at the end of the feed, in milliseconds, if no wake-up arrives. Default 1,000. */
  readonly pollIntervalMs?: number
  /** Retries of a handler after its first attempt. Default 3. */
  readonly maxRetries?: number
  /** Delay before the first retry, in milliseconds; it doubles with each further retry. Default 1,000. */
  readonly retryBaseDelayMs?: number
  /** Maximum delay between two attempts, in milliseconds, before jitter. Default 60,000. */
  readonly retryMaxDelayMs?: number
  /** Fraction, from 0 to 1, by which each delay is randomly shortened or lengthened. Default 0.1. */
  readonly retryJitter?: number
  /** The delay before each retry, in milliseconds. Replaces `maxRetries` and the exponential delays. */
  readonly retryDelaysMs?: readonly number[]
  /** Returns false for an error that no retry can fix: `onFailure` applies after the attempt. Default: all are retried. */
  readonly retryIf?: (error: Error) => boolean
  /** Returns true for an error with which a handler discards the event, which then counts as handled. Default: none. */
  readonly discardIf?: (error: Error) => boolean
  /** Maximum duration of one attempt of a handler, in milliseconds. Default Infinity. */
  readonly handlerTimeoutMs?: number
  /** The name that `handlerTimeoutMs` has in eventsource-py. Pass one of them. */
  readonly processingTimeoutMs?: number
  /**
   * What the subscription does if the last retry fails. `'stop'`: it stops before the event, and its health is down.
   * `'deadLetter'`: it stores the event in the `deadLetters` of the manager and continues. Default `'stop'`.
   */
  readonly onFailure?: 'stop' | 'deadLetter'
  /**
   * Store the stack of the error with a dead-lettered event, at most 4,000 characters. A stack contains paths of the program,
   * and the message of the error. Default false.
   */
  readonly deadLetterStacks?: boolean
  /** Called regularly with the progress, and when the subscription has caught up. Must not throw. */
  readonly onProgress?: (progress: SubscriptionProgress) => void
  /** Minimum time between two calls of `onProgress`, in milliseconds. Default 1,000. */
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
  retryDelaysMs: undefined as readonly number[] | undefined,
  retryIf: undefined as HandlerPolicy['retryIf'] | undefined,
  discardIf: undefined as HandlerPolicy['discardIf'] | undefined,
  handlerTimeoutMs: Number.POSITIVE_INFINITY,
  processingTimeoutMs: undefined as number | undefined,
  onFailure: 'stop' as 'stop' | 'deadLetter',
  deadLetterStacks: false,
  onProgress: undefined as ((progress: SubscriptionProgress) => void) | undefined,
  progressIntervalMs: 1000,
}

/** The options of a subscription, with defaults applied. */
export type ResolvedSubscriptionOptions = Readonly<typeof subscriptionDefaults>

function isPlace(value: unknown): boolean {
  if (value instanceof Date) return !Number.isNaN(value.getTime())
  return value === 'beginning' || value === 'end' || nonNegativeInteger.isValid(value)
}

export const subscriptionRules: Readonly<Record<keyof typeof subscriptionDefaults, OptionRule>> = {
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
  retryDelaysMs: optional(delaysMs),
  retryIf: optional(functionOption),
  discardIf: optional(functionOption),
  handlerTimeoutMs: durationMsOrInfinity,
  processingTimeoutMs: optional(durationMsOrInfinity),
  onFailure: oneOf('stop', 'deadLetter'),
  deadLetterStacks: booleanOption,
  onProgress: optional(functionOption),
  progressIntervalMs: delayMs,
}

/** @throws ConfigError */
export function resolveSubscriptionOptions(
  name: string,
  given: SubscriptionOptions,
): ResolvedSubscriptionOptions {
  const options = resolveOptions(`subscription ${name}`, given, subscriptionDefaults, subscriptionRules)
  const { processingTimeoutMs } = options
  if (processingTimeoutMs === undefined) return options
  if ((given.handlerTimeoutMs ?? undefined) !== undefined) {
    throw new ConfigError(`subscription ${name}`, [
      'handlerTimeoutMs and processingTimeoutMs are the same option: set one of them',
    ])
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
