import { afterAll, expect, it } from 'vitest'
import { ConnectionError, PublishError } from '../../../src/index.ts'
import type { KafkaEventBusOptions } from '../../../src/kafka/index.ts'
import { freePort } from '../../brokers/free-port.ts'
import { launchBroker } from '../../brokers/launch-broker.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { paced } from '../../support/pace.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { as, DOCUMENTED_RIGHTS, type DocumentedRight, grantRights, withUsers } from '../documented-rights.ts'
import { administer } from '../plain-kafka.ts'
import { consume, createBus, freshName, recorder, until } from '../scene.ts'

const port = await freePort()
const users = withUsers(port, 'limited', 'publisher', 'consumer', 'reader')
const kafka = await launchBroker('kafka', {
  ...users,
  config: [...(users.config ?? []), 'group.coordinator.rebalance.protocols=classic'],
})

afterAll(() => kafka.dispose())

const bootstrapServers = `127.0.0.1:${port}`
const limited = { bootstrapServers, ...as('limited') }

const TYPES = { topic: 2, group: 3 } as const
const OPERATIONS = { all: 2, write: 4, describe: 8 } as const

function aclOf(type: keyof typeof TYPES, name: string, operation: keyof typeof OPERATIONS) {
  return {
    resourceType: TYPES[type],
    resourceName: name,
    resourcePatternType: 4, // prefixed
    principal: 'User:limited',
    host: '*',
    operation: OPERATIONS[operation],
    permissionType: 3,
  }
}

async function grant(type: keyof typeof TYPES, name: string, operation: keyof typeof OPERATIONS = 'all') {
  await administer(kafka.url, (admin) => admin.createAcls({ creations: [aclOf(type, name, operation)] }))
}

async function revoke(type: keyof typeof TYPES, name: string, operation: keyof typeof OPERATIONS = 'all') {
  await administer(kafka.url, (admin) => admin.deleteAcls({ filters: [aclOf(type, name, operation)] }))
}

/** An existing topic, created by an anonymous client with all rights. */
async function existingTopic(): Promise<{ readonly topicPrefix: string; readonly topic: string }> {
  const topicPrefix = freshName()
  const bus = createBus({ bootstrapServers: kafka.url, topicPrefix })
  await bus.publish([orderCreated()])
  return { topicPrefix, topic: `${topicPrefix}.stream` }
}

it('reports at once that the user has no right to the topic', async () => {
  const { topicPrefix, topic } = await existingTopic()
  const bus = createBus({ ...limited, topicPrefix })

  const onConnect = await bus.connect().catch((thrown: unknown) => thrown)
  const onPublish = await bus.publish([orderCreated()]).catch((thrown: unknown) => thrown)

  expect(onConnect).toMatchObject({ code: 'AUTHENTICATION_FAILED', retryable: false })
  expect(String(onConnect)).toMatch(new RegExp(`Using the topic ${topic} .*has no right to use the topic`))
  expect(onPublish).toBeInstanceOf(PublishError)
  expect(onPublish).toMatchObject({ retryable: false, outcomes: [{ status: 'notStored' }] })
})

it('finds a missing right with diagnose, and a wrong password', async () => {
  const { topicPrefix, topic } = await existingTopic()
  const problems = async (options: KafkaEventBusOptions = {}) => {
    const found: string[] = []
    for await (const { level, check, text } of createBus({
      ...limited,
      topicPrefix,
      ...options,
    }).admin.diagnose()) {
      if (level === 'fault') found.push(`${check}: ${text}`)
    }
    return found
  }

  const own = [`${topic}.dlq`, `${topic}.replay.${topicPrefix}`]
  const group = `kafka-rights: The user has no right Read on the group ${topicPrefix}.`
  expect(await problems()).toEqual([
    `kafka-topic: The user has no right Describe on the topic ${topic}.`,
    `kafka-rights: The user has no right Describe on the topics ${[topic, ...own].join(', ')}.`,
    group,
  ])
  await grant('topic', topic, 'describe')
  const reading = ['Write', 'Read'].map(
    (operation) => `kafka-rights: The user has no right ${operation} on the topic ${topic}.`,
  )
  expect(await problems()).toEqual([
    ...reading,
    `kafka-rights: The user has no right Create on the topics ${own.join(', ')}.`,
    group,
  ])
  // Who creates the topics for the bus needs not grant that right.
  expect(await problems({ createTopics: false })).toEqual([...reading, group])
  await grant('topic', topic)
  await grant('group', topicPrefix)
  expect(await problems()).toEqual([])
  expect(await problems({ replicationFactor: 7 })).toEqual(
    // The publisher creates the topic for reports some time after its first event.
    [own.join(', '), `${topic}.control(?:, ${topic}.presence)?`].map((names) =>
      expect.stringMatching(
        new RegExp(`^kafka-rights: The brokers refuse to create the missing topics? ${names}: INVALID_REPL`),
      ),
    ),
  )
  await administer(kafka.url, async (admin) => {
    expect((await admin.listTopics()).filter((name) => own.includes(name))).toEqual([])
  })
  expect(await problems({ saslPassword: 'wrong' })).toEqual([
    expect.stringMatching(/^connection: Kafka at .* refuses the credentials/),
  ])
})

it('reports at once that the user may read the topic but not write to it', async () => {
  const { topicPrefix, topic } = await existingTopic()
  await grant('topic', topic, 'describe')
  await grant('topic', 'elsewhere', 'write')
  const bus = createBus({ ...limited, topicPrefix, publishTimeoutMs: paced(10_000) })
  await bus.connect()

  const start = performance.now()
  const error = await bus.publish([orderCreated()]).catch((thrown: unknown) => thrown)

  expect(performance.now() - start).toBeLessThan(paced(5000))
  expect(error).toMatchObject({ retryable: false, outcomes: [{ status: 'notStored' }] })
  expect(String(error)).toContain('TOPIC_AUTHORIZATION_FAILED')
})

it('rejects the start of a consumer that has no right to its group', async () => {
  const { topicPrefix, topic } = await existingTopic()
  await grant('topic', topic)
  const bus = createBus({ ...limited, topicPrefix, consumerGroup: 'forbidden' })
  recorder(bus)

  bus.startConsumingInBackground()
  const error = await bus.whenConsuming().catch((thrown: unknown) => thrown)

  expect(error).toBeInstanceOf(ConnectionError)
  expect(error).toMatchObject({ code: 'AUTHENTICATION_FAILED', retryable: false })
  expect(String(error)).toMatch(/group.*forbidden/)
})

it('logs an error when a right is revoked, keeps trying, and continues when it is granted again', async () => {
  const { topicPrefix, topic } = await existingTopic()
  const logger = new RecordingLogger()
  await grant('topic', topic)
  await grant('group', topicPrefix)
  const bus = createBus({ ...limited, topicPrefix, consumerGroup: topicPrefix, logger })
  const seen = recorder(bus)
  await consume(bus)
  await until('the first', () => seen.length === 1)

  await revoke('topic', topic)
  await until('the log line', () =>
    logger.lines.some(({ message }) => message.includes('reading from the broker failed')),
  )
  const publisher = createBus({ bootstrapServers: kafka.url, topicPrefix })
  await publisher.publish([orderCreated()])
  await grant('topic', topic)

  await until(
    () => `the second, saw ${seen.length}`,
    () => seen.length === 2,
  )
  const lines = logger.lines.filter(({ level }) => level === 'error' || level === 'warn')
  expect(lines.length).toBeLessThan(30)
})

it('reports that the brokers do not support the configured protocol', async () => {
  const bus = createBus({ bootstrapServers: kafka.url, groupProtocol: 'consumer' })
  recorder(bus)

  bus.startConsumingInBackground()
  const error = await bus.whenConsuming().catch((thrown: unknown) => thrown)

  expect(error).toMatchObject({ code: 'TOPOLOGY_CONFLICT', retryable: false })
  expect(String(error)).toContain("groupProtocol 'consumer'")
})

const rightsOf = (...roles: readonly RegExp[]) =>
  DOCUMENTED_RIGHTS.filter(({ role }) => roles.some((pattern) => pattern.test(role)))

/** Grants documented rights to a user, and creates a bus that logs in as it. */
async function busWith(
  user: string,
  rights: readonly DocumentedRight[],
  { topicPrefix, logger }: { readonly topicPrefix: string; readonly logger: RecordingLogger },
) {
  await grantRights(kafka.url, user, rights, { topicPrefix, consumerGroup: topicPrefix })
  return createBus({
    ...{ bootstrapServers, ...as(user), topicPrefix, maxRetries: 1, logger },
    presenceIntervalMs: 500,
  })
}

it('publishes, consumes, retries, dead-letters, replays and reports its health with exactly the documented rights', async () => {
  const scene = { topicPrefix: freshName(), logger: new RecordingLogger() }
  const publisher = await busWith('publisher', rightsOf(/^publisher$/, /^all/), scene)
  const consumer = await busWith('consumer', rightsOf(/^consumer$/, /^all/), scene)
  const reader = await busWith('reader', rightsOf(/^reader/), scene)
  const runs: number[] = []
  let isFixed = false
  consumer.subscribe(
    OrderCreated,
    (_event, { attempt }) => {
      runs.push(attempt)
      if (!isFixed) throw new Error('not yet')
    },
    { name: 'fails' },
  )
  await publisher.publish([orderCreated()])
  await consume(consumer)

  await until('the dead letter', async () => (await reader.deadLetters.count()) === 1)
  // Commits are sent in the background.
  await until('the commit', async () => (await reader.health()).checks['lag']?.value === 0)
  expect((await reader.health()).checks).toMatchObject({
    connected: { status: 'up' },
    lag: { status: 'up', value: 0 },
    deadLetters: { status: 'up', value: 1 },
  })
  isFixed = true
  expect(await consumer.deadLetters.replayAll()).toBe(1)
  await until('the replay', () => runs.length === 3)

  expect(await consumer.health()).toMatchObject({ status: 'up', checks: { deadLetters: { value: 0 } } })
  expect(await reader.deadLetters.list()).toEqual({ deadLetters: [], cursor: undefined })
  expect(await reader.admin.consumers()).toMatchObject([{ handlers: [{ name: 'fails' }] }])
  await until('the refused report of the publisher', () =>
    scene.logger.lines.some(({ message }) => message.startsWith('presence of this process is not reported')),
  )
  const logged = scene.logger.lines.filter(({ level }) => level === 'error').map(({ message }) => message)
  expect([...new Set(logged)]).toEqual(['event dead-lettered'])
})

it('names the topic and the right if a consumer may not read the stream', async () => {
  const scene = { ...(await existingTopic()), logger: new RecordingLogger() }
  const rights = rightsOf(/^consumer$/).map((right) =>
    right.pattern === 'named' && right.type === 'topic' ? { ...right, operations: ['Describe'] } : right,
  )
  const bus = await busWith('limited', rights, scene)
  const errors = () => scene.logger.lines.filter(({ level }) => level === 'error')
  recorder(bus)
  bus.startConsumingInBackground()

  await until('the log line', () =>
    errors().some(({ fields }) => String(fields?.['error']).includes(scene.topic)),
  )
  expect(String(errors()[0]?.fields?.['error'])).toMatch(/TOPIC_AUTHORIZATION_FAILED/)
})

it('keeps an event, and logs why, while it may not write its dead letter', async () => {
  const scene = { ...(await existingTopic()), logger: new RecordingLogger() }
  const bus = await busWith(
    'limited',
    rightsOf(/^consumer$/, /^all/).filter(({ name }) => !name.endsWith('.')),
    scene,
  )
  await grant('topic', `${scene.topic}.replay.`, 'describe')
  bus.subscribe(OrderCreated, () => Promise.reject(new Error('always')), { name: 'fails' })
  await consume(bus)

  await until('the log line', () =>
    scene.logger.lines.some(({ message }) => message.includes('dead-lettering failed')),
  )
  const line = scene.logger.lines.find(({ message }) => message.includes('dead-lettering failed'))
  expect(String(line?.fields?.['error'])).toContain(`${scene.topic}.dlq`)
  expect(bus.getStats().inFlight).toBe(1)
  await grantRights(kafka.url, 'limited', rightsOf(/^consumer$/), {
    topicPrefix: scene.topicPrefix,
    consumerGroup: scene.topicPrefix,
  })
  await until('the dead letter', async () => (await bus.deadLetters.count()) === 1)
})

it('reads the stream without delay while the topic with its replays, on the same node, is refused', async () => {
  const { topicPrefix, topic } = await existingTopic()
  const logger = new RecordingLogger()
  const replays = `${topic}.replay.${topicPrefix}`
  await administer(kafka.url, (admin) =>
    admin.createTopics({ topics: [replays], partitions: 1, replicas: 1 }),
  )
  const named = { topicPrefix, consumerGroup: topicPrefix }
  await grantRights(
    kafka.url,
    'limited',
    rightsOf(/^consumer$/).filter(({ name }) => !name.endsWith('.')),
    named,
  )
  await grant('topic', replays)
  const bus = createBus({ ...limited, topicPrefix, logger })
  const seen = recorder(bus)
  await consume(bus)
  await until('the first event', () => seen.length === 1)
  await revoke('topic', replays)
  await until('the log line', () =>
    logger.lines.some(({ message }) => message.includes('reading from the broker failed')),
  )

  const publisher = createBus({ bootstrapServers: kafka.url, topicPrefix })
  const start = performance.now()
  for (let count = 2; count <= 11; count += 1) {
    await publisher.publish([orderCreated()])
    await until(`event ${count}`, () => seen.length === count)
  }

  // The refused partition is asked for every 2 s; if the others waited for it, this would take ten times as long.
  expect(performance.now() - start).toBeLessThan(paced(5000))
})
