import { expect, inject, it } from 'vitest'
import { z } from 'zod'
import { defineEvent } from '../../src/index.ts'
import { administer } from './plain-kafka.ts'
import { committedOf, consume, createBus, freshName, until } from './scene.ts'

const server = inject('kafkaBootstrapServers')

class Filed extends defineEvent({
  type: 'Filed',
  aggregateType: 'File',
  schema: z.object({ text: z.string() }),
}) {}

it('leaves topics, groups and offsets as they were after an operator has looked', async () => {
  const topicPrefix = freshName()
  const bus = createBus({ topicPrefix, maxRetries: 0 })
  bus.subscribe(Filed, ({ text }) => (text === 'bad' ? Promise.reject(new Error('planned')) : undefined), {
    name: 'files',
  })
  await consume(bus)
  await bus.publish(['good', 'bad', 'good'].map((text) => new Filed({ aggregateId: 'File-1', text })))
  await until('the dead letter', async () => (await bus.deadLetters.count()) === 1)
  await bus.shutdown()
  const isOwn = (name: string) => name.startsWith(topicPrefix)
  const state = async () => [
    await administer(server, async (admin) => [
      (await admin.listTopics()).filter(isOwn).toSorted(),
      [...(await admin.listGroups()).keys()].filter(isOwn).toSorted(),
    ]),
    [...(await committedOf(`${topicPrefix}.stream`, topicPrefix))],
  ]
  const before = await state()

  const operator = createBus({ topicPrefix })
  const { admin, deadLetters } = operator
  let count = 0
  for await (const _ of admin.browse({ limit: 100 })) count += 1
  await admin.find('no such event')
  const ended = new AbortController()
  for await (const _ of admin.tail({ signal: ended.signal, onReady: () => ended.abort() })) count += 1
  await deadLetters.count()
  await deadLetters.list()
  await deadLetters.summary()
  await admin.groups()
  await operator.shutdown()

  expect(count).toBe(3)
  expect(await state()).toEqual(before)
})
