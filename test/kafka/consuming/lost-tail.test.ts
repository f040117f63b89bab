import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { loadKafka } from '../../../src/kafka/client/client.ts'
import { Broker } from '../../brokers/broker.ts'
import { freePort } from '../../brokers/free-port.ts'
import { createNativeHost } from '../../brokers/launch-broker.ts'
import { orderCreated } from '../../support/order-events.ts'
import { administer } from '../plain-kafka.ts'
import { committedOf, consume, createBus, freshName, noticesOf, recorder, until } from '../scene.ts'

const logs = await mkdtemp(join(tmpdir(), 'eventspine-kafka-log-'))
const port = await freePort()
const kafka = new Broker(
  'kafka',
  port,
  await createNativeHost('kafka', port, { config: [`log.dirs=${logs}`] }),
)
await kafka.start()

afterAll(async () => {
  await kafka.dispose()
  await rm(logs, { recursive: true, force: true })
})

const orders = (count: number) => Array.from({ length: count }, (_, n) => orderCreated(`Order-${n}`))

/** A group that has handled ten events, each in a batch of its own, and stopped. */
async function stoppedGroup() {
  const topicPrefix = freshName()
  const options = { bootstrapServers: kafka.url, topicPrefix, topicPartitions: 1 }
  const publisher = createBus(options)
  const bus = createBus(options)
  const seen = recorder(bus)
  await consume(bus)
  for (const event of orders(10)) await publisher.publish([event])
  await until('ten events', () => seen.length === 10)
  await bus.shutdown()
  await publisher.shutdown()
  return { options, topic: `${topicPrefix}.stream` }
}

/** Cuts the log of a topic's only partition behind so many batches, as an election of a replica without them does. */
async function cutLog(topic: string, batches: number): Promise<void> {
  const file = await open(join(logs, `${topic}-0`, '00000000000000000000.log'), 'r+')
  try {
    const content = await file.readFile()
    let end = 0
    for (let batch = 0; batch < batches; batch += 1) end += 12 + content.readInt32BE(end + 8)
    await file.truncate(end)
  } finally {
    await file.close()
  }
}

interface OffsetCommit {
  readonly api: { async(connection: object, ...args: readonly unknown[]): Promise<unknown> }
}

/** Commits an offset of partition 0 for a group without members. */
async function commit(group: string, topic: string, offset: number, metadata: string | null): Promise<void> {
  const library = await loadKafka()
  // The client exports the request under this name.
  const { api } = library['offsetCommitV8'] as OffsetCommit
  const partition = {
    partitionIndex: 0,
    committedOffset: BigInt(offset),
    committedLeaderEpoch: 0,
    committedMetadata: metadata,
  }
  const connection = new library.Connection('administrator', {})
  await connection.connect('127.0.0.1', kafka.port)
  try {
    await api.async(connection, group, -1, '', null, [{ name: topic, partitions: [partition] }])
  } finally {
    await connection.close()
  }
}

it('notices after a restart that its log was cut, and skips none of the events that were published since', async () => {
  const { options, topic } = await stoppedGroup()
  await kafka.stop()
  await cutLog(topic, 4)
  await kafka.start()
  // More than were lost: the committed offset is in the log again.
  const publisher = createBus(options)
  const events = orders(9)
  await publisher.publish(events)

  const bus = createBus(options)
  const notices = noticesOf(bus)
  const seen = recorder(bus)
  await consume(bus)

  await until(
    () => `nine events, saw ${seen.length}`,
    () => seen.length === 9,
  )
  expect(seen.map(({ eventId }) => eventId)).toEqual(events.map(({ eventId }) => eventId))
  expect(notices.filter(({ type }) => type === 'eventsLost')).toMatchObject([{ count: 6 }])
})

it('notices after a restart that its topic was recreated, although the offset of the former one is still committed', async () => {
  const { options, topic } = await stoppedGroup()
  const group = options.topicPrefix
  const committed = (await committedOf(topic, group, kafka.url)).get(0)
  const recreate = { topics: [topic], partitions: 1, replicas: 1 }
  await administer(kafka.url, (admin) => admin.deleteTopics({ topics: [topic] }))
  await until('the new topic', () =>
    administer(kafka.url, (admin) => admin.createTopics(recreate)).then(() => true),
  )
  const publisher = createBus(options)
  const events = orders(20)
  await publisher.publish(events)
  // As a commit of the former topic that arrives late.
  await commit(group, topic, 10, committed?.metadata ?? null)

  const bus = createBus(options)
  const notices = noticesOf(bus)
  const seen = recorder(bus)
  await consume(bus)

  await until(
    () => `twenty events, saw ${seen.length}`,
    () => seen.length === 20,
  )
  expect(notices.filter(({ type }) => type === 'eventsLost')).toHaveLength(1)
})
