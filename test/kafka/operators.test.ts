import { randomBytes } from 'node:crypto'
import { expect, inject, it } from 'vitest'
import type { Finding } from '../../src/index.ts'
import type { KafkaEventBus } from '../../src/kafka/index.ts'
import { OrderCancelled, OrderCreated, orderCreated } from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { headerPairs, readLog } from './log.ts'
import { administer } from './plain-kafka.ts'
import { obstacleToProtocol } from './protocols.ts'
import { consume, createBus, freshName, recorder, until } from './scene.ts'

// Actions of an operator on a topic or a group.
const server = inject('kafkaBootstrapServers')
const TOPIC = 2
const SET = 0
/** Text that cannot be compressed. */
const noise = (length: number) => randomBytes(length).toString('base64').slice(0, length)

it('prevents the deletion of its group while it consumes, and starts at the first record after a deletion', async () => {
  const topicPrefix = freshName()
  const bus = createBus({ topicPrefix })
  const before = recorder(bus)
  await consume(bus)
  await bus.publish([orderCreated(), orderCreated()])
  await until('both', () => before.length === 2)

  const deletion = () => administer(server, (admin) => admin.deleteGroups({ groups: [topicPrefix] }))
  await expect(deletion()).rejects.toThrow()
  await bus.publish([orderCreated()])
  await until('the third', () => before.length === 3)
  await bus.shutdown()
  await deletion()

  const next = createBus({ topicPrefix })
  const after = recorder(next)
  await consume(next)
  await until('all again', () => after.length === 3)
  expect(after.map(({ eventId }) => eventId)).toEqual(before.map(({ eventId }) => eventId))
})

it('leaves its own headers out of a dead letter that is too large, and keeps the event if that does not suffice', async () => {
  const topicPrefix = freshName()
  const letters = `${topicPrefix}.stream.dlq`
  const limit = (value: number) => [{ name: 'max.message.bytes', value: String(value) }]
  await administer(server, (admin) =>
    admin.createTopics({ topics: [letters], partitions: 1, replicas: 1, configs: limit(2000) }),
  )
  const logger = new RecordingLogger()
  const bus = createBus({ topicPrefix, topicPartitions: 1, maxRetries: 0, logger, retryMaxDelayMs: 1000 })
  const seen: string[] = []
  bus.subscribe(OrderCancelled, () => {
    throw new Error(noise(1000))
  })
  bus.subscribe(OrderCreated, ({ aggregateId }) => seen.push(aggregateId))
  await consume(bus)
  const cancelled = (aggregateId: string, size: number) =>
    new OrderCancelled({ aggregateId, reason: noise(size) })

  await bus.publish([cancelled('cut', 1100), cancelled('kept', 3000), orderCreated('neighbor')])
  await until('the one that was cut', () => bus.getStats().messagesSentToDlq === 1)
  await until('its neighbor in the partition', () => seen.length === 1)
  const complaints = () => logger.lines.filter(({ message }) => message.startsWith('dead-lettering failed'))
  await until('some complaints', () => complaints().length >= 3)
  expect(new Set(complaints().map(({ level }) => level))).toEqual(new Set(['error']))
  expect(String(complaints()[0]?.fields['error'])).toContain('max.message.bytes')
  expect((await bus.health()).checks.oldestUnsettledMs.value).toBeGreaterThan(0)
  expect(bus.getStats()).toMatchObject({ messagesSentToDlq: 1, inFlight: 1 })
  // Each attempt consists of a request with the headers and one without. The limit must not change between the two, so
  // it changes right after an attempt, when the delay until the next one has grown to its maximum.
  const before = complaints().length
  await until('a long delay', () => complaints().length > Math.max(before, 7))
  await administer(server, (admin) =>
    admin.incrementalAlterConfigs({
      resources: [
        {
          resourceType: TOPIC,
          resourceName: letters,
          configs: [{ name: 'max.message.bytes', configOperation: SET, value: '100000' }],
        },
      ],
      validateOnly: false,
    }),
  )

  await until('the one that was kept', () => bus.getStats().messagesSentToDlq === 2)
  const stored = await readLog(server, letters, 2)
  expect(stored.map(({ key }) => String(key))).toEqual(['cut', 'kept'])
  const added = stored.map((letter) => new Map(headerPairs(letter)))
  expect(added[0]?.has('dlq_error_message')).toBe(false)
  expect(added[1]?.get('dlq_error_message')).toHaveLength(1000)
  for (const headers of added) expect(headers.get('dlq_reason')).toBe('max_retries_exceeded')
})

/** What `diagnose` finds, without what is well or unknown. */
async function problemsOf({ admin }: KafkaEventBus): Promise<readonly Finding[]> {
  const problems: Finding[] = []
  for await (const finding of admin.diagnose()) {
    if (finding.level !== 'ok' && finding.level !== 'unknown') problems.push(finding)
  }
  return problems
}

it('finds planted faults with diagnose, and leaves the cluster as it was', async () => {
  const topicPrefix = freshName()
  const topic = `${topicPrefix}.stream`
  const state = () =>
    administer(server, async (admin) => {
      const isOwn = (name: string) => name.startsWith(topicPrefix)
      return [(await admin.listTopics()).filter(isOwn), [...(await admin.listGroups()).keys()].filter(isOwn)]
    })
  expect(await problemsOf(createBus({ topicPrefix }))).toEqual([])
  expect(await state()).toEqual([[], []])
  expect(await problemsOf(createBus({ topicPrefix, createTopics: false }))).toMatchObject([
    {
      ...{ check: 'kafka-topic', level: 'fault' },
      text: `The topic ${topic} does not exist, and createTopics is false.`,
      remedy: `kafka-topics.sh --bootstrap-server ${server} --create --topic ${topic} --partitions 3`,
    },
  ])

  const bus = createBus({ topicPrefix, maxRetries: 0 })
  bus.subscribe(OrderCreated, () => Promise.reject(new Error('planned')), { name: 'charge' })
  await consume(bus)
  const others = await problemsOf(createBus({ topicPrefix, groupProtocol: 'consumer' }))
  if (obstacleToProtocol('consumer') === undefined) {
    expect(others).toMatchObject([
      {
        ...{ check: 'kafka-group-protocol', level: 'fault' },
        text: `The members of the group ${topicPrefix} use the classic protocol, and this bus is set to consumer.`,
      },
    ])
  }
  await bus.publish([orderCreated()])
  await until('the dead letter', async () => (await bus.deadLetters.count()) === 1)
  await bus.shutdown()
  await administer(server, (admin) =>
    admin.incrementalAlterConfigs({
      resources: [
        {
          resourceType: TOPIC,
          resourceName: topic,
          configs: [{ name: 'min.insync.replicas', configOperation: SET, value: '2' }],
        },
      ],
      validateOnly: false,
    }),
  )
  const before = await state()
  expect(await problemsOf(createBus({ topicPrefix }))).toMatchObject([
    {
      ...{ check: 'kafka-replicas', level: 'fault' },
      text: 'Only 1 replica is in sync, and min.insync.replicas is 2: publishes fail.',
      remedy: `Start the missing brokers, or lower it: kafka-configs.sh --bootstrap-server ${server} --alter --topic ${topic} --add-config min.insync.replicas=1`,
    },
    { check: 'groups', text: `Nobody consumes for the group ${topicPrefix}, and 0 events wait for it.` },
    { check: 'groups', text: `The group ${topicPrefix} has 1 dead letter.` },
  ])
  expect(await state()).toEqual(before)
})
