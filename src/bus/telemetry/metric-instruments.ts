import type { Attributes, Counter, Histogram, Meter, MetricOptions } from '@opentelemetry/api'

/** The boundaries that OpenTelemetry's messaging conventions advise, in seconds. */
const DURATION_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
/** From a message that is handled at once to one that waited for a week, in seconds. */
const AGE_S = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400, 604_800]

const seconds = (description: string, explicitBucketBoundaries: number[]): MetricOptions => ({
  description,
  unit: 's',
  advice: { explicitBucketBoundaries },
})

const messages = (description: string): MetricOptions => ({ description, unit: '{message}' })

/** What a bus counts and measures as it happens: the conventions' names where they fit, our own beside them. */
export interface MetricInstruments {
  readonly sent: Counter
  readonly consumed: Counter
  readonly handled: Counter
  readonly retried: Counter
  readonly deadLettered: Counter
  readonly publishDuration: Histogram
  readonly processDuration: Histogram
  readonly handlerDuration: Histogram
  readonly age: Histogram
}

export function createInstruments(meter: Meter): MetricInstruments {
  return {
    sent: meter.createCounter('messaging.client.sent.messages', messages('Messages given to the broker.')),
    consumed: meter.createCounter(
      'messaging.client.consumed.messages',
      messages('Messages whose handling began.'),
    ),
    handled: meter.createCounter(
      'eventspine.messages.handled',
      messages('Messages whose handling ended, by outcome.'),
    ),
    retried: meter.createCounter('eventspine.messages.retried', messages('Attempts after a failed one.')),
    deadLettered: meter.createCounter(
      'eventspine.messages.dead_lettered',
      messages('Messages put in the dead letter queue.'),
    ),
    publishDuration: meter.createHistogram(
      'messaging.client.operation.duration',
      seconds('Time of a publish until the broker has confirmed it.', DURATION_S),
    ),
    processDuration: meter.createHistogram(
      'messaging.process.duration',
      seconds(
        'Time from the first attempt of a message to its end, retries and their waits included.',
        DURATION_S,
      ),
    ),
    handlerDuration: meter.createHistogram(
      'eventspine.handler.duration',
      seconds('Time of one run of one handler.', DURATION_S),
    ),
    age: meter.createHistogram(
      'eventspine.message.age',
      seconds('Time from when the event occurred to the end of its handling.', AGE_S),
    ),
  }
}

/** What is read off a bus when somebody collects metrics. */
export interface MetricProbes {
  inFlight(): number
  skipped(): number
  reconnections(): number
  /** Messages that wait for the group; undefined where it cannot be told. Never rejects, and soon resolves. */
  lag(): Promise<number | undefined>
}

/** What is observed of each meter, by attributes. */
const observations = new WeakMap<Meter, Map<string, Observation>>()

/**
 * Starts to observe a bus. Buses of one group in one process are told as one, as their attributes are the same: counts
 * are summed, and the lag is the group's whoever asks. @returns what ends it.
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

/** What is told under one set of attributes. */
class Observation {
  readonly #probes = new Set<MetricProbes>()
  /** Counts of buses that are gone: a count does not go down. */
  readonly #gone = { skipped: 0, reconnections: 0 }
  readonly #endings: readonly (() => void)[]

  constructor(meter: Meter, attributes: Attributes) {
    const inFlight = meter.createObservableUpDownCounter(
      'eventspine.messages.in_flight',
      messages('Messages held now: waiting, running or between two attempts.'),
    )
    const skipped = meter.createObservableCounter(
      'eventspine.messages.skipped',
      messages('Messages of a type that nobody here subscribed to.'),
    )
    const reconnections = meter.createObservableCounter('eventspine.reconnections', {
      description: 'Connections that were lost and made again.',
      unit: '{reconnection}',
    })
    const lag = meter.createObservableGauge(
      'eventspine.consumer.lag',
      messages('Messages at the broker that wait for the consumer group.'),
    )
    const observables = [
      [inFlight, async () => this.#sum((probes) => probes.inFlight())],
      [skipped, async () => this.#gone.skipped + this.#sum((probes) => probes.skipped())],
      [reconnections, async () => this.#gone.reconnections + this.#sum((probes) => probes.reconnections())],
      [lag, () => this.#lag()],
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

  /** True when nothing is left to tell. */
  get isOver(): boolean {
    return this.#probes.size === 0
  }

  add(probes: MetricProbes): void {
    this.#probes.add(probes)
  }

  remove(probes: MetricProbes): void {
    this.#probes.delete(probes)
    this.#gone.skipped += probes.skipped()
    this.#gone.reconnections += probes.reconnections()
    if (this.isOver) for (const end of this.#endings) end()
  }

  #sum(count: (probes: MetricProbes) => number): number {
    return [...this.#probes].reduce((sum, probes) => sum + count(probes), 0)
  }

  /** The first answer: one that does not consume, or has lost its connection, has none. */
  async #lag(): Promise<number | undefined> {
    for (const probes of this.#probes) {
      const lag = await probes.lag()
      if (lag !== undefined) return lag
    }
    return undefined
  }
}
