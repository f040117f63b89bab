// npm run check:load -- --bus redis --minutes 60 --rate 300: does the memory of a process that publishes and handles events
// all the time stay flat? Prints a line of JSON for each minute, and ends with 1 if it grew or an event was lost.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { createEventBus, defineEvent } from '../src/index.ts'
import { launchBroker } from '../test/brokers/launch-broker.ts'

class Placed extends defineEvent({
  type: 'Placed',
  aggregateType: 'Order',
  schema: z.object({ n: z.number(), text: z.string() }),
}) {}

/** Between two publishes, in milliseconds. */
const INTERVAL_MS = 100
/** Limits of the growth from the median of the second tenth of the minutes to that of the last. */
const [MAX_HEAP, MAX_RSS] = [1.1, 1.25]
/** New aggregates, so that nothing that is kept for each of them goes unnoticed. */
const EVENTS_PER_AGGREGATE = 5

const { values } = parseArgs({
  options: {
    bus: { type: 'string', default: 'redis' },
    minutes: { type: 'string', default: '60' },
    rate: { type: 'string', default: '300' },
  },
})
const kind = (['redis', 'rabbitmq', 'kafka'] as const).find((name) => name === values.bus)
if (kind === undefined) throw new Error(`--bus must be redis, rabbitmq or kafka, got ${values.bus}`)
const minutes = Number(values.minutes)
const perInterval = Math.max(1, Math.round((Number(values.rate) * INTERVAL_MS) / 1000))
if (!(minutes >= 10)) throw new Error(`--minutes must be at least 10, got ${values.minutes}`)
const collect = globalThis.gc
if (collect === undefined) throw new Error('run it with node --expose-gc')

await using broker = await launchBroker(kind)
const url = kind === 'kafka' ? `kafka://${broker.url}` : broker.url
await using bus = createEventBus(url, { prefix: `load-${randomUUID().slice(0, 8)}`, consumerGroup: 'load' })
let [published, handled, sum] = [0, 0, 0]
bus.subscribe(
  Placed,
  async ({ n }) => {
    await sleep(1)
    handled += 1
    sum += n
  },
  { name: 'count' },
)
if (!('startConsumingInBackground' in bus)) throw new Error('the bus has no consumer')
bus.startConsumingInBackground()
await bus.whenConsuming()

const samples: { readonly heapMB: number; readonly rssMB: number }[] = []
for (let minute = 1; minute <= minutes; minute += 1) {
  const end = performance.now() + 60_000
  while (performance.now() < end) {
    const next = performance.now() + INTERVAL_MS
    await bus.publish(Array.from({ length: perInterval }, () => placed()))
    await sleep(Math.max(0, next - performance.now()))
  }
  collect()
  const { heapUsed, rss } = process.memoryUsage()
  samples.push({ heapMB: inMB(heapUsed), rssMB: inMB(rss) })
  console.log(JSON.stringify({ minute, published, handled, ...samples.at(-1) }))
}
for (const deadline = performance.now() + 60_000; handled < published && performance.now() < deadline; )
  await sleep(100)

const tenth = Math.floor(minutes / 10)
const growth = (of: 'heapMB' | 'rssMB') =>
  median(samples.slice(-tenth).map((sample) => sample[of])) /
  median(samples.slice(tenth, 2 * tenth).map((sample) => sample[of]))
const [heap, rss] = [growth('heapMB'), growth('rssMB')]
const isExact = handled === published && sum === (published * (published - 1)) / 2
console.log(JSON.stringify({ bus: kind, published, handled, isExact, heapGrowth: heap, rssGrowth: rss }))
if (!isExact || heap > MAX_HEAP || rss > MAX_RSS) process.exitCode = 1

function placed(): Placed {
  const n = published
  published += 1
  return new Placed({
    aggregateId: `Order-${Math.floor(n / EVENTS_PER_AGGREGATE)}`,
    n,
    text: 'x'.repeat(200),
  })
}

function inMB(bytes: number): number {
  return Math.round(bytes / 104_857.6) / 10
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN
}
