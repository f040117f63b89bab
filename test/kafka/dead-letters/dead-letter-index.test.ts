import { expect, inject, it } from 'vitest'
import { ConnectionError } from '../../../src/index.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { readLog } from '../log.ts'
import { consume, createBus, freshName, startProxy, until } from '../scene.ts'

const server = inject('kafkaBootstrapServers')

it('has at most two dead letters of an event if its process ends between dead letter and commit', async () => {
  const topicPrefix = freshName()
  const proxy = await startProxy()
  const options = { topicPrefix, maxRetries: 0, topicPartitions: 1 }
  const doomed = createBus({ ...options, bootstrapServers: `127.0.0.1:${proxy.port}` })
  doomed.subscribe(OrderCreated, () => {
    proxy.loseConfirmations(true)
    throw new Error('as told')
  })
  await consume(doomed)
  const event = orderCreated()
  await createBus(options).publish([event])
  await readLog(server, `${topicPrefix}.stream.dlq`, 1)
  await doomed.shutdown({ timeoutMs: 500 })

  const next = createBus(options)
  next.subscribe(OrderCreated, () => {
    throw new Error('as told')
  })
  await consume(next)

  await until('the second dead letter', () => next.getStats().messagesSentToDlq === 1)
  const { deadLetters } = await next.deadLetters.list()
  expect(deadLetters.map(({ eventId }) => eventId)).toEqual([event.eventId, event.eventId])
})

it('keeps the dead letter if a replay is interrupted before removing it', async () => {
  const topicPrefix = freshName()
  const proxy = await startProxy()
  const options = { topicPrefix, maxRetries: 0 }
  const handled: string[] = []
  const state = { isBroken: true }
  const consumer = createBus(options)
  consumer.subscribe(OrderCreated, ({ eventId }) => {
    if (state.isBroken) throw new Error('as told')
    handled.push(eventId)
  })
  await consume(consumer)
  const event = orderCreated()
  await consumer.publish([event])
  await until('the dead letter', () => consumer.getStats().messagesSentToDlq === 1)
  state.isBroken = false
  const operator = createBus({
    ...options,
    bootstrapServers: `127.0.0.1:${proxy.port}`,
    publishTimeoutMs: 1500,
  })
  const [letter] = (await operator.deadLetters.list()).deadLetters

  proxy.loseConfirmations(true)
  await expect(operator.deadLetters.replay(letter?.id ?? '')).rejects.toThrow()
  proxy.loseConfirmations(false)

  await until('the copy to be handled', () => handled.length === 1)
  expect(handled).toEqual([event.eventId])
  expect(await consumer.getDlqMessageCount()).toBe(1)
})

it('stops reading dead letters when the bus is shut down', async () => {
  const proxy = await startProxy()
  const bus = createBus({ bootstrapServers: `127.0.0.1:${proxy.port}`, requestTimeoutMs: 3_600_000 })
  await bus.connect()
  proxy.freeze()
  const errors: unknown[] = []
  bus.deadLetters.count().catch((error: unknown) => errors.push(error))

  await bus.shutdown()

  await until('the end of the reading', () => errors.length > 0)
  expect(errors).toEqual([expect.any(ConnectionError)])
})
