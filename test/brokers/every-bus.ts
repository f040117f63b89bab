import { inject, onTestFinished } from 'vitest'
import type { BrokerEventBus, BrokerOptions } from '../../src/index.ts'
import { KafkaProxy } from '../kafka/proxy.ts'
import { createBus as createKafkaBus } from '../kafka/scene.ts'
import { createBus as createRabbitMQBus } from '../rabbitmq/scene.ts'
import { createBus as createRedisBus } from '../redis/scene.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import type { BrokerKind } from './broker.ts'
import { endpointOf } from './endpoint.ts'

export const systems = ['redis', 'rabbitmq', 'kafka'] as const satisfies readonly BrokerKind[]

const addresses = { redis: 'redisUrl', rabbitmq: 'rabbitmqUrl', kafka: 'kafkaBootstrapServers' } as const

/** Creates a bus over a shared broker, or over the given port. It detects a silent connection within two seconds. */
export function createBus(
  system: BrokerKind,
  scope: string,
  options: BrokerOptions,
  port = endpointOf(system, inject(addresses[system])).port,
): BrokerEventBus {
  switch (system) {
    case 'redis':
      return createRedisBus({
        redisUrl: `redis://127.0.0.1:${port}`,
        streamPrefix: scope,
        socketTimeoutMs: 500,
        socketConnectTimeoutMs: 1000,
        ...options,
      })
    case 'rabbitmq':
      return createRabbitMQBus({
        rabbitmqUrl: `amqp://127.0.0.1:${port}`,
        exchangeName: scope,
        heartbeatMs: 1000,
        connectTimeoutMs: 4000,
        reconnectDelayMs: 50,
        maxReconnectDelayMs: 200,
        ...options,
      })
    case 'kafka':
      return createKafkaBus({
        bootstrapServers: `127.0.0.1:${port}`,
        topicPrefix: scope,
        requestTimeoutMs: 1000,
        connectTimeoutMs: 1000,
        ...options,
      })
  }
}

/** Starts a network between one bus and its broker; the test can degrade it. */
export async function startNetwork(system: BrokerKind) {
  const { port } = endpointOf(system, inject(addresses[system]))
  const network = await TcpProxy.start({ host: '127.0.0.1', port })
  onTestFinished(() => network.close())
  if (system !== 'kafka') return { network, port: network.port }
  // Kafka advertises its own address to clients, which would bypass the network.
  const front = await KafkaProxy.start(port, network.port)
  onTestFinished(() => front.close())
  return { network, port: front.port }
}
