import { expectTypeOf, it } from 'vitest'
import {
  type AnyEventBus,
  BrokerEventBus,
  createEventBus,
  type DeadLetterQueue,
  type InMemoryEventBus,
  type KafkaEventBus,
  type RabbitMQEventBus,
  type RedisEventBus,
} from '../src/index.ts'

it('gives the bus of the URL, with its dead letters and notices', () => {
  expectTypeOf(createEventBus('memory:')).toEqualTypeOf<InMemoryEventBus>()
  expectTypeOf(createEventBus('redis://localhost')).toEqualTypeOf<RedisEventBus>()
  expectTypeOf(createEventBus('rediss://localhost')).toEqualTypeOf<RedisEventBus>()
  expectTypeOf(createEventBus('amqps://localhost')).toEqualTypeOf<RabbitMQEventBus>()
  expectTypeOf(createEventBus('kafka://a:9092,b:9092')).toEqualTypeOf<KafkaEventBus>()
  expectTypeOf(createEventBus('redis://localhost').deadLetters).toEqualTypeOf<DeadLetterQueue>()
})

it('keeps the scheme of a URL that is put together', () => {
  const host: string = 'localhost'

  expectTypeOf(createEventBus(`redis://${host}:6379`)).toEqualTypeOf<RedisEventBus>()
})

it('gives a union for a URL that only the configuration knows, which instanceof narrows', () => {
  const bus = createEventBus(String(process.env['BUS_URL']))

  expectTypeOf(bus).toEqualTypeOf<AnyEventBus>()
  if (bus instanceof BrokerEventBus) {
    expectTypeOf(bus.deadLetters).toEqualTypeOf<DeadLetterQueue>()
    bus.onNotice(({ type }) => type)
  }
})

it('does not let an option name the server', () => {
  // @ts-expect-error the URL names the server
  createEventBus('redis://a', { redis: { redisUrl: 'redis://b' } })
})
