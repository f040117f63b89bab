// The Kafka bus, and the bare client in its fast form: whole batches in one request, commits in the background.
import { randomUUID } from 'node:crypto'
import type { BrokerOptions } from 'eventspine'
import { KafkaEventBus } from 'eventspine/kafka'
import { kafkaVersion } from '../../test/brokers/images.ts'
import type { BrokerBench, Publisher, Scene, Side } from '../broker-bench.ts'
import { versionOf } from '../machine.ts'
import { AGGREGATES, OrderCreated, orderEvents } from '../order.ts'
import { consumeRaw } from './kafka-consumer.ts'
import { coalesced, type PlainMessage, type PlainProducer, plainAdmin, plainProducer } from './kafka-raw.ts'
import { silent } from './silent.ts'

/** The default of the bus for `maxInFlight`. */
const MAX_IN_FLIGHT = 2000

/** The largest number of consumers in any workload. */
const PARTITIONS = 4

export async function kafkaBench(server: string): Promise<BrokerBench> {
  const admin = plainAdmin(server)
  const producer = plainProducer(server, 'none')
  const backlogs = new Map<string, string>()

  async function topics(...suffixes: readonly string[]): Promise<string> {
    const name = randomUUID()
    const names = suffixes.map((suffix) => `${name}${suffix}`)
    await admin.createTopics({ topics: names, partitions: PARTITIONS, replicas: 1 })
    return name
  }

  async function backlog(count: number, aggregates = AGGREGATES): Promise<Scene> {
    const key = `${count} of ${aggregates}`
    const known = backlogs.get(key)
    const name = known ?? (await topics('.stream', '.stream.dlq'))
    if (known === undefined) await fill(producer, name, count, aggregates)
    backlogs.set(key, name)
    // The events stay available for the next group.
    return { name, group: randomUUID(), [Symbol.asyncDispose]: () => Promise.resolve() }
  }

  async function scene(): Promise<Scene> {
    const name = await topics('.stream')
    const dispose = () => admin.deleteTopics({ topics: [`${name}.stream`] })
    return { name, group: 'default', [Symbol.asyncDispose]: dispose }
  }

  return {
    bus: 'kafka',
    versions: { Kafka: brokerVersion(), '@platformatic/kafka (client)': versionOf('@platformatic/kafka') },
    ours: ours(server),
    raw: raw(server, producer),
    counts: { batches: 30_000, singles: 600, consume: 80_000, growth: 30_000, rawDrain: 1_000_000 },
    compressions: ['gzip'],
    consumptions: [{ label: '' }, { label: ', maxInFlight 10,000', options: { maxInFlight: 10_000 } }],
    scene,
    backlog,
    async [Symbol.asyncDispose]() {
      const names = [...backlogs.values()].flatMap((name) => [`${name}.stream`, `${name}.stream.dlq`])
      if (names.length > 0) await admin.deleteTopics({ topics: names })
      await Promise.all([admin.close(), producer.close()])
    },
  }
}

/** The protocol does not report the version. */
function brokerVersion(): string {
  return process.env['KAFKA_BOOTSTRAP_SERVERS'] === undefined ? kafkaVersion() : 'unknown'
}

async function fill(producer: PlainProducer, name: string, count: number, aggregates: number): Promise<void> {
  for (let first = 0; first < count; first += 1000) {
    const events = orderEvents(Math.min(1000, count - first), aggregates, first)
    await send(producer, `${name}.stream`, events)
  }
}

function send(producer: PlainProducer, topic: string, batch: readonly OrderCreated[]): Promise<unknown> {
  return producer.send({ messages: batch.map((event) => recordOf(topic, event)), acks: -1 })
}

/** The record that the bus would send, encoded one at a time as a program would do it. */
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

function ours(bootstrapServers: string): Side {
  return {
    async publisher({ name }, compression) {
      const compressionType = compression ?? 'none'
      const bus = new KafkaEventBus({ bootstrapServers, topicPrefix: name, compressionType })
      await bus.connect()
      return bus
    },
    async consume({ name, group }, { handlers, lanes = 16, options, eventClasses = [OrderCreated] }) {
      const common: BrokerOptions = { consumerGroup: group, concurrency: lanes, logger: silent, ...options }
      const bus = new KafkaEventBus({ bootstrapServers, topicPrefix: name, ...common })
      for (const handler of handlers) bus.subscribe(eventClasses, handler)
      bus.startConsumingInBackground()
      await bus.whenConsuming()
      return bus
    },
  }
}

function raw(server: string, plain: PlainProducer): Side {
  return {
    publisher({ name }, compression) {
      const topic = `${name}.stream`
      if (compression === undefined) return Promise.resolve(rawPublisher(plain, topic))
      const own = plainProducer(server, compression)
      return Promise.resolve({ ...rawPublisher(own, topic), [Symbol.asyncDispose]: () => own.close() })
    },
    consume: async ({ name, group }, { handlers, lanes, options }) =>
      await consumeRaw({
        ...{ server, producer: plain, topic: `${name}.stream`, group, handlers, lanes },
        maxUncommitted: options?.maxInFlight ?? MAX_IN_FLIGHT,
      }),
  }
}

/** Sends a batch as one request, and single events together with others that are waiting. */
function rawPublisher(producer: PlainProducer, topic: string): Publisher {
  const one = coalesced(producer)
  return {
    publish: (events) =>
      events.length === 1 && events[0] !== undefined
        ? one(recordOf(topic, events[0]))
        : send(producer, topic, events),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
