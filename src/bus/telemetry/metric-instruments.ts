import type { Attributes, Counter, Histogram, Meter, MetricOptions } from '@opentelemetry/api'

/** The bucket boundaries that OpenTelemetry's messaging conventions recommend, in seconds. */
const DURATION_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
/** From messages that are handled at once to messages that waited for a week, in seconds. */
const AGE_S = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400, 604_800]

const seconds = (description: string, explicitBucketBoundaries: number[]): MetricOptions => ({
  description,
  unit: 's',
  advice: { explicitBucketBoundaries },
})

const messages = (description: string): MetricOptions => ({ description, unit: '{message}' })

/**
 * The synchronous instruments of a bus. They have the names of OpenTelemetry's conventions where these exist, otherwise
 * names of eventspine.
 */
export interface MetricInstruments {
  readonly sent: Counter
  readonly consumed: Counter
  readonly handled: Counter
  readonly retried: Counter
  readonly deadLettered: Counter
  readonly discarded: Counter
  readonly publishDuration: Histogram
  readonly processDuration: Histogram
  readonly handlerDuration: Histogram
  readonly age: Histogram
}

export function createInstruments(meter: Meter): MetricInstruments {
  return {
    sent: meter.createCounter('messaging.client.sent.messages', messages('Messages sent to the broker.')),
    consumed: meter.createCounter(
      'messaging.client.consumed.messages',
      messages('Messages whose handling started.'),
    ),
    handled: meter.createCounter(
      'eventspine.messages.handled',
      messages('Messages whose handling ended, by outcome.'),
    ),
    retried: meter.createCounter(
      'eventspine.messages.retried',
      messages('Retries, that is, attempts after a failed one.'),
    ),
    deadLettered: meter.createCounter(
      'eventspine.messages.dead_lettered',
      messages('Messages moved to the dead letter queue.'),
    ),
    discarded: meter.createCounter(
      'eventspine.messages.discarded',
      messages('Messages that a handler discarded.'),
    ),
    publishDuration: meter.createHistogram(
      'messaging.client.operation.duration',
      seconds('Time from the start of a publish to the confirmation of the broker.', DURATION_S),
    ),
    processDuration: meter.createHistogram(
      'messaging.process.duration',
      seconds(
        'Time from the first attempt of a message to the end of its handling, including retries and their delays.',
        DURATION_S,
      ),
    ),
    handlerDuration: meter.createHistogram(
      'eventspine.handler.duration',
      seconds('Duration of one run of one handler.', DURATION_S),
    ),
    age: meter.createHistogram(
      'eventspine.message.age',
      seconds('Time from the occurrence of an event to the end of its handling.', AGE_S),
    ),
  }
}

/** What a bus reports when metrics are collected. */
export interface MetricProbes {
  inFlight(): number
  skipped(): number
  reconnections(): number
  /** Number of handlers that pause for an outage. */
  pausedHandlers(): number
  /** True if an operator has paused the group; undefined while the bus does not consume. */
  isPaused(): boolean | undefined
  /** Number of messages that wait for the group; undefined if unknown. Never rejects, and resolves soon. */
  lag(): Promise<number | undefined>
  /** Number of messages that wait long for an attempt of a handler; undefined if unknown, or without long waits. */
  waiting(): Promise<number | undefined>
  /** Age of the oldest of these messages, in milliseconds. */
  oldestWaitingMs(): Promise<number | undefined>
}

function inSeconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000
}

function numberOf(flag: boolean | undefined): number | undefined {
  return flag === undefined ? undefined : Number(flag)
}

/** The observation of each meter and set of attributes. */
const observations = new WeakMap<Meter, Map<string, Observation>>()

/**
 * Starts observing a bus. Buses of one group in one process have the same attributes, so they are reported as one: their
 * counts are summed, and the lag and the waiting messages are those of the group.
 * @returns a function that stops it.
 */
export function observe(meter: Meter, attributes: Attributes, probes: MetricProbes): () => void {
  const ofMeter = observations.get(meter) ?? new Map<string, Observation>()
  observations.set(meter, ofMeter)
  const key = JSON.stringify(attributes)
  const observation = ofMeter.get(key) ?? new Observation(meter, attributes)
  ofMeter.set(key, observation)
  observation.add(probes)
  return () => {
    observation.remove(probes)
    if (observation.isOver) ofMeter.delete(key)
  }
}

/** Reports the buses that share one set of attributes. */
class Observation {
  readonly #probes = new Set<MetricProbes>()
  /** Counts of removed buses, which stay in the sum because a counter must not decrease. */
  readonly #removed = { skipped: 0, reconnections: 0 }
  readonly #endings: readonly (() => void)[]

  constructor(meter: Meter, attributes: Attributes) {
    const inFlight = meter.createObservableUpDownCounter(
      'eventspine.messages.in_flight',
      messages('Messages held by the bus: waiting, running or between two attempts.'),
    )
    const skipped = meter.createObservableCounter(
      'eventspine.messages.skipped',
      messages('Messages of a type without a subscription.'),
    )
    const reconnections = meter.createObservableCounter('eventspine.reconnections', {
      description: 'Connections that were lost and restored.',
      unit: '{reconnection}',
    })
    const paused = meter.createObservableUpDownCounter('eventspine.handlers.paused', {
      description: 'Handlers that pause because their events fail for the same reason.',
      unit: '{handler}',
    })
    const groupPaused = meter.createObservableGauge('eventspine.consumer.paused', {
      description: '1 if an operator has paused the consumer group, 0 if not.',
      unit: '1',
    })
    const lag = meter.createObservableGauge(
      'eventspine.consumer.lag',
      messages('Messages at the broker that wait for the consumer group.'),
    )
    const waiting = meter.createObservableGauge(
      'eventspine.messages.waiting',
      messages('Messages that wait at the broker for a later attempt of a handler.'),
    )
    const oldestWaiting = meter.createObservableGauge('eventspine.messages.oldest_waiting', {
      description: 'Age of the oldest message that waits at the broker for a later attempt of a handler.',
      unit: 's',
    })
    const observables = [
      [inFlight, async () => this.#sum((probes) => probes.inFlight())],
      [skipped, async () => this.#removed.skipped + this.#sum((probes) => probes.skipped())],
      [
        reconnections,
        async () => this.#removed.reconnections + this.#sum((probes) => probes.reconnections()),
      ],
      [paused, async () => this.#sum((probes) => probes.pausedHandlers())],
      [groupPaused, () => this.#first(async (probes) => numberOf(probes.isPaused()))],
      [lag, () => this.#first((probes) => probes.lag())],
      [waiting, () => this.#first((probes) => probes.waiting())],
      [oldestWaiting, async () => inSeconds(await this.#first((probes) => probes.oldestWaitingMs()))],
    ] as const
    this.#endings = observables.map(([observable, read]) => {
      const callback: Parameters<typeof observable.addCallback>[0] = async (result) => {
        const value = await read()
        if (value !== undefined) result.observe(value, attributes)
      }
      observable.addCallback(callback)
      return () => observable.removeCallback(callback)
    })
  }

  /** True if no bus is left. */
  get isOver(): boolean {
    return this.#probes.size === 0
  }

  add(probes: MetricProbes): void {
    this.#probes.add(probes)
  }

  remove(probes: MetricProbes): void {
    this.#probes.delete(probes)
    this.#removed.skipped += probes.skipped()
    this.#removed.reconnections += probes.reconnections()
    if (this.isOver) for (const end of this.#endings) end()
  }

  #sum(count: (probes: MetricProbes) => number): number {
    return [...this.#probes].reduce((sum, probes) => sum + count(probes), 0)
  }

  /** The first answer that one of the buses gives. A bus that does not consume, or is not connected, gives none. */
  async #first(ask: (probes: MetricProbes) => Promise<number | undefined>): Promise<number | undefined> {
    for (const probes of this.#probes) {
      const answer = await ask(probes)
      if (answer !== undefined) return answer
    }
    return undefined
  }
}
