// The RabbitMQ bus, and the bare client in its fast form: pipelined confirms, one acknowledgment per turn.
import { randomUUID } from 'node:crypto'
import { type ConfirmChannel, connect } from 'amqplib'
import { RabbitMQEventBus } from 'eventspine/rabbitmq'
import type { BrokerBench, Scene, Side } from '../broker-bench.ts'
import { versionOf } from '../machine.ts'
import { AGGREGATES, OrderCreated, orderEvents } from '../order.ts'
import { consumeRaw } from './rabbitmq-consumer.ts'
import { silent } from './silent.ts'

/** Number of queues that one published backlog fills before it is published again. */
const QUEUES_PER_BACKLOG = 12
/** A backlog of this size is used only once. */
const LARGE = 100_000
const PREFETCH = 100

export async function rabbitMqBench(rabbitmqUrl: string): Promise<BrokerBench> {
  const publisher = await connect(rabbitmqUrl, { noDelay: true })
  const channel = await publisher.createConfirmChannel()
  const places = new Places(channel)

  return {
    bus: 'rabbitmq',
    // amqplib has no types for the server's properties.
    versions: {
      RabbitMQ: String(publisher.connection.serverProperties['version']),
      'amqplib (client)': versionOf('amqplib'),
    },
    ours: ours(rabbitmqUrl),
    raw: raw(channel, rabbitmqUrl),
    counts: { batches: 10_000, singles: 1500, consume: 10_000, growth: 5000, rawDrain: 200_000 },
    compressions: [],
    consumptions: [
      { label: ', prefetch 100', prefetch: 100 },
      { label: ', prefetch 10', prefetch: 10 },
    ],
    scene: () => places.scene(),
    backlog: (count, aggregates) => places.backlog(count, aggregates),
    async [Symbol.asyncDispose]() {
      await places.remove()
      await publisher.close()
    },
  }
}

/** Exchanges and queues, declared as the bus declares them. */
class Places {
  readonly #channel: ConfirmChannel
  readonly #filled = new Map<string, Scene[]>()
  readonly #exchanges: string[] = []

  constructor(channel: ConfirmChannel) {
    this.#channel = channel
  }

  async scene(): Promise<Scene> {
    const name = await this.#exchange()
    return await this.#queue(name, 'default')
  }

  async backlog(count: number, aggregates = AGGREGATES): Promise<Scene> {
    const key = `${count} of ${aggregates}`
    const scene = this.#filled.get(key)?.pop()
    if (scene !== undefined) return scene
    this.#filled.set(key, await this.#fill(count, aggregates))
    return await this.backlog(count, aggregates)
  }

  async remove(): Promise<void> {
    for (const scene of [...this.#filled.values()].flat()) await scene[Symbol.asyncDispose]()
    for (const name of this.#exchanges) {
      for (const suffix of ['', '_dlq']) await this.#channel.deleteExchange(`${name}${suffix}`)
    }
  }

  async #fill(count: number, aggregates: number): Promise<Scene[]> {
    const name = await this.#exchange()
    const queues = Array.from({ length: count > LARGE ? 1 : QUEUES_PER_BACKLOG }, () => randomUUID())
    const scenes = await Promise.all(queues.map((queue) => this.#queue(name, queue)))
    for (let first = 0; first < count; first += 1000) {
      const events = orderEvents(Math.min(1000, count - first), aggregates, first)
      await Promise.all(events.map((event) => send(this.#channel, name, event)))
    }
    return scenes
  }

  async #exchange(): Promise<string> {
    const name = `bench-${randomUUID()}`
    await this.#channel.assertExchange(name, 'topic', { durable: true })
    this.#exchanges.push(name)
    return name
  }

  /** The durable queue of a group. */
  async #queue(name: string, group: string): Promise<Scene> {
    const queue = `${name}.${group}`
    await this.#channel.assertQueue(queue, {
      durable: true,
      arguments: { 'x-dead-letter-exchange': `${name}_dlq`, 'x-dead-letter-routing-key': queue },
    })
    await this.#channel.bindQueue(queue, name, '#')
    const dispose = async () => {
      for (const suffix of ['', '.dlq', '.bindings']) await this.#channel.deleteQueue(`${queue}${suffix}`)
      await this.#channel.deleteQueue(`${name}_dlq.groups`)
    }
    return { name, group, [Symbol.asyncDispose]: dispose }
  }
}

/** Publishes the message that the bus would send, encoded one at a time; resolves when it is confirmed. */
function send(channel: ConfirmChannel, exchange: string, event: OrderCreated): Promise<void> {
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

function ours(rabbitmqUrl: string): Side {
  return {
    async publisher({ name }) {
      const bus = new RabbitMQEventBus({ rabbitmqUrl, exchangeName: name })
      await bus.connect()
      return bus
    },
    async consume({ name, group }, consumption) {
      const { handlers, lanes = 16, prefetch = PREFETCH, options } = consumption
      const { eventClasses = [OrderCreated] } = consumption
      const bus = new RabbitMQEventBus({
        ...{ rabbitmqUrl, exchangeName: name, consumerGroup: group, prefetchCount: prefetch },
        ...{ concurrency: lanes, logger: silent, ...options },
      })
      for (const handler of handlers) bus.subscribe(eventClasses, handler)
      bus.startConsumingInBackground()
      await bus.whenConsuming()
      return bus
    },
  }
}

function raw(channel: ConfirmChannel, rabbitmqUrl: string): Side {
  return {
    publisher({ name }) {
      return Promise.resolve({
        publish: (events) =>
          events.length === 1 && events[0] !== undefined
            ? send(channel, name, events[0])
            : Promise.all(events.map((event) => send(channel, name, event))),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      })
    },
    consume: async ({ name, group }, { handlers, lanes, prefetch = PREFETCH }) =>
      await consumeRaw({
        rabbitmqUrl,
        publisher: channel,
        exchange: name,
        queue: `${name}.${group}`,
        handlers,
        lanes,
        prefetch,
      }),
  }
}
