import { type HealthStatus, worst } from '../observability/health-status.ts'
import type { EventStoreHealth } from '../store/index.ts'
import type { SubscriptionProblem } from './subscription-monitor.ts'

/**
 * What a subscription does: `'catchingUp'` and `'live'` are the same loop, before and after it has come to the end of
 * the feed; in `'standby'` another instance has the lease; `'failed'` is stopped by an error.
 */
export type SubscriptionState = 'stopped' | 'standby' | 'catchingUp' | 'live' | 'paused' | 'failed'

/** A subscription at one moment. */
export interface SubscriptionStatus {
  readonly name: string
  readonly state: SubscriptionState
  /** Everything up to it is finished. */
  readonly position: number
  /** The position that is saved; undefined when there is none, or it is not known here. */
  readonly checkpoint: number | undefined
  /** Position of the last event in the store; undefined when the store did not answer. */
  readonly head: number | undefined
  /** Head minus position. Positions have holes, so it is at least the number of events that are missing. */
  readonly lagPositions: number | undefined
  /** Age of the oldest event that is wanted and not finished, in milliseconds; 0 when there is none. */
  readonly lagMs: number | undefined
  readonly eventsHandled: number
  readonly eventsDeadLettered: number
  /** Runs of handlers that failed. */
  readonly handlerErrors: number
  /** Events that failed and wait for their next attempt. */
  readonly retrying: number
  readonly eventsPerSecond: number
  /** How often something told of new events. */
  readonly wakeUps: number
  /** How often events were found that nothing had told of: many of them, and the wake-ups do not arrive. */
  readonly missedWakeUps: number
  readonly lastError: SubscriptionProblem | undefined
  /** What keeps it from being well, in words. */
  readonly problems: readonly string[]
}

export type { HealthStatus }

/**
 * Is everything well? `'up'`: every subscription is live, or another instance runs it (ready). `'degraded'`: something
 * is behind, paused or being tried again. `'down'`: a subscription does not run and will not without help.
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

/** The problems that the facts amount to. */
export function problemsOf(
  { state, retrying, position, head }: Pick<SubscriptionStatus, 'state' | 'retrying' | 'position' | 'head'>,
  troubles: readonly string[],
): readonly string[] {
  const ofState = STATE_PROBLEMS[state]
  return [
    ...(ofState === undefined ? [] : [ofState]),
    ...(retrying === 0 ? [] : [`trying ${retrying} events again`]),
    ...(head === undefined ? ['the event store does not answer'] : []),
    ...(head !== undefined && position > head ? ['the checkpoint is ahead of the event store'] : []),
    ...troubles,
  ]
}
