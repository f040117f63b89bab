import { inspect } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  ConfigError,
  createEventBus,
  type DeadLetterFilter,
  type EventBus,
  InMemoryEventBus,
  KafkaEventBus,
  PublishAfterSaveError,
  PublishError,
  RabbitMQEventBus,
  RedisEventBus,
} from '../../src/index.ts'
import { resolveRabbitMQOptions } from '../../src/rabbitmq/options.ts'
import { MemoryBroker, MemoryBrokerEventBus } from '../../src/testing/index.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'

/** A bus that needs no broker for what is tested. */
function ending<B extends EventBus>(bus: B): B {
  onTestFinished(() => bus.shutdown({ timeoutMs: 100 }))
  return bus
}

/** A value that a program without types may pass. */
const untyped = (value: unknown) => value as never

describe('dead letters: purge, replayAll and list', () => {
  const dead = () => ending(new MemoryBrokerEventBus({ broker: new MemoryBroker() })).deadLetters

  it.each([
    [undefined, /deadLetters\.purge: pass the id of a dead letter, or a filter \(\{\} removes all\)/],
    [null, /pass the id/],
    [{ evenType: 'OrderCreated' }, /evenType is not an option; did you mean eventType/],
    [{ eventType: undefined }, /eventType must have a value; omit a field to match all/],
    [{ reason: 'bored' }, /reason must be one of/],
  ])('refuse %j', async (which, message) => {
    await expect(dead().purge(untyped(which))).rejects.toThrow(message)
  })

  it.each([{ limit: -1 }, { limit: 1.5 }, { count: 5 }, { cursor: '' }])(
    'list refuses %j',
    async (options) => {
      await expect(dead().list(untyped(options))).rejects.toThrow(ConfigError)
    },
  )

  it('refuse an unknown filter', async () => {
    const filter = { evenType: 'OrderCreated' } as DeadLetterFilter

    await expect(dead().replayAll(filter)).rejects.toThrow(ConfigError)
  })
})

describe.each([
  ['Redis', () => new RedisEventBus()],
  ['RabbitMQ', () => new RabbitMQEventBus()],
  ['Kafka', () => new KafkaEventBus()],
] as const)('%s', (_name, create) => {
  it.each([{ count: 5 }, { limit: -1 }, { limit: 0 }, { limit: 1.5 }])(
    'getDlqMessages refuses %j before it connects',
    async (query) => {
      await expect(ending(create()).getDlqMessages(untyped(query))).rejects.toThrow(ConfigError)
    },
  )

  it('refuses an invalid timeout', async () => {
    await expect(ending(create()).stopConsuming({ timeoutMs: -1 })).rejects.toThrow(ConfigError)
  })

  it('is neither connected nor healthy before connect, and reports this', async () => {
    const bus = ending(create())

    expect(bus.isConnected).toBe(false)
    expect((await bus.health()).checks.connected).toEqual({
      status: 'down',
      detail: 'not connected yet: call connect, publish or startConsuming',
    })
  })
})

describe.each([
  ['memory', () => new InMemoryEventBus()],
  ['Redis', () => new RedisEventBus()],
  ['RabbitMQ', () => new RabbitMQEventBus()],
  ['Kafka', () => new KafkaEventBus()],
] as const)('calls of a bus (%s) refuse a misspelt option:', (_name, create) => {
  it.each<[string, (bus: EventBus) => unknown]>([
    ['publish', (bus) => bus.publish([orderCreated()], untyped({ backgroud: true }))],
    ['publish', (bus) => bus.publish([], untyped({ background: 1 }))],
    ['stopConsuming', (bus) => bus.stopConsuming(untyped({ timeout: 5 }))],
    ['shutdown', (bus) => bus.shutdown(untyped({ timeout: 5 }))],
    ['health', (bus) => bus.health(untyped({ timeout: 5 }))],
    ['subscribe', async (bus) => bus.subscribe(OrderCreated, () => {}, untyped({ nam: 'a' }))],
    ['subscribe', async (bus) => bus.subscribeToAllEvents(() => {}, untyped({ alias: ['a'] }))],
  ])('%s', async (_call, refused) => {
    const bus = ending(create())

    await expect(refused(bus)).rejects.toThrow(ConfigError)
    expect(bus.isShutdown).toBe(false)
  })

  it('and accept null instead of the options', async () => {
    const bus = ending(create())
    bus.subscribe(OrderCreated, () => {}, untyped(null))
    bus.subscribeToAllEvents(() => {}, untyped(null))

    await bus.publish([], untyped(null))
    await bus.stopConsuming(untyped(null))
    await bus.health(untyped(null))
    await bus.shutdown(untyped(null))
  })
})

describe('null', () => {
  it('is an unset option, everywhere', async () => {
    expect(() => new InMemoryEventBus(untyped({ logger: null, registry: null }))).not.toThrow()
    expect(() => new RedisEventBus(untyped({ password: null, maxInFlight: null }))).not.toThrow()
    expect(() => createEventBus('memory:', untyped({ prefix: null, concurrency: null }))).not.toThrow()
    const bus = new InMemoryEventBus()
    await bus.stopConsuming(untyped({ timeoutMs: null }))
    await bus.shutdown(untyped({ timeoutMs: null }))
  })
})

describe('createEventBus', () => {
  it.each([
    [{ maxRetrys: 3 }, /maxRetrys is not an option; did you mean maxRetries/],
    [{ maxRetries: -1 }, /maxRetries must be/],
  ])('refuses %j in memory, as with a broker', (options, message) => {
    expect(() => createEventBus('memory:', untyped(options))).toThrow(message)
    expect(() => createEventBus('redis://localhost', untyped(options))).toThrow(message)
  })

  it('accepts the options of brokers in memory, so that a program can change the URL only', () => {
    const options = { prefix: 'orders', consumerGroup: 'billing', concurrency: 4, redis: { blockMs: 10 } }

    expect(createEventBus('memory:', options)).toBeInstanceOf(InMemoryEventBus)
    expect(createEventBus('memory:', untyped(null))).toBeInstanceOf(InMemoryEventBus)
  })

  it.each(['memory:', 'redis://h', 'amqp://h', 'kafka://h:1'])(
    'of %s checks the options of every broker',
    (url) => {
      for (const options of [
        { redis: { blockMss: 1 } },
        { rabbitmq: { prefetch: 1 } },
        { kafka: { lingerMs: -1 } },
      ])
        expect(() => createEventBus(url, untyped(options))).toThrow(ConfigError)
    },
  )

  it.each([
    'memory:?x=1',
    'redis://h/orders',
    'redis://h:1/0?db=3',
    'rediss://h/#1',
    'amqp://h/?heartbeat=5',
    'amqps://h/?vhost=orders',
    'kafka://h:1?clientId=a',
    'kafka://h:1/topic',
    'kafka://h:port',
  ])('refuses %s, of which a part would be ignored', (url) => {
    expect(() => createEventBus(url)).toThrow(ConfigError)
  })

  it.each([
    'redis://h/3',
    'rediss://u:p@h:1/',
    'amqp://h/%2F?channelMax=5&frameMax=8192',
    'kafka://a:1,b:2/',
  ])('accepts %s', (url) => {
    expect(() => ending(createEventBus(url))).not.toThrow()
  })
})

it('a concurrency raises the prefetch of RabbitMQ, unless that is given', () => {
  expect(resolveRabbitMQOptions({}).prefetchCount).toBe(10)
  expect(resolveRabbitMQOptions({ concurrency: 50 }).prefetchCount).toBe(50)
  expect(resolveRabbitMQOptions({ concurrency: 5 }).prefetchCount).toBe(10)
  expect(resolveRabbitMQOptions({ concurrency: 50, prefetchCount: 20 }).prefetchCount).toBe(20)
})

describe('an error about 1,000 events', () => {
  const lines = (error: Error) => inspect(error).split('\n').length

  it('is printed in a few lines if each failed for another reason', () => {
    const outcomes = Array.from({ length: 1000 }, (_, n) => ({
      eventId: `event-${n}`,
      eventType: 'OrderCreated',
      status: 'notStored' as const,
      error: new Error(`event-${n} is too large`),
    }))
    const error = new PublishError('kafka', outcomes)

    expect(lines(error)).toBeLessThan(60)
    expect(error.message.length).toBeLessThan(500)
    expect(error.errors).toHaveLength(1000)
  })

  it('is printed in a few lines if they are stored and not published', () => {
    const events = Array.from({ length: 1000 }, () => orderCreated())
    const error = new PublishAfterSaveError(
      events,
      untyped({ newVersion: 1, globalPosition: 1 }),
      new Error('no'),
    )

    expect(lines(error)).toBeLessThan(60)
    expect(error.events).toHaveLength(1000)
  })
})
