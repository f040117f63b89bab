// The Redis bus, and the bare client in its fast form: pipelined appends, one XACK per page.
import { randomUUID } from 'node:crypto'
import { RedisEventBus } from 'eventspine/redis'
import { createClient } from 'redis'
import type { BrokerBench, Scene, Side } from '../broker-bench.ts'
import { versionOf } from '../machine.ts'
import { AGGREGATES, OrderCreated, orderEvents } from '../order.ts'
import { RawRedisConsumer } from './redis-consumer.ts'
import { silent } from './silent.ts'

export type RedisClient = ReturnType<typeof connectionTo>

function connectionTo(url: string) {
  return createClient({ url, RESP: 2, commandOptions: { timeout: 0 } })
}

export async function redisBench(redisUrl: string): Promise<BrokerBench> {
  const client = connectionTo(redisUrl)
  await client.connect()
  const backlogs = new Map<string, string>()

  async function backlog(count: number, aggregates = AGGREGATES): Promise<Scene> {
    const key = `${count} of ${aggregates}`
    const name = backlogs.get(key) ?? randomUUID()
    if (!backlogs.has(key)) await fill(client, name, count, aggregates)
    backlogs.set(key, name)
    // The events stay available for the next group.
    const group = randomUUID()
    const dispose = async () => {
      await client.xGroupDestroy(`${name}:stream`, group)
      await client.unlink(`${name}:stream_dlq`)
    }
    await client.xGroupCreate(`${name}:stream`, group, '0')
    return { name, group, [Symbol.asyncDispose]: dispose }
  }

  async function scene(): Promise<Scene> {
    const [name, group] = [randomUUID(), 'default']
    await client.xGroupCreate(`${name}:stream`, group, '0', { MKSTREAM: true })
    const dispose = async () => {
      await client.unlink(`${name}:stream`)
    }
    return { name, group, [Symbol.asyncDispose]: dispose }
  }

  return {
    bus: 'redis',
    versions: { Redis: await serverVersion(client), 'redis (client)': versionOf('redis') },
    ours: ours(redisUrl),
    raw: raw(client),
    counts: { batches: 50_000, singles: 5000, consume: 80_000, growth: 30_000, rawDrain: 1_000_000 },
    compressions: [],
    consumptions: [{ label: '' }],
    scene,
    backlog,
    async [Symbol.asyncDispose]() {
      for (const name of backlogs.values()) await client.unlink(`${name}:stream`)
      client.destroy()
    },
  }
}

async function serverVersion(client: RedisClient): Promise<string> {
  return /redis_version:(\S+)/.exec(await client.info('server'))?.[1] ?? 'unknown'
}

async function fill(client: RedisClient, name: string, count: number, aggregates: number): Promise<void> {
  for (let first = 0; first < count; first += 1000) {
    const events = orderEvents(Math.min(1000, count - first), aggregates, first)
    await Promise.all(events.map((event) => append(client, `${name}:stream`, event)))
  }
}

/** The fields that the bus would write, encoded one at a time as a program would do it. */
function append(client: RedisClient, stream: string, event: OrderCreated): Promise<unknown> {
  const { eventId, eventType, aggregateId, aggregateType, occurredAt } = event
  return client.sendCommand([
    ...['XADD', stream, '*', 'event_id', eventId, 'event_type', eventType, 'aggregate_id', aggregateId],
    ...['aggregate_type', aggregateType, 'tenant_id', '', 'occurred_at', occurredAt.toISOString()],
    ...['payload', JSON.stringify(event)],
  ])
}

function ours(redisUrl: string): Side {
  return {
    async publisher({ name }) {
      const bus = new RedisEventBus({ redisUrl, streamPrefix: name })
      await bus.connect()
      return bus
    },
    async consume({ name, group }, { handlers, lanes = 16, options, eventClasses = [OrderCreated] }) {
      const bus = new RedisEventBus({
        ...{ redisUrl, streamPrefix: name, consumerGroup: group, concurrency: lanes },
        ...{ logger: silent, ...options },
      })
      for (const handler of handlers) bus.subscribe(eventClasses, handler)
      bus.startConsumingInBackground()
      await bus.whenConsuming()
      return bus
    },
  }
}

function raw(client: RedisClient): Side {
  return {
    publisher({ name }) {
      const stream = `${name}:stream`
      return Promise.resolve({
        publish: (events) =>
          events.length === 1 && events[0] !== undefined
            ? append(client, stream, events[0])
            : Promise.all(events.map((event) => append(client, stream, event))),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      })
    },
    async consume({ name, group }, { handlers, lanes }) {
      const [reader, own] = [client.duplicate(), client.duplicate()]
      await Promise.all([reader.connect(), own.connect()])
      const place = { stream: `${name}:stream`, deadLetters: `${name}:stream_dlq`, group }
      return new RawRedisConsumer({ client: own, reader, place, handlers, lanes })
    },
  }
}
