import { metrics } from '@opentelemetry/api'
import {
  AggregationTemporality,
  type DataPoint,
  type Histogram,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { onTestFinished } from 'vitest'

export interface ReadMetric {
  readonly unit: string
  readonly points: readonly { readonly attributes: object; readonly value: number | Histogram }[]
}

/**
 * The real SDK with a reader that collects on request.
 * @param temporality - with delta temporality, the SDK drops series that are no longer observed.
 */
export function createMeterProvider(temporality = AggregationTemporality.CUMULATIVE) {
  const exporter = new InMemoryMetricExporter(temporality)
  // The interval is so long that it collects only on request.
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const provider = new MeterProvider({ readers: [reader] })
  onTestFinished(() => provider.shutdown())
  const read = async (): Promise<ReadonlyMap<string, ReadMetric>> => {
    exporter.reset()
    await reader.forceFlush()
    const found = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((s) => s.metrics))
    return new Map(
      found.map(({ descriptor, dataPoints }) => [
        descriptor.name,
        { unit: descriptor.unit, points: dataPoints as readonly DataPoint<number | Histogram>[] },
      ]),
    )
  }
  return { provider, read }
}

/** The same SDK, registered until the test ends. */
export function startMetrics() {
  const { provider, read } = createMeterProvider()
  metrics.setGlobalMeterProvider(provider)
  onTestFinished(() => metrics.disable())
  return read
}

/** The sum of a counter, or the count of a histogram, over the points that have these attributes. */
export function total(metric: ReadMetric | undefined, where: Readonly<Record<string, unknown>> = {}): number {
  return (metric?.points ?? [])
    .filter(({ attributes }) =>
      Object.entries(where).every(([key, value]) => Reflect.get(attributes, key) === value),
    )
    .reduce((sum, { value }) => sum + (typeof value === 'number' ? value : value.count), 0)
}
