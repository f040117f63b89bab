// npm run bench:redis [-- --json]: the Redis bus beside the bare client doing the same durable work.
import { randomUUID } from 'node:crypto'
import { createEventBus } from 'eventspine'
import { RedisEventBus } from 'eventspine/redis'
import { createClient } from 'redis'
import { launchBroker } from '../test/brokers/launch-broker.ts'
import { type BenchWork, measure, median, rate, report } from './harness.ts'
import {
  type Arrivals,
  crowd,
  inBatches,
  latencies,
  OrderCreated,
  oneByOne,
  orderEvents,
  pause,
} from './order-works.ts'

const given = process.env['REDIS_URL']
await using broker = given === undefined ? await launchBroker('redis') : undefined
const redisUrl = given ?? broker?.url ?? ''

const events = orderEvents(20_000)
const few = events.slice(0, 3000)
const raw = createClient({ url: redisUrl, RESP: 2, commandOptions: { timeout: 0 } })
await raw.connect()
const reader = raw.duplicate()
await reader.connect()

/** The same fields, encoded in the loop as a program would. */
function append(stream: string, event: OrderCreated): Promise<unknown> {
  return raw.sendCommand(rawCommand(stream, event))
}

function rawCommand(stream: string, event: OrderCreated): string[] {
  const { eventId, eventType, aggregateId, aggregateType, occurredAt } = event
  const fields = [
    'event_id',
    eventId,
    'event_type',
    eventType,
    'aggregate_id',
    aggregateId,
    'aggregate_type',
    aggregateType,
  ]
  const rest = ['tenant_id', '', 'occurred_at', occurredAt.toISOString(), 'payload', JSON.stringify(event)]
  return ['XADD', stream, '*', ...fields, ...rest]
}

async function withBus<T>(body: (bus: RedisEventBus) => Promise<T>): Promise<T> {
  await using bus = new RedisEventBus({ redisUrl, streamPrefix: randomUUID() })
  await bus.connect()
  try {
    return await body(bus)
  } finally {
    const { stream } = await bus.getStreamInfo()
    await raw.unlink(stream.name)
  }
}

async function withStream<T>(body: (stream: string) => Promise<T>): Promise<T> {
  const stream = `raw-${randomUUID()}`
  try {
    return await body(stream)
  } finally {
    await raw.unlink(stream)
  }
}

function batches(size: number): BenchWork {
  return {
    work: `publish in batches of ${size}`,
    unit: 'events/s',
    ours: () => withBus((bus) => inBatches(events, size, (batch) => bus.publish(batch))),
    raw: () =>
      withStream((stream) =>
        inBatches(events, size, (batch) => Promise.all(batch.map((event) => append(stream, event)))),
      ),
  }
}

const singles: BenchWork = {
  work: 'publish one at a time',
  unit: 'events/s',
  ours: () => withBus((bus) => oneByOne(few, (event) => bus.publish([event]))),
  raw: () => withStream((stream) => oneByOne(few, (event) => append(stream, event))),
}

const inFlight: BenchWork = {
  work: 'publish, 100 in flight',
  unit: 'events/s',
  ours: () => withBus((bus) => crowd(events, (event) => bus.publish([event]))),
  raw: () => withStream((stream) => crowd(events, (event) => append(stream, event))),
}

async function rawConsume(stream: string): Promise<void> {
  let acknowledged: Promise<unknown> = Promise.resolve()
  for (let seen = 0; seen < events.length; ) {
    const command = ['XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', '100', 'BLOCK', '1000', 'STREAMS', stream, '>']
    // One stream was asked for, so the reply holds the entries of one.
    const [[, entries]] = (await reader.sendCommand(command)) as unknown as [[string, [string, string[]][]]]
    const ids = entries.map(([id, fields]) => {
      JSON.parse(fields.at(-1) ?? '')
      return id
    })
    seen += ids.length
    await acknowledged
    acknowledged = raw.sendCommand(['XACK', stream, 'g', ...ids])
  }
  await acknowledged
}

const consume: BenchWork = {
  work: 'consume with acknowledgment',
  unit: 'events/s',
  ours: () =>
    withBus(async (bus) => {
      const done = Promise.withResolvers<void>()
      let seen = 0
      bus.subscribe(OrderCreated, () => {
        seen += 1
        if (seen === events.length) done.resolve()
      })
      await bus.publish(events)
      return rate(events.length, async () => {
        bus.startConsumingInBackground()
        await done.promise
      })
    }),
  raw: () =>
    withStream(async (stream) => {
      await raw.xGroupCreate(stream, 'g', '0', { MKSTREAM: true })
      await Promise.all(events.map((event) => append(stream, event)))
      return rate(events.length, () => rawConsume(stream))
    }),
}

const latency: BenchWork = {
  work: 'publish to handler, p50 at about 100 events/s',
  unit: 'ms',
  ours: async () => {
    await using bus = createEventBus(redisUrl, { prefix: randomUUID() })
    const arrivals: Arrivals = { next: () => undefined }
    bus.subscribe(OrderCreated, () => arrivals.next())
    bus.startConsumingInBackground()
    await bus.whenConsuming()
    return latencies(few.slice(0, 100), (event) => bus.publish([event]), arrivals)
  },
  raw: () =>
    withStream(async (stream) => {
      await raw.xGroupCreate(stream, 'g', '0', { MKSTREAM: true })
      const times: number[] = []
      for (const event of events.slice(0, 100)) {
        const command = [
          'XREADGROUP',
          'GROUP',
          'g',
          'c',
          'COUNT',
          '100',
          'BLOCK',
          '1000',
          'STREAMS',
          stream,
          '>',
        ]
        const reply = reader.sendCommand(command)
        await pause()
        const start = performance.now()
        await append(stream, event)
        await reply
        times.push(performance.now() - start)
      }
      return median(times)
    }),
}

const works = [batches(100), batches(1000), singles, inFlight, consume, latency]
report(await measure(works, { bus: 'redis' }))
raw.destroy()
reader.destroy()
