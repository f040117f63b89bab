// npm run check:letters -- --bus rabbitmq --letters 100000: how long do lists, summaries and bulk changes of many dead letters
// take? Half of the letters are of another group. Prints a line of JSON for each step.
import { randomUUID } from 'node:crypto'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { z } from 'zod'
import { BrokerEventBus, createEventBus, defineEvent, type ExportedLetter } from '../src/index.ts'
import { createOperatorHandler } from '../src/operator/index.ts'
import { launchBroker } from '../test/brokers/launch-broker.ts'

class Placed extends defineEvent({
  type: 'Placed',
  aggregateType: 'Order',
  schema: z.object({ n: z.number() }),
}) {}

const ERRORS = ['RangeError', 'TypeError', 'SyntaxError', 'URIError', 'EvalError']

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

await step('import', () => deadLetters.import(letters()))
await step('count', () => deadLetters.count())
await step('count again', () => deadLetters.count())
const first = await step('first page', () => deadLetters.list({ limit: 50 }))
await step('second page', () => deadLetters.list({ limit: 50, cursor: first.cursor ?? '' }))
await step('newest page', () => deadLetters.list({ limit: 50, order: 'newest' }))
await step('summary', () => deadLetters.summary())
await step('pages of the operator, all', showPage)
await step('replay a tenth', () => deadLetters.replayAll({ consumerGroup: 'a', errorName: 'TypeError' }))
await step('left', () => deadLetters.count())
await step('purge', () => deadLetters.purge({}))
await step('left', () => deadLetters.count())
console.log(JSON.stringify({ step: 'handled', result: handled }))
await bus.shutdown()

/** The page of the dead letters, 50 times: prints how long it takes, and how large it is. */
async function showPage(): Promise<void> {
  await using handler = createOperatorHandler({
    buses: { orders: bus },
    authorize: () => ({ name: 'anna', roles: ['see', 'read', 'operate', 'change'] }),
  })
  const times: number[] = []
  let path = '/orders/dead-letters'
  let text = ''
  for (let n = 0; n < 50; n += 1) {
    const startedAt = performance.now()
    text = await (await handler(new Request(`http://localhost${path}`))).text()
    times.push(performance.now() - startedAt)
    path = /rel="next" href="([^"]+)"/.exec(text)?.[1]?.replaceAll('&amp;', '&') ?? path
  }
  const sorted = times.toSorted((a, b) => a - b)
  const [p50Ms, p95Ms] = [0.5, 0.95].map((part) => Math.round(sorted[Math.floor(part * sorted.length)] ?? 0))
  const gzipBytes = gzipSync(text).byteLength
  const elements = text.match(/<[a-z]/g)?.length
  console.log(JSON.stringify({ step: 'pages of the operator', p50Ms, p95Ms, gzipBytes, elements }))
}

function* letters(): Generator<ExportedLetter> {
  for (let n = 0; n < count; n += 1) {
    const event = new Placed({ aggregateId: `Order-${n % 1000}`, n })
    const error = ERRORS[n % ERRORS.length] ?? ''
    yield {
      version: 1,
      id: '',
      headers: { event_id: event.eventId, event_type: 'Placed', aggregate_id: event.aggregateId },
      body: JSON.stringify(event),
      fields: {
        dlq_reason: 'max_retries_exceeded',
        dlq_error_type: error,
        dlq_error_message: `${error} of order ${n}`,
        dlq_consumer_group: n % 10 < 5 ? 'a' : 'b',
        dlq_handlers: '["charge"]',
        dlq_timestamp: new Date(Date.now() - (count - n)).toISOString(),
      },
    }
  }
}

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
