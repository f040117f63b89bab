import { expect, it } from 'vitest'
import { createEventBus } from '../src/index.ts'

/** A value that a program without types may pass. */
const untyped = (value: unknown) => value as never

it.each(['memory:', 'redis://localhost', 'amqp://localhost', 'kafka://localhost'])(
  'refuses an option that is misspelt for another bus than that of %s',
  (url) => {
    const create = (options: object) => () => createEventBus(url, untyped(options))

    expect(create({ redis: { blockMS: 10 } })).toThrow(
      /RedisEventBus: blockMS is not an option; did you mean blockMs/,
    )
    expect(create({ rabbitmq: { queueType: 'lazy' } })).toThrow(
      /RabbitMQEventBus: queueType must be one of 'classic', 'quorum'/,
    )
    expect(create({ kafka: { topicPartition: 3 } })).toThrow(/did you mean topicPartitions/)
    expect(create({ rabitmq: {} })).toThrow(/rabitmq is not an option; did you mean rabbitmq\?$/)
  },
)

it('refuses an option that contradicts the URL or the prefix', () => {
  const create = (url: string, options: object) => () => createEventBus(url, untyped(options))

  expect(create('memory:orders', {})).toThrow(/has nothing after memory:/)
  expect(create('redis://a', { redis: { redisUrl: 'redis://b' } })).toThrow(
    /redis.redisUrl contradicts the URL/,
  )
  expect(create('memory:', { kafka: { bootstrapServers: 'b:9092' } })).toThrow(
    /kafka.bootstrapServers contradicts the URL/,
  )
  expect(create('amqp://a', { prefix: 'x', rabbitmq: { exchangeName: 'y' } })).toThrow(
    /rabbitmq.exchangeName contradicts prefix/,
  )
  expect(create('redis://a', { redis: { tls: {} } })).toThrow(/tls needs a redisUrl that starts with rediss:/)
})

it('refuses a user name or a password that differs from the one in the URL, and shows neither', () => {
  const create = (redis: object) => createEventBus('redis://ann:canary-one@localhost', { redis })

  expect(() => create({ password: 'canary-one' })).not.toThrow()
  expect(() => create({ username: 'bob' })).toThrow(/username differs from the one in redisUrl/)
  expect(() => create({ password: 'canary-two' })).toThrow(
    /^RedisEventBus: password differs from the one in redisUrl: pass one of them\.$/,
  )
})
