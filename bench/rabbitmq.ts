// npm run bench:rabbitmq [-- --json]: the RabbitMQ bus beside the bare client doing the same durable work.
import { randomUUID } from 'node:crypto'
import { connect } from 'amqplib'
import { defineEvent } from 'eventspine'
import { RabbitMQEventBus, type RabbitMQEventBusOptions } from 'eventspine/rabbitmq'
import { z } from 'zod'
import { launchBroker } from '../test/brokers/launch-broker.ts'
import { type BenchWork, measure, median, rate, report } from './harness.ts'

class OrderCreated extends defineEvent({
  type: 'OrderCreated',
  aggregateType: 'Order',
  schema: z.object({ customerId: z.string(), total: z.number() }),
}) {}

const given = process.env['RABBITMQ_URL']
await using broker = given === undefined ? await launchBroker('rabbitmq') : undefined
const rabbitmqUrl = given ?? broker?.url ?? ''

const COUNT = 10_000
const SINGLES = 2000
const events = Array.from(
  { length: COUNT },
  (_, n) => new OrderCreated({ aggregateId: `Order-${n % 100}`, customerId: 'c-1', total: n }),
)
const publisher = await connect(rabbitmqUrl, { noDelay: true })
const consumer = await connect(rabbitmqUrl, { noDelay: true })
const admin = await publisher.createChannel()
const channel = await publisher.createConfirmChannel()

/** A durable exchange with a durable queue, gone afterwards. */
async function withQueue<T>(body: (name: string) => Promise<T>): Promise<T> {
  const name = `bench-${randomUUID()}`
  const queue = `${name}.default`
  await admin.assertExchange(name, 'topic', { durable: true })
  await admin.assertQueue(queue, {
    durable: true,
    arguments: { 'x-dead-letter-exchange': `${name}_dlq`, 'x-dead-letter-routing-key': queue },
  })
  await admin.bindQueue(queue, name, '#')
  try {
    return await body(name)
  } finally {
    for (const suffix of ['.default', '.default.dlq', '.default.bindings', '_dlq.groups']) {
      await admin.deleteQueue(`${name}${suffix}`)
    }
    for (const suffix of ['', '_dlq']) await admin.deleteExchange(`${name}${suffix}`)
  }
}

async function withBus<T>(
  body: (bus: RabbitMQEventBus) => Promise<T>,
  options: RabbitMQEventBusOptions = {},
): Promise<T> {
  return withQueue(async (exchangeName) => {
    await using bus = new RabbitMQEventBus({ rabbitmqUrl, exchangeName, ...options })
    await bus.connect()
    return await body(bus)
  })
}

/** The same message, encoded in the loop as a program would; resolves when it is confirmed. */
function send(exchange: string, event: OrderCreated): Promise<void> {
  const { eventId, eventType, aggregateId, aggregateType, aggregateVersion, correlationId, occurredAt } =
    event
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  channel.publish(
    exchange,
    `${aggregateType}.${eventType}`,
    Buffer.from(JSON.stringify(event)),
    {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      persistent: true,
      priority: 0,
      messageId: eventId,
      timestamp: Math.floor(occurredAt.getTime() / 1000),
      mandatory: true,
      headers: {
        event_type: eventType,
        aggregate_type: aggregateType,
        aggregate_id: aggregateId,
        aggregate_version: aggregateVersion,
        correlation_id: correlationId,
        'x-retry-count': 0,
      },
    },
    // amqplib types the error as any.
    (error: Error | null) => (error === null ? resolve() : reject(error)),
  )
  return promise
}

async function inBatches(size: number, publish: (batch: readonly OrderCreated[]) => Promise<unknown>) {
  return rate(COUNT, async () => {
    for (let start = 0; start < COUNT; start += size) await publish(events.slice(start, start + size))
  })
}

function batches(size: number): BenchWork {
  return {
    work: `publish in batches of ${size}`,
    unit: 'events/s',
    ours: () => withBus((bus) => inBatches(size, (batch) => bus.publish(batch))),
    raw: () =>
      withQueue((exchange) =>
        inBatches(size, (batch) => Promise.all(batch.map((event) => send(exchange, event)))),
      ),
  }
}

async function oneByOne(publish: (event: OrderCreated) => Promise<unknown>): Promise<number> {
  return rate(SINGLES, async () => {
    for (const event of events.slice(0, SINGLES)) await publish(event)
  })
}

const singles: BenchWork = {
  work: 'publish one at a time',
  unit: 'events/s',
  ours: () => withBus((bus) => oneByOne((event) => bus.publish([event]))),
  raw: () => withQueue((exchange) => oneByOne((event) => send(exchange, event))),
}

async function crowd(publish: (event: OrderCreated) => Promise<unknown>): Promise<number> {
  const queue = events.values()
  return rate(COUNT, () =>
    Promise.all(
      Array.from({ length: 100 }, async () => {
        for (const event of queue) await publish(event)
      }),
    ),
  )
}

const inFlight: BenchWork = {
  work: 'publish, 100 in flight',
  unit: 'events/s',
  ours: () => withBus((bus) => crowd((event) => bus.publish([event]))),
  raw: () => withQueue((exchange) => crowd((event) => send(exchange, event))),
}

/** Parses and acknowledges each message, as it comes. */
async function rawConsume(exchange: string, prefetch: number, onEvent: () => void) {
  const own = await consumer.createChannel()
  await own.prefetch(prefetch)
  await own.consume(`${exchange}.default`, (message) => {
    if (message === null) return
    JSON.parse(message.content.toString())
    onEvent()
    own.ack(message)
  })
  return own
}

/** Events per second from the first call to the last: what comes before is declaring, which is paid once. */
function stopwatch() {
  const { promise, resolve } = Promise.withResolvers<number>()
  let seen = 0
  let start = 0
  const call = () => {
    seen += 1
    if (seen === 1) start = performance.now()
    if (seen === COUNT) resolve((COUNT / (performance.now() - start)) * 1000)
  }
  return { measured: promise, call }
}

function consume(prefetchCount: number): BenchWork {
  return {
    work: `consume with acknowledgment, prefetch ${prefetchCount}`,
    unit: 'events/s',
    ours: () =>
      withBus(
        async (bus) => {
          const { measured, call } = stopwatch()
          bus.subscribe(OrderCreated, call)
          await bus.publish(events)
          bus.startConsumingInBackground()
          return measured
        },
        { prefetchCount },
      ),
    raw: () =>
      withQueue(async (exchange) => {
        await Promise.all(events.map((event) => send(exchange, event)))
        const { measured, call } = stopwatch()
        const own = await rawConsume(exchange, prefetchCount, call)
        const figure = await measured
        await own.close()
        return figure
      }),
  }
}

/** What to do when the next event arrives. */
interface Arrivals {
  next: () => void
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 5))

async function latencies(publish: (event: OrderCreated) => Promise<unknown>, arrivals: Arrivals) {
  const times: number[] = []
  for (const event of events.slice(0, 200)) {
    const arrived = Promise.withResolvers<void>()
    const start = performance.now()
    arrivals.next = () => {
      times.push(performance.now() - start)
      arrived.resolve()
    }
    await publish(event)
    await arrived.promise
    await pause()
  }
  return median(times)
}

const latency: BenchWork = {
  work: 'publish to handler, p50 at about 100 events/s',
  unit: 'ms',
  ours: () =>
    withBus(async (bus) => {
      const arrivals: Arrivals = { next: () => undefined }
      bus.subscribe(OrderCreated, () => arrivals.next())
      bus.startConsumingInBackground()
      await bus.whenConsuming()
      return latencies((event) => bus.publish([event]), arrivals)
    }),
  raw: () =>
    withQueue(async (exchange) => {
      const arrivals: Arrivals = { next: () => undefined }
      const own = await rawConsume(exchange, 10, () => arrivals.next())
      const median = await latencies((event) => send(exchange, event), arrivals)
      await own.close()
      return median
    }),
}

const works = [batches(100), batches(1000), singles, inFlight, consume(10), consume(100), latency]
report(await measure(works, { bus: 'rabbitmq', rounds: 3 }))
await publisher.close()
await consumer.close()
