import { expect, inject, test } from 'vitest'
import { endpointOf } from './endpoint.ts'
import { launchBroker } from './launch-broker.ts'
import { isAnswering } from './probe.ts'

test('the shared RabbitMQ answers', async () => {
  const endpoint = endpointOf('rabbitmq', inject('rabbitmqUrl'))

  expect(await isAnswering('rabbitmq', endpoint, 1_000)).toBe(true)
})

test('a private RabbitMQ keeps its port when it is killed, stopped, frozen and restarted', async () => {
  await using broker = await launchBroker('rabbitmq')
  const { url } = broker

  await broker.freeze()
  expect(await broker.isAnswering(200)).toBe(false)
  await broker.thaw()
  expect(await broker.isAnswering()).toBe(true)

  await broker.kill()
  expect(await broker.isAnswering()).toBe(false)
  await broker.start()
  expect(await broker.isAnswering()).toBe(true)

  await broker.restart()
  expect(await broker.isAnswering()).toBe(true)
  expect(broker.url).toBe(url)
})
