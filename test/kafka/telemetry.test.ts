import { describe, expect, inject } from 'vitest'
import { brokerHealthTests } from '../support/broker-health.ts'
import { brokerMetricsTests } from '../support/broker-metrics.ts'
import { traceTests } from '../support/one-trace.ts'
import { produce } from './plain-kafka.ts'
import { createBus, freshName, startProxy } from './scene.ts'

describe('a trace over Kafka', () => {
  traceTests('kafka', {
    scope: freshName,
    create: (topicPrefix, options) => createBus({ topicPrefix, ...options }),
    publishRaw: (scope, { key = '', headers, body }) =>
      produce(inject('kafkaBootstrapServers'), [
        {
          topic: `${scope}.stream`,
          key: Buffer.from(key),
          value: Buffer.from(body),
          headers: new Map(
            Object.entries(headers).map(([name, text]) => [Buffer.from(name), Buffer.from(text)]),
          ),
        },
      ]),
    destination: (scope) => `${scope}.stream`,
    server: { 'server.address': '127.0.0.1', 'server.port': expect.any(Number) },
    attributes: {
      'messaging.consumer.group.name': expect.stringMatching(/./),
      'messaging.destination.partition.id': expect.stringMatching(/^\d+$/),
      'messaging.kafka.offset': 0,
    },
  })
})

describe('metrics over Kafka', () => {
  brokerMetricsTests('kafka', {
    scope: freshName,
    create: (topicPrefix, options) => createBus({ topicPrefix, ...options }),
    // An event that is being handled is not committed.
    waiting: 5,
  })
})

describe('health over Kafka', () => {
  brokerHealthTests(async () => {
    const proxy = await startProxy()
    const bus = createBus({ bootstrapServers: `127.0.0.1:${proxy.port}`, requestTimeoutMs: 2000 })
    return { bus, freeze: () => proxy.freeze(), thaw: () => proxy.thaw() }
  })
})
