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

/** A bus over a shared broker, or over what listens at the port, that notices a silence within a second or two. */
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

/** A network between one bus and its broker, which can be made a bad one. */
export async function startNetwork(system: BrokerKind) {
  const { port } = endpointOf(system, inject(addresses[system]))
  const network = await TcpProxy.start({ host: '127.0.0.1', port })
  onTestFinished(() => network.close())
  if (system !== 'kafka') return { network, port: network.port }
  // Kafka tells its clients its own address, past the network.
  const front = await KafkaProxy.start(port, network.port)
  onTestFinished(() => front.close())
  return { network, port: front.port }
}
