import { afterAll, describe, it } from 'vitest'
import { KafkaEventBus } from '../../src/kafka/index.ts'
import { type CreateBusOptions, describeEventBus } from '../../src/testing/index.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { KafkaProxy } from './kafka-proxy.ts'
import { administer, produce } from './plain-kafka.ts'

// A Kafka of this file's own: the suite kills it and starts it again.
const kafka = await launchBroker('kafka', { config: ['group.min.session.timeout.ms=500'] })
const proxies = new Map<unknown, KafkaProxy>()

afterAll(async () => {
  for (const proxy of proxies.values()) proxy.close()
  await kafka.dispose()
})

// For the processes that the suite starts.
process.env['EVENTSPINE_TEST_KAFKA_SERVERS'] = kafka.url

async function create({ scope, ...options }: CreateBusOptions): Promise<KafkaEventBus> {
  const proxy = await KafkaProxy.start(kafka.port)
  const bus = new KafkaEventBus({
    ...options,
    bootstrapServers: `127.0.0.1:${proxy.port}`,
    topicPrefix: scope,
    sessionTimeoutMs: 1500,
    heartbeatIntervalMs: 200,
    requestTimeoutMs: 2000,
    metadataMaxAgeMs: 1000,
  })
  proxies.set(bus, proxy)
  return bus
}

describeEventBus('kafka', {
  runner: { describe, it },
  create,
  module: new URL('./kafka-conformance-bus.ts', import.meta.url),
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
    stopBroker: () => kafka.kill(),
    startBroker: () => kafka.start(),
    loseConfirmations: (_scope, isLosing) => {
      for (const proxy of proxies.values()) proxy.loseConfirmations(isLosing)
    },
    crash: (bus) => proxies.get(bus)?.freeze(),
    idleLimitMs: 1500,
  },
})
