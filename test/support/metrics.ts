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
 * The real SDK with a reader that is asked by hand.
 * @param temporality - told by differences, the SDK forgets what nobody observes any more.
 */
export function createMeterProvider(temporality = AggregationTemporality.CUMULATIVE) {
  const exporter = new InMemoryMetricExporter(temporality)
  // It collects when it is told to; never by itself within a test.
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

/** The same, registered until the test ends. */
export function startMetrics() {
  const { provider, read } = createMeterProvider()
  metrics.setGlobalMeterProvider(provider)
  onTestFinished(() => metrics.disable())
  return read
}

/** The sum of a counter, or the count of a histogram, over the points whose attributes include these. */
export function total(metric: ReadMetric | undefined, where: Readonly<Record<string, unknown>> = {}): number {
  return (metric?.points ?? [])
    .filter(({ attributes }) =>
      Object.entries(where).every(([key, value]) => Reflect.get(attributes, key) === value),
    )
    .reduce((sum, { value }) => sum + (typeof value === 'number' ? value : value.count), 0)
}
