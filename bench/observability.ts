// npm run bench:observability [-- --json]: what causation, traces and metrics cost per event, in memory.
import { context, propagation, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BasicTracerProvider,
  ParentBasedSampler,
  type Sampler,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { defineEvent, InMemoryEventBus, type InMemoryEventBusOptions } from 'eventspine'
import { MemoryBrokerEventBus } from 'eventspine/testing'
import { type BenchWork, cost, measure, report } from './harness.ts'

class OrderCreated extends defineEvent<{ readonly total: number }>()({
  type: 'OrderCreated',
  aggregateType: 'Order',
}) {}

const EVENTS = 20_000
const batch = Array.from(
  { length: EVENTS },
  (_, n) => new OrderCreated({ aggregateId: `Order-${n % 100}`, total: 1 }),
)

/** Keeps the work from being optimized away. */
export let sum = 0

/** A span is made and dropped: what an exporter costs is its own affair. */
const dropping: SpanProcessor = {
  onStart: () => undefined,
  onEnd: () => undefined,
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
}

function tracerOf(sampler: Sampler) {
  return new BasicTracerProvider({ sampler, spanProcessors: [dropping] }).getTracer('bench')
}

const reader = new PeriodicExportingMetricReader({
  exporter: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE),
  exportIntervalMillis: 3_600_000,
})
const meter = new MeterProvider({ readers: [reader] }).getMeter('bench')
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
propagation.setGlobalPropagator(new W3CTraceContextPropagator())

const off = { enableTracing: false, enableMetrics: false, propagateCausation: false }

/** Nanoseconds per event in memory, published one at a time to one asynchronous handler. */
function inMemory(options: InMemoryEventBusOptions) {
  const bus = new InMemoryEventBus(options)
  bus.subscribe(OrderCreated, async (event) => {
    sum += event.total
  })
  return () =>
    cost(EVENTS, async () => {
      for (const event of batch) await bus.publish([event])
    })
}

/** Nanoseconds per event through the whole path of a broker bus, without a network. */
function overBroker(options: InMemoryEventBusOptions) {
  return () => cost(EVENTS, () => throughBroker(options))
}

async function throughBroker(options: InMemoryEventBusOptions): Promise<void> {
  await using bus = new MemoryBrokerEventBus({ ...options, concurrency: 100 })
  let open = EVENTS
  const done = Promise.withResolvers<void>()
  bus.subscribe(OrderCreated, async (event) => {
    sum += event.total
    open -= 1
    if (open === 0) done.resolve()
  })
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  for (let start = 0; start < EVENTS; start += 100) await bus.publish(batch.slice(start, start + 100))
  await done.promise
}

const sampledOut = { tracer: tracerOf(new ParentBasedSampler({ root: new AlwaysOffSampler() })) }
const recording = { tracer: tracerOf(new AlwaysOnSampler()) }
const cases: readonly [string, InMemoryEventBusOptions][] = [
  ['as it is, no SDK', {}],
  ['causation only', { ...off, propagateCausation: true }],
  ['no SDK, no causation', { propagateCausation: false }],
  ['traces sampled out', { ...off, ...sampledOut, enableTracing: true }],
  ['traces recorded', { ...off, ...recording, enableTracing: true }],
  ['metrics recorded', { ...off, meter, enableMetrics: true }],
]
const works = cases.flatMap(([name, options]): BenchWork[] => [
  { work: `memory: ${name}, raw: all off`, unit: 'ns', ours: inMemory(options), raw: inMemory(off) },
  {
    work: `broker in memory: ${name}, raw: all off`,
    unit: 'ns',
    ours: overBroker(options),
    raw: overBroker(off),
  },
])

report(await measure(works, { bus: 'observability' }))
trace.disable()
await reader.shutdown()
