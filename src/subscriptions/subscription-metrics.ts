import { type BatchObservableCallback, type Meter, metrics, type Observable } from '@opentelemetry/api'
import { objectWith, optional, resolveOptions } from '../kit/options.ts'
import { settledWithin } from '../kit/time.ts'
import type { MeterSource } from '../observability/meter.ts'
import type { SubscriptionStatus } from './health.ts'
import type { Stores } from './stores.ts'

/** What is known of a subscription. A process that does not run it knows less. */
export type SubscriptionFacts = Pick<SubscriptionStatus, 'name'> &
  Partial<SubscriptionStatus> & { readonly parked?: number | undefined }

/** The value of an instrument; undefined if it is unknown. */
type Read = (facts: SubscriptionFacts) => number | undefined

const STATES = ['live', 'catchingUp', 'paused', 'standby', 'stopped', 'failed'] as const

const NAME = 'eventspine.subscription.name'
const STATE = 'eventspine.subscription.state'

/** The instruments of subscriptions. `state` has a value for each state. */
export function createSubscriptionInstruments(meter: Meter): {
  readonly state: Observable
  readonly others: ReadonlyMap<Observable, Read>
} {
  const gauge = (name: string, unit: string, description: string) =>
    meter.createObservableGauge(`eventspine.subscription.${name}`, { unit, description })
  const counter = (name: string, unit: string, description: string) =>
    meter.createObservableCounter(`eventspine.subscription.${name}`, { unit, description })
  return {
    state: meter.createObservableGauge(STATE, {
      unit: '1',
      description: '1 for the state of a subscription, 0 for the other states.',
    }),
    others: new Map<Observable, Read>([
      [
        gauge('position', '{position}', 'Up to here, a subscription has finished everything.'),
        ({ position }) => position,
      ],
      [
        gauge('lag', '{position}', 'Positions between a subscription and the end of the feed.'),
        ({ lagPositions }) => lagPositions,
      ],
      [
        gauge('oldest_unfinished', 's', 'Age of the oldest event that a subscription has not finished.'),
        ({ lagMs }) => lagMs && lagMs / 1000,
      ],
      [
        gauge('retries_waiting', '{event}', 'Events of a subscription that wait for a retry.'),
        ({ retrying }) => retrying,
      ],
      [
        gauge('parked', '{event}', 'Dead-lettered events of a subscription that are stored.'),
        ({ parked }) => parked,
      ],
      [
        gauge('rebuild_progress', '1', 'How far a rebuild is, from 0 to 1. 1 while none runs.'),
        ({ state, rebuildProgress }) => state && (rebuildProgress ?? 1),
      ],
      [
        counter('handled', '{event}', 'Events that a subscription has handled.'),
        ({ eventsHandled }) => eventsHandled,
      ],
      [
        counter('dead_lettered', '{event}', 'Events that a subscription has dead-lettered.'),
        ({ eventsDeadLettered }) => eventsDeadLettered,
      ],
      [
        counter('discarded', '{event}', 'Events that a handler of a subscription has discarded.'),
        ({ eventsDiscarded }) => eventsDiscarded,
      ],
      [
        counter('handler_errors', '{error}', 'Failed runs of the handlers of a subscription.'),
        ({ handlerErrors }) => handlerErrors,
      ],
    ]),
  }
}

/** Maximum time that the collection of metrics waits for the store, in milliseconds. */
const TIMEOUT_MS = 5000

/**
 * Reports subscriptions with each collection, until `read` returns undefined. @returns a function that ends it, too.
 */
function observe(meter: Meter, read: () => Promise<readonly SubscriptionFacts[]> | undefined): () => void {
  const { state, others } = createSubscriptionInstruments(meter)
  const observables = [state, ...others.keys()]
  const callback: BatchObservableCallback = async (result) => {
    const reading = read()?.catch(() => [])
    if (reading === undefined) return end()
    for (const facts of (await settledWithin(reading, TIMEOUT_MS)) ? await reading : []) {
      const attributes = { [NAME]: facts.name }
      for (const [instrument, readValue] of others) {
        const value = readValue(facts)
        if (value !== undefined) result.observe(instrument, value, attributes)
      }
      for (const each of facts.state === undefined ? [] : STATES)
        result.observe(state, each === facts.state ? 1 : 0, { ...attributes, [STATE]: each })
    }
  }
  const end = () => meter.removeBatchObservableCallback(callback, observables)
  meter.addBatchObservableCallback(callback, observables)
  return end
}

/** The metrics of the subscriptions of a manager, from its first start on. They do not keep the manager in memory. */
export class SubscriptionMetrics {
  readonly #source: MeterSource | undefined
  readonly #read: () => Promise<readonly SubscriptionFacts[]>
  #isStarted = false
  #meter: Meter | undefined
  #end: (() => void) | undefined

  /** @param source - undefined if metrics are off. */
  constructor(source: MeterSource | undefined, read: () => Promise<readonly SubscriptionFacts[]>) {
    this.#source = source
    this.#read = read
  }

  start(): void {
    this.#isStarted = true
    this.refresh()
  }

  /** Applies a change of the registered SDK. */
  refresh(): void {
    const meter = this.#source?.current()
    if (meter === this.#meter || !this.#isStarted) return
    this.#end?.()
    this.#meter = meter
    const reference = new WeakRef(this)
    const read = () => {
      const own = reference.deref()
      return own === undefined ? undefined : own.#read()
    }
    this.#end = meter && observe(meter, read)
  }
}

/** Where the metrics of subscriptions go. */
export interface ObserveSubscriptionsOptions {
  /** Meter to use. Default: OpenTelemetry's global one. */
  readonly meter?: Meter
}

const aMeter = objectWith('a Meter of OpenTelemetry', 'createObservableGauge', 'addBatchObservableCallback')

/**
 * Reports the subscriptions that have saved a position in durable stores as OpenTelemetry metrics with each collection, also
 * those that no process runs: position, lag, age of the oldest event behind the position, and parked events. One process for
 * each database is enough. Call it after the SDK is registered.
 *
 * The lag includes events that a subscription does not handle. The metrics of a `SubscriptionManager` have more.
 * @returns a function that ends it.
 */
export function observeSubscriptions(
  stores: Pick<Stores, 'events' | 'checkpoints' | 'deadLetters'>,
  options: ObserveSubscriptionsOptions = {},
): () => void {
  const defaults = { meter: undefined as Meter | undefined }
  const { meter } = resolveOptions('observeSubscriptions', options, defaults, { meter: optional(aMeter) })
  return observe(meter ?? metrics.getMeter('eventspine'), () => factsOf(stores))
}

async function factsOf({
  events,
  checkpoints,
  deadLetters,
}: Pick<Stores, 'events' | 'checkpoints' | 'deadLetters'>): Promise<readonly SubscriptionFacts[]> {
  const [head, parked, saved] = await Promise.all([
    events.headPosition(),
    deadLetters.counts(),
    checkpoints.list(),
  ])
  return Promise.all(
    saved.map(async ({ name, position }) => {
      const [oldest] = (await events.readPage({ fromPosition: position, limit: 1 })).events
      const lagMs = oldest === undefined ? 0 : Math.max(0, Date.now() - oldest.storedAt.getTime())
      return {
        name,
        position,
        lagMs,
        lagPositions: Math.max(0, head - position),
        parked: parked.get(name) ?? 0,
      }
    }),
  )
}
