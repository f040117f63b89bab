import { counted } from '../kit/counted.ts'
import {
  durationMs,
  durationMsOrInfinity,
  nonNegativeIntegerOrInfinity,
  resolveOptions,
} from '../kit/options.ts'
import { type HealthStatus, worst } from '../observability/health-status.ts'
import { readable } from '../redaction.ts'
import type { ProbeAnswer } from './telemetry/broker-probe.ts'

/** The result of one check. */
export interface HealthCheck {
  readonly status: HealthStatus
  /** Details of the result. Never contains a payload or a secret. */
  readonly detail?: string
}

/** A check that measures a number; undefined if it is unknown. */
export interface MeasuredCheck extends HealthCheck {
  readonly value: number | undefined
}

/** The report of `health`. Its status is the worst of its checks. */
export interface BusHealth {
  readonly status: HealthStatus
  readonly checks: {
    /** Down if the bus has no connection, or the broker does not answer. */
    readonly connected: HealthCheck
    /**
     * Down if consuming was started but no events can arrive. Degraded if the group has assigned no partition to it
     * (Kafka). A bus that only publishes is up.
     */
    readonly consuming: HealthCheck
    /** Degraded while the broker does not accept publishes (an alarm of RabbitMQ). */
    readonly publishing: HealthCheck
    /** The last failure and its time. Always up, because the other checks report a failure that persists. */
    readonly lastError: HealthCheck & { readonly at: Date | null }
    /** Number of messages at the broker that wait for the consumer group. */
    readonly lag: MeasuredCheck
    /** Time for which the bus has held the oldest unsettled event, in milliseconds; 0 if there is none. */
    readonly oldestUnsettledMs: MeasuredCheck
    /** Number of dead letters of the bus's consumer group. Those that name no group count for every group. */
    readonly deadLetters: MeasuredCheck
    /**
     * Number of events that wait for a later attempt of a handler (`longWaits`). Unknown if no handler of this bus has long
     * waits.
     */
    readonly waiting: MeasuredCheck
    /**
     * Time since the first failed attempt of the oldest of these events, in milliseconds; 0 if none waits. On RabbitMQ, it may
     * be longer.
     */
    readonly oldestWaitingMs: MeasuredCheck
  }
}

/** The limits beyond which a check is degraded. */
export interface HealthOptions {
  /** Maximum duration of the call, in milliseconds. Default 2,000. */
  readonly timeoutMs?: number
  /** Maximum number of waiting messages. Default Infinity. */
  readonly maxLag?: number
  /** Maximum time that an event may be unsettled, in milliseconds. Default 300,000. */
  readonly maxUnsettledMs?: number
  /** Maximum number of dead letters of the consumer group. Default Infinity. */
  readonly maxDeadLetters?: number
  /** Maximum number of events that wait for a later attempt of a handler (`longWaits`). Default Infinity. */
  readonly maxWaiting?: number
  /** Maximum time that such an event may wait since its first failed attempt, in milliseconds. Default Infinity. */
  readonly maxWaitingMs?: number
}

export const healthDefaults = {
  timeoutMs: 2000,
  maxLag: Number.POSITIVE_INFINITY,
  maxUnsettledMs: 300_000,
  maxDeadLetters: Number.POSITIVE_INFINITY,
  maxWaiting: Number.POSITIVE_INFINITY,
  maxWaitingMs: Number.POSITIVE_INFINITY,
}

export const healthRules = {
  timeoutMs: durationMs,
  maxLag: nonNegativeIntegerOrInfinity,
  maxUnsettledMs: durationMsOrInfinity,
  maxDeadLetters: nonNegativeIntegerOrInfinity,
  maxWaiting: nonNegativeIntegerOrInfinity,
  maxWaitingMs: durationMsOrInfinity,
}

/** Returns the options with defaults applied. @throws ConfigError */
export function resolveHealthOptions(options: HealthOptions): Readonly<Required<HealthOptions>> {
  return resolveOptions('health', options, healthDefaults, healthRules)
}

/** The state of a bus, and the answers of its broker. */
export interface HealthFacts {
  readonly isShutdown: boolean
  readonly isConnected: boolean
  /** True if the bus has been connected before; the connection may be lost by now. */
  readonly wasConnected: boolean
  /** Undefined if consuming was not started. */
  readonly isConsuming: boolean | undefined
  /** Why a consumer that could receive events receives none. */
  readonly idleReason?: string | undefined
  readonly blockedReason: string | undefined
  readonly lastError: Error | undefined
  readonly lastErrorAt: Date | null
  readonly oldestUnsettledMs: number
  /** Undefined if there is no broker to query. */
  readonly lag: ProbeAnswer<number | undefined> | undefined
  readonly deadLetters: ProbeAnswer<number> | undefined
  /** Undefined if no handler has long waits. */
  readonly waiting: ProbeAnswer<number> | undefined
  readonly oldestWaitingMs: ProbeAnswer<number> | undefined
}

/** Derives the report from the facts. */
export function busHealth(facts: HealthFacts, limits: Required<HealthOptions>): BusHealth {
  const { lag, deadLetters, waiting, oldestWaitingMs, oldestUnsettledMs, lastError, lastErrorAt } = facts
  const checks: BusHealth['checks'] = {
    connected: connectedCheck(facts),
    consuming: consumingCheck(facts),
    publishing:
      facts.blockedReason === undefined
        ? { status: 'up' }
        : { status: 'degraded', detail: `blocked by the broker: ${facts.blockedReason}` },
    lastError: {
      status: 'up',
      at: lastErrorAt,
      // A handler's error can hold anything.
      ...(lastError === undefined ? {} : { detail: readable(`${lastError.name}: ${lastError.message}`) }),
    },
    lag: measured(lag, limits.maxLag, (count) => counted(count, 'message waits', 'messages wait')),
    oldestUnsettledMs: measured(
      { value: oldestUnsettledMs },
      limits.maxUnsettledMs,
      (ms) => `${ms} ms unsettled`,
    ),
    deadLetters: measured(deadLetters, limits.maxDeadLetters, (count) =>
      counted(count, 'dead letter waits', 'dead letters wait'),
    ),
    waiting: measured(
      waiting,
      limits.maxWaiting,
      (count) => `${counted(count, 'event waits', 'events wait')} for a later attempt`,
    ),
    oldestWaitingMs: measured(
      oldestWaitingMs,
      limits.maxWaitingMs,
      (ms) => `${ms} ms since the first failure of an event that waits`,
    ),
  }
  return { status: worst(Object.values(checks).map((check) => check.status)), checks }
}

function connectedCheck({
  isShutdown,
  isConnected,
  wasConnected,
  lag,
  deadLetters,
  blockedReason,
}: HealthFacts): HealthCheck {
  if (isShutdown) return { status: 'down', detail: 'shut down' }
  if (!wasConnected)
    return { status: 'down', detail: 'not connected yet: call connect, publish or startConsuming' }
  if (!isConnected) return { status: 'down', detail: 'no connection to the broker' }
  const answers = [lag, deadLetters].filter((answer) => answer !== undefined)
  const silent = answers.length > 0 && answers.every((answer) => 'error' in answer)
  // A broker that blocks the connection does not answer, but it is reachable.
  if (silent && blockedReason === undefined) return { status: 'down', detail: 'the broker does not answer' }
  return { status: 'up' }
}

function consumingCheck({ isConsuming, idleReason }: HealthFacts): HealthCheck {
  if (isConsuming === undefined) return { status: 'up', detail: 'not started' }
  if (isConsuming && idleReason !== undefined) return { status: 'degraded', detail: idleReason }
  return isConsuming ? { status: 'up' } : { status: 'down', detail: 'not receiving events' }
}

function measured(
  answer: ProbeAnswer<number | undefined> | undefined,
  limit: number,
  describe: (value: number) => string,
): MeasuredCheck {
  if (answer === undefined) return { status: 'up', value: undefined }
  if ('error' in answer)
    return { status: 'degraded', value: undefined, detail: readable(answer.error.message) }
  const { value } = answer
  if (value === undefined || value <= limit) return { status: 'up', value }
  return { status: 'degraded', value, detail: `${describe(value)}, more than ${limit}` }
}
