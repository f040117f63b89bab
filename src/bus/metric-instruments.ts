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

/** Starts to observe a bus. @returns what ends it. */
export function observe(meter: Meter, attributes: Attributes, probes: MetricProbes): () => void {
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
    [inFlight, async () => probes.inFlight()],
    [skipped, async () => probes.skipped()],
    [reconnections, async () => probes.reconnections()],
    [lag, () => probes.lag()],
  ] as const
  const endings = observables.map(([observable, probe]) => {
    const callback: Parameters<typeof observable.addCallback>[0] = async (result) => {
      const value = await probe()
      if (value !== undefined) result.observe(value, attributes)
    }
    observable.addCallback(callback)
    return () => observable.removeCallback(callback)
  })
  return () => {
    for (const end of endings) end()
  }
}
