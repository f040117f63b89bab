import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { expect, inject, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { type BrowsedEvent, type BrowseQuery, defineEvent } from '../../src/index.ts'
import { endpointOf } from '../brokers/endpoint.ts'
import { administer } from './plain-kafka.ts'
import { KafkaProxy } from './proxy.ts'
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

/** Counts the bytes that a server sends. */
async function countingRelay(port: number) {
  const count = { bytes: 0 }
  const relay = createServer((client) => {
    const upstream = connect(port, '127.0.0.1')
    upstream.on('data', (chunk) => {
      count.bytes += chunk.length
    })
    upstream.pipe(client)
    client.pipe(upstream)
    for (const socket of [client, upstream]) socket.on('error', () => undefined)
    client.on('close', () => upstream.destroy())
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  onTestFinished(() => void relay.close())
  // A server that listens on TCP has an address of this type.
  return { count, port: (relay.address() as AddressInfo).port }
}

it('reads one of twelve partitions to find the events of an aggregate', async () => {
  const topicPrefix = freshName()
  const publisher = createBus({ topicPrefix, topicPartitions: 12 })
  const text = () => randomBytes(7500).toString('base64')
  const events = Array.from(
    { length: 480 },
    (_, n) => new Filed({ aggregateId: `File-${n % 120}`, text: text() }),
  )
  await publisher.publish(events)
  const { port } = endpointOf('kafka', server)
  const relay = await countingRelay(port)
  const proxy = await KafkaProxy.start(port, relay.port)
  onTestFinished(() => proxy.close())
  const operator = createBus({ topicPrefix, bootstrapServers: `127.0.0.1:${proxy.port}` })
  await operator.connect()
  const read = async (query: BrowseQuery) => {
    const before = relay.count.bytes
    const found: BrowsedEvent[] = []
    for await (const event of operator.admin.browse({ ...query, ...FROM_FIRST })) found.push(event)
    return { found, bytes: relay.count.bytes - before }
  }

  const whole = await read({})
  const own = await read({ filter: { aggregateId: 'File-7' } })

  const byPartition = Map.groupBy(whole.found, ({ partition }) => partition)
  expect(byPartition.size).toBe(12)
  const wanted = events.filter(({ aggregateId }) => aggregateId === 'File-7')
  expect(own.found.map(({ eventId }) => eventId)).toEqual(wanted.map(({ eventId }) => eventId))
  const share = (byPartition.get(own.found[0]?.partition)?.length ?? 0) / events.length
  const ratio = own.bytes / (whole.bytes * share)
  expect(ratio).toBeGreaterThan(0.8)
  expect(ratio).toBeLessThan(1.2)
})

const FROM_FIRST = { from: 'first', direction: 'forward', limit: 1000 } as const
