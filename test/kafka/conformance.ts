import { afterAll, afterEach, describe, it } from 'vitest'
import { KafkaEventBus } from '../../src/kafka/index.ts'
import { type CreateBusOptions, describeEventBus, type SuiteRunner } from '../../src/testing/index.ts'
import { freePort } from '../brokers/free-port.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { LACKS } from '../support/lacks-of-buses.ts'
import { paced } from '../support/pace.ts'
import { as, DOCUMENTED_RIGHTS, grantRights, withUsers } from './documented-rights.ts'
import { administer, produce } from './plain-kafka.ts'
import { type GroupProtocol, obstacleToProtocol } from './protocols.ts'
import { KafkaProxy } from './proxy.ts'

const SESSION_MS = 1500

/**
 * Runs the conformance suite with one group protocol, on a Kafka that it kills and restarts. Its buses log in as a user
 * that has the documented rights of a publisher and a consumer, and no others.
 */
export async function describeKafka(
  groupProtocol: GroupProtocol,
  runner: SuiteRunner = { describe, it },
): Promise<void> {
  const obstacle = obstacleToProtocol(groupProtocol)
  if (obstacle !== undefined) return leaveOut(groupProtocol, obstacle)
  const port = await freePort()
  const users = withUsers(port, 'bus')
  const kafka = await launchBroker('kafka', {
    ...users,
    config: [
      ...(users.config ?? []),
      'group.min.session.timeout.ms=500',
      'group.consumer.min.session.timeout.ms=500',
      `group.consumer.session.timeout.ms=${SESSION_MS}`,
    ],
  })
  // The suite chooses the names: all topics, and all groups.
  const rights = DOCUMENTED_RIGHTS.filter(({ role }) => !role.startsWith('reader'))
  const anyName = rights.map((right) => ({ ...right, pattern: 'named', name: '*' }) as const)
  await grantRights(kafka.url, 'bus', anyName, { topicPrefix: '', consumerGroup: '' })
  process.env['EVENTSPINE_TEST_KAFKA_SERVERS'] = `127.0.0.1:${port}`
  process.env['EVENTSPINE_TEST_GROUP_PROTOCOL'] = groupProtocol
  const proxies = new Map<unknown, KafkaProxy>()
  let isUnreachable = false
  const scopes = new Set<string>()

  // A Kafka that was killed recovers the logs of all its topics before it answers: those of a hundred tests take it
  // seconds of CPU time.
  afterEach(async () => {
    await administer(kafka.url, async (admin) => {
      const topics = (await admin.listTopics()).filter((topic) => scopes.has(topic.replace(/\..*$/s, '')))
      if (topics.length > 0) await admin.deleteTopics({ topics })
    })
    scopes.clear()
  })

  afterAll(async () => {
    for (const proxy of proxies.values()) proxy.close()
    await kafka.dispose()
  })

  async function create({
    scope,
    partitions,
    ordering: _,
    ...options
  }: CreateBusOptions): Promise<KafkaEventBus> {
    if (partitions !== undefined && !scopes.has(scope)) {
      await administer(kafka.url, (admin) => admin.createTopics({ topics: [`${scope}.stream`], partitions }))
    }
    scopes.add(scope)
    const proxy = await KafkaProxy.start(port)
    const bus = new KafkaEventBus({
      ...options,
      ...as('bus'),
      bootstrapServers: `127.0.0.1:${proxy.port}`,
      topicPrefix: scope,
      groupProtocol,
      sessionTimeoutMs: SESSION_MS,
      heartbeatIntervalMs: 200,
      requestTimeoutMs: 2000,
      metadataMaxAgeMs: 1000,
    })
    proxy.setDown(isUnreachable)
    proxies.set(bus, proxy)
    return bus
  }

  function setUnreachable(isAway: boolean): void {
    isUnreachable = isAway
    for (const proxy of proxies.values()) proxy.setDown(isUnreachable)
  }

  describeEventBus(titleOf(groupProtocol), {
    runner,
    create,
    module: new URL('./conformance-bus.ts', import.meta.url),
    faults: {
      publishRaw: (scope, { key, headers, body }) =>
        produce(kafka.url, [
          {
            topic: `${scope}.stream`,
            key: key === undefined ? undefined : Buffer.from(key),
            value: Buffer.from(body),
            headers: new Map(
              Object.entries(headers).map(([name, text]) => [Buffer.from(name), Buffer.from(text)]),
            ),
          },
        ]),
      loseTopology: (scope) =>
        administer(kafka.url, (admin) => admin.deleteTopics({ topics: [`${scope}.stream`] })),
      cutConnections: () => {
        for (const proxy of proxies.values()) proxy.cut()
      },
      stopBroker: async (_scope, outage) => {
        if (outage === 'unreachable') setUnreachable(true)
        else await kafka.kill()
      },
      startBroker: async () => {
        if (isUnreachable) setUnreachable(false)
        else await kafka.start()
      },
      loseConfirmations: (_scope, isLosing) => {
        for (const proxy of proxies.values()) proxy.loseConfirmations(isLosing)
      },
      crash: (bus) => proxies.get(bus)?.freeze(),
      idleLimitMs: SESSION_MS,
    },
    lacks: LACKS.kafka,
    waitMs: paced(10_000),
  })
}

/** Leaves out the whole suite, test by test. Its own reason, that no fault can be caused, does not matter then. */
function leaveOut(groupProtocol: GroupProtocol, obstacle: string): void {
  const skip = (name: string) => it.skip(`${name.replace(/ \(needs .*\)$/, '')} (${obstacle})`)
  describeEventBus(titleOf(groupProtocol), {
    runner: { describe, it: Object.assign(skip, { skip }) },
    create: () => Promise.reject(new Error(obstacle)),
  })
}

function titleOf(groupProtocol: GroupProtocol): string {
  return `kafka, ${groupProtocol} protocol`
}
