import type { ObserveOptions } from '../../bus/index.ts'

type Meter = NonNullable<ObserveOptions['meter']>
type BatchObservableCallback = Parameters<Meter['addBatchObservableCallback']>[0]
type BatchObservableResult = Parameters<BatchObservableCallback>[0]
type Attributes = Parameters<BatchObservableResult['observe']>[2]

/** A gauge, and its values of one collection. */
interface Gauge {
  readonly name: string
  readonly description: string
  readonly samples: string[]
}

/** Collects observable gauges, and writes them in the text format of Prometheus. */
export class PrometheusGauges {
  readonly #gauges = new Map<object, Gauge>()
  readonly #callbacks: BatchObservableCallback[] = []

  /**
   * What `bus.admin.observe` and `observeSubscriptions` need of a meter, under the names that the exporter of OpenTelemetry
   * writes. Neither observes a value of a counter.
   */
  get meter(): Meter {
    const createObservableGauge: Meter['createObservableGauge'] = (name, options) => {
      const gauge = { addCallback: () => undefined, removeCallback: () => undefined }
      const text = { name: name.replace(/[^a-zA-Z0-9_:]/g, '_'), description: options?.description ?? '' }
      this.#gauges.set(gauge, { ...text, samples: [] })
      return gauge
    }
    const meter: Pick<
      Meter,
      | 'createObservableGauge'
      | 'createObservableCounter'
      | 'addBatchObservableCallback'
      | 'removeBatchObservableCallback'
    > = {
      createObservableGauge,
      createObservableCounter: createObservableGauge,
      addBatchObservableCallback: (callback) => void this.#callbacks.push(callback),
      removeBatchObservableCallback: () => undefined,
    }
    // `observe` uses nothing else of a meter.
    return meter as Meter
  }

  /** Runs the callbacks, and writes what they observe. */
  async text(): Promise<string> {
    for (const { samples } of this.#gauges.values()) samples.length = 0
    const result: BatchObservableResult = {
      observe: (observable, value, attributes = {}) => {
        const gauge = this.#gauges.get(observable)
        gauge?.samples.push(`${gauge.name}${labelsOf(attributes)} ${value}`)
      },
    }
    for (const callback of this.#callbacks) await callback(result)
    const used = [...this.#gauges.values()].filter(({ samples }) => samples.length > 0)
    return used
      .map(({ name, description, samples }) =>
        [`# HELP ${name} ${escaped(description)}`, `# TYPE ${name} gauge`, ...samples, ''].join('\n'),
      )
      .join('')
  }
}

function labelsOf(attributes: NonNullable<Attributes>): string {
  const labels = Object.entries(attributes).map(
    ([name, value]) =>
      `${name.replace(/[^a-zA-Z0-9_]/g, '_')}="${escaped(String(value)).replaceAll('"', String.raw`\"`)}"`,
  )
  return labels.length === 0 ? '' : `{${labels.join(',')}}`
}

function escaped(text: string): string {
  return text.replaceAll('\\', String.raw`\\`).replaceAll('\n', String.raw`\n`)
}
