// npm run check:memory -- --bus kafka: does a consumer in a small container work off a backlog of large events?
// It starts a consumer with a limited heap several times, and measures the largest resident set of each.
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { createEventBus, defineEvent } from '../src/index.ts'
import { launchBroker } from '../test/brokers/launch-broker.ts'

class Large extends defineEvent({
  type: 'Large',
  aggregateType: 'Document',
  schema: z.object({ text: z.string() }),
}) {}

const { values } = parseArgs({
  options: {
    bus: { type: 'string', default: 'redis' },
    url: { type: 'string' },
    events: { type: 'string', default: '1500' },
    bytes: { type: 'string', default: '900000' },
    container: { type: 'string', default: '512' },
    starts: { type: 'string', default: '2' },
    'per-start': { type: 'string', default: '60' },
    'handler-ms': { type: 'string', default: '500' },
    consume: { type: 'string' },
  },
})

if (values.consume === undefined) await check()
else await consume(values.consume, values.url ?? '')

/** A consumer with a slow handler. It ends after some events, and prints how many, and its largest resident set in MB. */
async function consume(prefix: string, url: string): Promise<void> {
  const bus = createEventBus(url, { prefix, consumerGroup: 'slow' })
  const enough = Promise.withResolvers<void>()
  let handled = 0
  bus.subscribe(Large, async () => {
    await sleep(Number(values['handler-ms']))
    handled += 1
    if (handled >= Number(values['per-start'])) enough.resolve()
  })
  bus.startConsumingInBackground()
  await enough.promise
  await bus.shutdown()
  console.log(JSON.stringify({ handled, maxRss: process.resourceUsage().maxRSS / 1024 }))
}

async function check(): Promise<void> {
  const kind = (['redis', 'rabbitmq', 'kafka'] as const).find((name) => name === values.bus)
  if (kind === undefined) throw new Error(`--bus must be redis, rabbitmq or kafka, got ${values.bus}`)
  await using broker = await launchBroker(kind)
  const url = kind === 'kafka' ? `kafka://${broker.url}` : broker.url
  const prefix = `memory-${randomUUID().slice(0, 8)}`
  await createGroup(url, prefix)
  await publishAll(url, prefix)
  const container = Number(values.container)
  for (let start = 1; start <= Number(values.starts); start += 1) {
    const { code, handled, maxRss } = await startConsumer(url, prefix, Math.floor(container / 2))
    const isGood = code === 0 && handled >= Number(values['per-start']) && maxRss <= container
    console.log(
      `start ${start}: ${isGood ? 'passed' : 'FAILED'}, exit code ${code}, ${handled} events handled, ` +
        `at most ${maxRss.toFixed(0)} of ${container} MB`,
    )
    if (!isGood) process.exitCode = 1
  }
}

/** RabbitMQ keeps events only for groups that exist. */
async function createGroup(url: string, prefix: string): Promise<void> {
  const bus = createEventBus(url, { prefix, consumerGroup: 'slow' })
  bus.subscribe(Large, () => undefined)
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  await bus.shutdown()
}

async function publishAll(url: string, prefix: string): Promise<void> {
  await using bus = createEventBus(url, { prefix, publishTimeoutMs: 120_000 })
  const [events, text] = [Number(values.events), 'x'.repeat(Number(values.bytes))]
  for (let n = 0; n < events; n += 10) {
    const count = Math.min(10, events - n)
    await bus.publish(
      Array.from({ length: count }, (_, index) => new Large({ aggregateId: `Document-${n + index}`, text })),
    )
  }
  console.log(`${events} events of ${values.bytes} bytes published`)
}

async function startConsumer(url: string, prefix: string, heapMb: number) {
  const script = fileURLToPath(import.meta.url)
  const args = [`--max-old-space-size=${heapMb}`, script, '--consume', prefix, '--url', url]
  const passedOn = ['--per-start', values['per-start'], '--handler-ms', values['handler-ms']]
  const child = spawn(process.execPath, [...args, ...passedOn], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (data) => {
    output += data
  })
  await once(child, 'close')
  const { handled, maxRss }: { handled: number; maxRss: number } = JSON.parse(
    output || '{"handled":0,"maxRss":0}',
  )
  return { code: child.exitCode, handled, maxRss }
}
