// npm run check:letters -- --bus rabbitmq --letters 100000: how long do lists, summaries and bulk changes of many dead letters
// take? Half of the letters are of another group. Prints a line of JSON for each step.
import { randomUUID } from 'node:crypto'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { BrokerEventBus, createEventBus, defineEvent } from '../src/index.ts'
import { launchBroker } from '../test/brokers/launch-broker.ts'
import { manyLetters } from './page/many-letters.ts'

class Placed extends defineEvent({
  type: 'Placed',
  aggregateType: 'Order',
  schema: z.object({ n: z.number() }),
}) {}

const { values } = parseArgs({
  options: {
    bus: { type: 'string', default: 'redis' },
    letters: { type: 'string', default: '100000' },
  },
})

const kind = (['redis', 'rabbitmq', 'kafka'] as const).find((name) => name === values.bus)
if (kind === undefined) throw new Error(`--bus must be redis, rabbitmq or kafka, got ${values.bus}`)
const count = Number(values.letters)
await using broker = await launchBroker(kind)
const url = kind === 'kafka' ? `kafka://${broker.url}` : broker.url
const bus = createEventBus(url, { prefix: `letters-${randomUUID().slice(0, 8)}`, consumerGroup: 'a' })
if (!(bus instanceof BrokerEventBus)) throw new TypeError('The URL is one of a broker.')
let handled = 0
const countHandled = () => {
  handled += 1
}
bus.subscribe(Placed, countHandled, { name: 'charge' })
bus.startConsumingInBackground()
await bus.whenConsuming()
const { deadLetters } = bus

const placed = (n: number) => new Placed({ aggregateId: `Order-${n % 1000}`, n })
const letters = manyLetters(count, placed, (n) => (n % 10 < 5 ? 'a' : 'b'))
await step('import', () => deadLetters.import(letters))
await step('count', () => deadLetters.count())
await step('count again', () => deadLetters.count())
const first = await step('first page', () => deadLetters.list({ limit: 50 }))
await step('second page', () => deadLetters.list({ limit: 50, cursor: first.cursor ?? '' }))
await step('newest page', () => deadLetters.list({ limit: 50, order: 'newest' }))
await step('summary', () => deadLetters.summary())
await step('replay a tenth', () => deadLetters.replayAll({ consumerGroup: 'a', errorName: 'TypeError' }))
await step('left', () => deadLetters.count())
await step('purge', () => deadLetters.purge({}))
await step('left', () => deadLetters.count())
console.log(JSON.stringify({ step: 'handled', result: handled }))
await bus.shutdown()

/** Runs a step, and prints how long it took, and the longest time that it kept the event loop busy. */
async function step<T>(name: string, action: () => Promise<T>): Promise<T> {
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  const startedAt = performance.now()
  const result = await action()
  const ms = Math.round(performance.now() - startedAt)
  delay.disable()
  const maxBlockedMs = Math.round(delay.max / 1e6)
  const rssMB = Math.round(process.memoryUsage.rss() / 1024 / 1024)
  const shown = typeof result === 'number' ? { result } : {}
  console.log(JSON.stringify({ step: name, ms, maxBlockedMs, rssMB, ...shown }))
  return result
}
