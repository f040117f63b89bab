import {
  durationMs,
  durationMsOrInfinity,
  nonNegativeIntegerOrInfinity,
  resolveOptions,
} from '../kit/options.ts'
import { type HealthStatus, worst } from '../observability/health-status.ts'
import type { ProbeAnswer } from './telemetry/broker-probe.ts'

/** One thing that was looked at. */
export interface HealthCheck {
  readonly status: HealthStatus
  /** What was found where it is not obvious; never a payload, never a secret. */
  readonly detail?: string
}

/** A check that found a number; undefined where it cannot be told. */
export interface MeasuredCheck extends HealthCheck {
  readonly value: number | undefined
}

/** What `health` tells. The status is the worst of the checks'. */
export interface BusHealth {
  readonly status: HealthStatus
  readonly checks: {
    /** Down while there is no connection, or the broker does not answer. */
    readonly connected: HealthCheck
    /** Down while the bus is to consume and no event can come. A bus that only publishes is up. */
    readonly consuming: HealthCheck
    /** Degraded while the broker takes no publishes (an alarm of RabbitMQ). */
    readonly publishing: HealthCheck
    /** When something last failed, and what. It changes no status: what still fails shows in the other checks. */
    readonly lastError: HealthCheck & { readonly at: Date | null }
    /** Messages that wait for the consumer group. */
    readonly lag: MeasuredCheck
    /** Age of what is longest in the hands of handlers, in milliseconds; 0 while there is nothing. */
    readonly oldestUnsettledMs: MeasuredCheck
    /** Dead letters that wait for somebody. */
    readonly deadLetters: MeasuredCheck
  }
}

/** What counts as worth a look. */
export interface HealthOptions {
  /** Longest time the call takes, in milliseconds. Default 2,000. */
  readonly timeoutMs?: number
  /** More waiting messages are degraded. Default Infinity. */
  readonly maxLag?: number
  /** An event in the hands of its handlers for longer is degraded, in milliseconds. Default 300,000. */
  readonly maxUnsettledMs?: number
  /** More dead letters are degraded. Default Infinity. */
  readonly maxDeadLetters?: number
}

const defaults = {
  timeoutMs: 2000,
  maxLag: Number.POSITIVE_INFINITY,
  maxUnsettledMs: 300_000,
  maxDeadLetters: Number.POSITIVE_INFINITY,
}

const rules = {
  timeoutMs: durationMs,
  maxLag: nonNegativeIntegerOrInfinity,
  maxUnsettledMs: durationMsOrInfinity,
  maxDeadLetters: nonNegativeIntegerOrInfinity,
}

/** The options, complete. @throws ConfigError */
export function resolveHealthOptions(options: HealthOptions): Readonly<Required<HealthOptions>> {
  return resolveOptions('health', options, defaults, rules)
}

/** What a bus knows of itself, and what its broker answered. */
export interface HealthFacts {
  readonly isShutdown: boolean
  readonly isConnected: boolean
  /** Undefined where nobody asked the bus to consume. */
  readonly isConsuming: boolean | undefined
  readonly blockedReason: string | undefined
  readonly lastError: Error | undefined
  readonly lastErrorAt: Date | null
  readonly oldestUnsettledMs: number
  /** Undefined where there is no broker to ask. */
  readonly lag: ProbeAnswer<number | undefined> | undefined
  readonly deadLetters: ProbeAnswer<number> | undefined
}

/** Applies the limits to the facts. */
export function busHealth(facts: HealthFacts, limits: Required<HealthOptions>): BusHealth {
  const { lag, deadLetters, oldestUnsettledMs, lastError, lastErrorAt } = facts
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
      ...(lastError === undefined ? {} : { detail: `${lastError.name}: ${lastError.message}` }),
    },
    lag: measured(lag, limits.maxLag, 'messages wait'),
    oldestUnsettledMs: measured({ value: oldestUnsettledMs }, limits.maxUnsettledMs, 'ms unsettled'),
    deadLetters: measured(deadLetters, limits.maxDeadLetters, 'dead letters wait'),
  }
  return { status: worst(Object.values(checks).map((check) => check.status)), checks }
}

function connectedCheck({
  isShutdown,
  isConnected,
  lag,
  deadLetters,
  blockedReason,
}: HealthFacts): HealthCheck {
  if (isShutdown) return { status: 'down', detail: 'shut down' }
  if (!isConnected) return { status: 'down', detail: 'no connection to the broker' }
  const answers = [lag, deadLetters].filter((answer) => answer !== undefined)
  const silent = answers.length > 0 && answers.every((answer) => 'error' in answer)
  // One that blocks us answers nothing, and is there.
  if (silent && blockedReason === undefined) return { status: 'down', detail: 'the broker does not answer' }
  return { status: 'up' }
}

function consumingCheck({ isConsuming }: HealthFacts): HealthCheck {
  if (isConsuming === undefined) return { status: 'up', detail: 'not asked to consume' }
  return isConsuming ? { status: 'up' } : { status: 'down', detail: 'no event can come at present' }
}

function measured(
  answer: ProbeAnswer<number | undefined> | undefined,
  limit: number,
  what: string,
): MeasuredCheck {
  if (answer === undefined) return { status: 'up', value: undefined }
  if ('error' in answer) return { status: 'degraded', value: undefined, detail: answer.error.message }
  const { value } = answer
  if (value === undefined || value <= limit) return { status: 'up', value }
  return { status: 'degraded', value, detail: `${value} ${what}, more than ${limit}` }
}
