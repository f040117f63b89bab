// npm run bench:observability [-- --json]: measures the cost of causation, traces and metrics per event, in memory.
import { context, SpanKind, trace } from '@opentelemetry/api'
import { InMemoryEventBus, type InMemoryEventBusOptions } from 'eventspine'
import { MemoryBrokerEventBus } from 'eventspine/testing'
import { sized } from './arguments.ts'
import { compare, cost, runSteps, type Step } from './harness.ts'
import { versionOf } from './machine.ts'
import { OrderCreated, orderEvents } from './order.ts'
import { report } from './results.ts'
import { startTelemetry } from './telemetry.ts'

const EVENTS = sized(20_000)
const batch = orderEvents(EVENTS)

/** Prevents the compiler from optimizing the work away. */
export let sum = 0

await using telemetry = startTelemetry()
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

const { sampledOut, recording, meter } = telemetry
const cases: readonly [string, InMemoryEventBusOptions][] = [
  ['defaults, no SDK', {}],
  ['causation only', { ...off, propagateCausation: true }],
  ['no SDK, no causation', { propagateCausation: false }],
  ['traces sampled out', { ...off, ...sampledOut, enableTracing: true }],
  ['traces recorded', { ...off, ...recording, enableTracing: true }],
  ['metrics recorded', { ...off, meter, enableMetrics: true }],
]
const steps: Step[] = cases.flatMap(([name, options]) => [
  compare({
    work: `memory, ${name}, vs all off`,
    unit: 'ns',
    ours: inMemory(options),
    raw: inMemory(off),
  }),
  compare({
    work: `broker in memory, ${name}, vs all off`,
    unit: 'ns',
    ours: overBroker(options),
    raw: overBroker(off),
  }),
])

/** The minimum cost of one span in a program that does not use eventspine. */
steps.push(
  compare({
    work: 'one span of the SDK that is sampled out, vs none',
    unit: 'ns',
    ours: () => awaiting((event) => inBareSpan(() => handle(event))),
    raw: () => awaiting(handle),
  }),
)

async function handle(event: OrderCreated): Promise<void> {
  sum += event.total
}

function awaiting(body: (event: OrderCreated) => Promise<void>): Promise<number> {
  return cost(EVENTS, async () => {
    for (const event of batch) await body(event)
  })
}

function inBareSpan(body: () => Promise<void>): Promise<void> {
  const parent = context.active()
  const span = sampledOut.tracer.startSpan('bare', { kind: SpanKind.PRODUCER }, parent)
  return context.with(trace.setSpan(parent, span), body)
}

report('observability', await runSteps('observability', steps), {
  '@opentelemetry/sdk-trace-base': versionOf('@opentelemetry/sdk-trace-base'),
  '@opentelemetry/sdk-metrics': versionOf('@opentelemetry/sdk-metrics'),
})
