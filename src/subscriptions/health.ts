import { counted } from '../kit/counted.ts'
import { type HealthStatus, worst } from '../observability/health-status.ts'
import type { EventStoreHealth } from '../store/index.ts'
import type { SubscriptionProblem } from './subscription-monitor.ts'

/**
 * The state of a subscription. `'catchingUp'` and `'live'` are the same loop, before and after it has reached the end of the
 * feed. In `'standby'`, another instance holds the lease. `'failed'`: an error has stopped it.
 */
export type SubscriptionState = 'stopped' | 'standby' | 'catchingUp' | 'live' | 'paused' | 'failed'

/** The status of a subscription. */
export interface SubscriptionStatus {
  readonly name: string
  readonly state: SubscriptionState
  /** Everything up to this position is finished. */
  readonly position: number
  /** The saved position; undefined if there is none, or if it is unknown on this instance. */
  readonly checkpoint: number | undefined
  /** Position of the last event in the store; undefined if the store did not answer. */
  readonly head: number | undefined
  /** Head minus position. Positions have gaps, so the number of events that are left is at most this number. */
  readonly lagPositions: number | undefined
  /** Age of the oldest unfinished event of the subscription, in milliseconds; 0 if there is none. */
  readonly lagMs: number | undefined
  readonly eventsHandled: number
  readonly eventsDeadLettered: number
  /** Events that a handler discarded, once for each such handler. */
  readonly eventsDiscarded: number
  /** Number of failed runs of handlers. */
  readonly handlerErrors: number
  /** Number of events that wait for a retry. */
  readonly retrying: number
  readonly eventsPerSecond: number
  /** How far a rebuild is, from 0 to 1; undefined if none runs. */
  readonly rebuildProgress: number | undefined
  /** Number of wake-ups that announced new events. */
  readonly wakeUps: number
  /** Number of reads that found events without a wake-up. A high number means that wake-ups do not arrive. */
  readonly missedWakeUps: number
  readonly lastError: SubscriptionProblem | undefined
  /** Descriptions of the problems that lower its health. */
  readonly problems: readonly string[]
}

export type { HealthStatus }

/**
 * The health of all subscriptions. `'up'`: each is live, or another instance runs it (ready). `'degraded'`: a subscription is
 * behind, paused or retrying. `'down'`: a subscription does not run and needs a restart.
 */
export interface SubscriptionsHealth {
  readonly status: HealthStatus
  readonly eventStore: EventStoreHealth
  readonly subscriptions: Readonly<Record<string, SubscriptionStatus & { readonly status: HealthStatus }>>
}

export function healthOf(
  statuses: readonly SubscriptionStatus[],
  eventStore: EventStoreHealth,
): SubscriptionsHealth {
  const judged = statuses.map((status) => ({ ...status, status: statusOf(status) }))
  return {
    status: worst([eventStore.status, ...judged.map(({ status }) => status)]),
    eventStore,
    subscriptions: Object.fromEntries(judged.map((status) => [status.name, status])),
  }
}

function statusOf({ state, problems }: SubscriptionStatus): HealthStatus {
  if (state === 'failed' || state === 'stopped') return 'down'
  return problems.length === 0 ? 'up' : 'degraded'
}

const STATE_PROBLEMS: Partial<Record<SubscriptionState, string>> = {
  failed: 'stopped by an error',
  stopped: 'not running',
  paused: 'paused',
  catchingUp: 'catching up',
}

/** Describes the problems of a subscription. */
export function problemsOf(
  { state, retrying, position, head }: Pick<SubscriptionStatus, 'state' | 'retrying' | 'position' | 'head'>,
  troubles: readonly string[],
): readonly string[] {
  const ofState = STATE_PROBLEMS[state]
  return [
    ...(ofState === undefined ? [] : [ofState]),
    ...(retrying === 0 ? [] : [`retrying ${counted(retrying, 'event')}`]),
    ...(head === undefined ? ['the event store does not answer'] : []),
    ...(head !== undefined && position > head ? ['the checkpoint is ahead of the event store'] : []),
    ...troubles,
  ]
}
