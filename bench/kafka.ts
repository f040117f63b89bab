// npm run bench:kafka [-- --json]: the Kafka bus beside the bare client doing the same durable work.
import { randomUUID } from 'node:crypto'
import { KafkaEventBus, type KafkaEventBusOptions } from 'eventspine/kafka'
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
import { coalesced, type PlainMessage, plainAdmin, plainConsume, plainProducer } from './plain-kafka.ts'

const given = process.env['KAFKA_BOOTSTRAP_SERVERS']
await using broker = given === undefined ? await launchBroker('kafka') : undefined
const server = given ?? broker?.url ?? ''

const events = orderEvents(50_000)
const few = events.slice(0, 1000)
// So many that what the client has fetched before the first call is of no account.
const many = orderEvents(200_000)
const admin = plainAdmin(server)
const producers = { none: plainProducer(server, 'none'), gzip: plainProducer(server, 'gzip') }

type Compression = keyof typeof producers

/** A topic of three partitions, gone afterwards. */
async function withTopic<T>(body: (prefix: string, topic: string) => Promise<T>): Promise<T> {
  const prefix = randomUUID()
  const topic = `${prefix}.stream`
  await admin.createTopics({ topics: [topic], partitions: 3, replicas: 1 })
  try {
    return await body(prefix, topic)
  } finally {
    await admin.deleteTopics({ topics: [topic] })
  }
}

function withBus<T>(
  body: (bus: KafkaEventBus) => Promise<T>,
  options: KafkaEventBusOptions = {},
): Promise<T> {
  return withTopic(async (topicPrefix) => {
    await using bus = new KafkaEventBus({ bootstrapServers: server, topicPrefix, ...options })
    await bus.connect()
    return await body(bus)
  })
}

/** The same record, encoded in the loop as a program would. */
function recordOf(topic: string, event: OrderCreated): PlainMessage {
  const { eventId, eventType, aggregateId, aggregateType, aggregateVersion, correlationId, occurredAt } =
    event
  return {
    topic,
    key: aggregateId,
    value: JSON.stringify(event),
    headers: {
      event_id: eventId,
      event_type: eventType,
      aggregate_id: aggregateId,
      aggregate_type: aggregateType,
      aggregate_version: String(aggregateVersion),
      occurred_at: occurredAt.toISOString(),
      correlation_id: correlationId,
    },
  }
}

function sendAll(compression: Compression, topic: string, batch: readonly OrderCreated[]): Promise<unknown> {
  return producers[compression].send({ messages: batch.map((event) => recordOf(topic, event)), acks: -1 })
}

function batches(size: number, compressionType: Compression): BenchWork {
  return {
    work: `publish in batches of ${size}${compressionType === 'none' ? '' : `, ${compressionType}`}`,
    unit: 'events/s',
    ours: () => withBus((bus) => inBatches(events, size, (batch) => bus.publish(batch)), { compressionType }),
    raw: () =>
      withTopic((_prefix, topic) =>
        inBatches(events, size, (batch) => sendAll(compressionType, topic, batch)),
      ),
  }
}

const singles: BenchWork = {
  work: 'publish one at a time',
  unit: 'events/s',
  ours: () => withBus((bus) => oneByOne(few, (event) => bus.publish([event])), { compressionType: 'none' }),
  raw: () => withTopic((_prefix, topic) => oneByOne(few, (event) => sendAll('none', topic, [event]))),
}

const inFlight: BenchWork = {
  work: 'publish, 100 in flight, coalesced',
  unit: 'events/s',
  ours: () => withBus((bus) => crowd(events, (event) => bus.publish([event])), { compressionType: 'none' }),
  raw: () =>
    withTopic((_prefix, topic) => {
      const send = coalesced(producers.none)
      return crowd(events, (event) => send(recordOf(topic, event)))
    }),
}

const consume: BenchWork = {
  work: 'consume with commits in the background',
  unit: 'events/s',
  ours: () =>
    withBus(
      async (bus) => {
        const { measured, call } = stopwatch(many.length)
        bus.subscribe(OrderCreated, call)
        await inBatches(many, 1000, (batch) => bus.publish(batch))
        bus.startConsumingInBackground()
        return measured
      },
      { compressionType: 'none' },
    ),
  raw: () =>
    withTopic(async (_prefix, topic) => {
      await inBatches(many, 1000, (batch) => sendAll('none', topic, batch))
      const { measured, call } = stopwatch(many.length)
      const consumer = await plainConsume(server, topic, call)
      const figure = await measured
      await consumer.close()
      return figure
    }),
}

const bothWays: BenchWork = {
  work: 'publish in batches of 1000 and consume, at once',
  unit: 'events/s',
  ours: () =>
    withBus(
      async (bus) => {
        const { measured, call } = stopwatch(events.length)
        bus.subscribe(OrderCreated, call)
        bus.startConsumingInBackground()
        await bus.whenConsuming()
        await inBatches(events, 1000, (batch) => bus.publish(batch))
        return measured
      },
      { compressionType: 'none' },
    ),
  raw: () =>
    withTopic(async (_prefix, topic) => {
      const { measured, call } = stopwatch(events.length)
      const consumer = await plainConsume(server, topic, call)
      await inBatches(events, 1000, (batch) => sendAll('none', topic, batch))
      const figure = await measured
      await consumer.close()
      return figure
    }),
}

const latency: BenchWork = {
  work: 'publish to handler, p50 at about 100 events/s',
  unit: 'ms',
  ours: () =>
    withBus(
      async (bus) => {
        const arrivals: Arrivals = { next: () => undefined }
        bus.subscribe(OrderCreated, () => arrivals.next())
        bus.startConsumingInBackground()
        await bus.whenConsuming()
        return latencies(few.slice(0, 200), (event) => bus.publish([event]), arrivals)
      },
      { compressionType: 'none' },
    ),
  raw: () =>
    withTopic(async (_prefix, topic) => {
      const arrivals: Arrivals = { next: () => undefined }
      const consumer = await plainConsume(server, topic, () => arrivals.next())
      const figure = await latencies(few.slice(0, 200), (event) => sendAll('none', topic, [event]), arrivals)
      await consumer.close()
      return figure
    }),
}

const works = [
  batches(100, 'none'),
  batches(1000, 'none'),
  batches(1000, 'gzip'),
  singles,
  inFlight,
  consume,
  bothWays,
  latency,
]
report(await measure(works, { bus: 'kafka', rounds: 3 }))
await Promise.all([admin.close(), producers.none.close(), producers.gzip.close()])
