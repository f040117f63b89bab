import { afterAll, expect, it } from 'vitest'
import { ConnectionError, PublishError } from '../../../src/index.ts'
import { freePort } from '../../brokers/free-port.ts'
import { launchBroker } from '../../brokers/launch-broker.ts'
import { orderCreated } from '../../support/order-events.ts'
import { paced } from '../../support/pace.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { administer } from '../plain-kafka.ts'
import { consume, createBus, freshName, recorder, until } from '../scene.ts'

// Anonymous clients have all rights on this broker; `limited` has only the rights granted to it.
const port = await freePort()
const login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_limited="s3cret";'
const kafka = await launchBroker('kafka', {
  listeners: [{ name: 'PASSWORD', protocol: 'SASL_PLAINTEXT', port }],
  config: [
    'sasl.enabled.mechanisms=PLAIN',
    `listener.name.password.plain.sasl.jaas.config=${login}`,
    'authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    'super.users=User:ANONYMOUS',
    'group.coordinator.rebalance.protocols=classic',
  ],
})

afterAll(() => kafka.dispose())

const limited = {
  bootstrapServers: `127.0.0.1:${port}`,
  securityProtocol: 'SASL_PLAINTEXT',
  saslMechanism: 'PLAIN',
  saslUsername: 'limited',
  saslPassword: 's3cret',
} as const

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
