// npm run check:letters -- --bus rabbitmq --letters 100000: how long do lists, summaries and bulk changes of many dead letters
// take, and do they change exactly what they should? Prints a line of JSON for each step, and ends with 1 if a bar was missed.
import { randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { createEventBus, defineEvent } from '../src/index.ts'
import { launchBroker } from '../test/brokers/launch-broker.ts'
import {
  answersMeanwhile,
  type BulkScene,
  type Handled,
  replaysAtARate,
  replaysOneError,
  survivesKills,
} from './letters/bulk.ts'
import { isBrokerBus, missed, report, step } from './letters/measure.ts'
import { manyLetters } from './page/many-letters.ts'

class Placed extends defineEvent({
  type: 'Placed',
  aggregateType: 'Order',
  schema: z.object({ n: z.number() }),
}) {}

const PARTS = ['size', 'error', 'rate', 'kills'] as const
/** Letters of which one error is replayed, and letters that processes replay until they are killed. */
const [OF_ERRORS, OF_KILLS] = [10_000, 1000]
const MAX_GROWTH_MB = 150

const { values } = parseArgs({
  options: {
    bus: { type: 'string', default: 'redis' },
    letters: { type: 'string', default: '100000' },
    only: { type: 'string', default: PARTS.join() },
  },
})

const kind = (['redis', 'rabbitmq', 'kafka'] as const).find((name) => name === values.bus)
if (kind === undefined) throw new Error(`--bus must be redis, rabbitmq or kafka, got ${values.bus}`)
const parts = values.only.split(',')
const unknown = parts.find((part) => !(PARTS as readonly string[]).includes(part))
if (unknown !== undefined) throw new Error(`--only takes ${PARTS.join()}, got ${unknown}`)

await using broker = await launchBroker(kind)
const url = kind === 'kafka' ? `kafka://${broker.url}` : broker.url
const prefix = `letters-${randomUUID().slice(0, 8)}`
const handled: Handled = { a: [], b: [] }
const busOf = (consumerGroup: string) => isBrokerBus(createEventBus(url, { prefix, consumerGroup }))
const consumers = (['a', 'b'] as const).map((group) => {
  const consumer = busOf(group)
  consumer.subscribe(Placed, ({ eventId }) => void handled[group].push(eventId), { name: 'charge' })
  consumer.startConsumingInBackground()
  return consumer
})
for (const consumer of consumers) await consumer.whenConsuming()
const bus = busOf('operator')
const placed = (n: number) => new Placed({ aggregateId: `Order-${n % 1000}`, n })
const store = (count: number) =>
  bus.deadLetters.import(manyLetters(count, placed, (n) => (n % 2 === 0 ? 'a' : 'b')))
const scene: BulkScene = { bus, handled, store, url, prefix }

if (parts.includes('size')) await measureSize(Number(values.letters))
if (parts.includes('error')) await replaysOneError(scene, OF_ERRORS)
if (parts.includes('rate')) await replaysAtARate(scene)
if (parts.includes('kills')) await survivesKills(scene, OF_KILLS)
await Promise.all([bus, ...consumers].map((one) => one.shutdown()))
console.log(missed.length === 0 ? 'every bar was kept' : `missed: ${missed.join(', ')}`)
if (missed.length > 0) process.exitCode = 1

/** K2 and K5. */
async function measureSize(count: number): Promise<void> {
  const { deadLetters } = bus
  await step('import', undefined, () => store(count))
  const before = process.memoryUsage.rss()
  await step('K2 first count', undefined, () => deadLetters.count())
  await step('K2 count', 200, () => deadLetters.count())
  for (const order of ['oldest', 'newest'] as const) {
    const pageOf = (cursor?: string) =>
      deadLetters.list({ limit: 50, order, ...(cursor !== undefined && { cursor }) })
    const first = await step(`K2 first page, ${order} first`, 500, () => pageOf())
    await step(`K2 next page, ${order} first`, 500, () => pageOf(first.cursor))
    let cursor: string | undefined
    for (let seen = 0; seen < count - 100; ) {
      const size = Math.min(1000, count - 100 - seen)
      const page = await deadLetters.list({ limit: size, order, ...(cursor !== undefined && { cursor }) })
      seen += page.deadLetters.length
      cursor = page.cursor
    }
    await step(`K2 one of the last pages, ${order} first`, 500, () => pageOf(cursor))
  }
  await step('K2 summary', 15_000, () => deadLetters.summary())
  await using other = busOf('other')
  await answersMeanwhile(bus, other)
  await step('K2 purge', 20_000, () => deadLetters.purge({}))
  const grownMB = Math.round((process.memoryUsage.rss() - before) / 1024 / 1024)
  report('K2 growth of memory', { grownMB }, grownMB <= MAX_GROWTH_MB)
}
