// npm run bench:rabbitmq [-- --json]: the RabbitMQ bus beside the bare client doing the same durable work.
import { randomUUID } from 'node:crypto'
import { connect } from 'amqplib'
import { RabbitMQEventBus, type RabbitMQEventBusOptions } from 'eventspine/rabbitmq'
import { launchBroker } from '../test/brokers/launch-broker.ts'
import { type BenchWork, measure, report } from './harness.ts'
import {
  type Arrivals,
  crowd,
  inBatches,
  latencies,
  OrderCreated,
  oneByOne,
  orderEvents,
  stopwatch,
} from './order-works.ts'

const given = process.env['RABBITMQ_URL']
await using broker = given === undefined ? await launchBroker('rabbitmq') : undefined
const rabbitmqUrl = given ?? broker?.url ?? ''

const events = orderEvents(10_000)
const few = events.slice(0, 2000)
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

function batches(size: number): BenchWork {
  return {
    work: `publish in batches of ${size}`,
    unit: 'events/s',
    ours: () => withBus((bus) => inBatches(events, size, (batch) => bus.publish(batch))),
    raw: () =>
      withQueue((exchange) =>
        inBatches(events, size, (batch) => Promise.all(batch.map((event) => send(exchange, event)))),
      ),
  }
}

const singles: BenchWork = {
  work: 'publish one at a time',
  unit: 'events/s',
  ours: () => withBus((bus) => oneByOne(few, (event) => bus.publish([event]))),
  raw: () => withQueue((exchange) => oneByOne(few, (event) => send(exchange, event))),
}

const inFlight: BenchWork = {
  work: 'publish, 100 in flight',
  unit: 'events/s',
  ours: () => withBus((bus) => crowd(events, (event) => bus.publish([event]))),
  raw: () => withQueue((exchange) => crowd(events, (event) => send(exchange, event))),
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

function consume(prefetchCount: number): BenchWork {
  return {
    work: `consume with acknowledgment, prefetch ${prefetchCount}`,
    unit: 'events/s',
    ours: () =>
      withBus(
        async (bus) => {
          const { measured, call } = stopwatch(events.length)
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
        const { measured, call } = stopwatch(events.length)
        const own = await rawConsume(exchange, prefetchCount, call)
        const figure = await measured
        await own.close()
        return figure
      }),
  }
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
      return latencies(few.slice(0, 200), (event) => bus.publish([event]), arrivals)
    }),
  raw: () =>
    withQueue(async (exchange) => {
      const arrivals: Arrivals = { next: () => undefined }
      const own = await rawConsume(exchange, 10, () => arrivals.next())
      const median = await latencies(few.slice(0, 200), (event) => send(exchange, event), arrivals)
      await own.close()
      return median
    }),
}

const works = [batches(100), batches(1000), singles, inFlight, consume(10), consume(100), latency]
report(await measure(works, { bus: 'rabbitmq', rounds: 3 }))
await publisher.close()
await consumer.close()
