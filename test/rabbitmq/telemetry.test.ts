import { describe, expect } from 'vitest'
import { brokerHealthTests } from '../support/broker-health.ts'
import { brokerMetricsTests } from '../support/broker-metrics.ts'
import { traceTests } from '../support/one-trace.ts'
import { createBus, freshName, plainChannel, proxiedBus } from './scene.ts'

describe('a trace over RabbitMQ', () => {
  traceTests('rabbitmq', {
    scope: freshName,
    create: (exchangeName, options) => createBus({ exchangeName, ...options }),
    publishRaw: async (scope, { headers, body }) => {
      const channel = await plainChannel()
      channel.publish(scope, 'Order.OrderShipped', Buffer.from(body), { headers })
      await channel.waitForConfirms()
    },
    destination: (scope) => scope,
    server: { 'server.address': '127.0.0.1', 'server.port': expect.any(Number) },
    attributes: {
      'messaging.rabbitmq.destination.routing_key': 'Order.OrderCreated',
      'messaging.rabbitmq.message.delivery_tag': expect.any(Number),
    },
  })
})

describe('metrics over RabbitMQ', () => {
  brokerMetricsTests('rabbitmq', {
    scope: freshName,
    create: (exchangeName, options) => createBus({ exchangeName, prefetchCount: 1, ...options }),
    waiting: 4,
  })
})

describe('health over RabbitMQ', () => {
  brokerHealthTests(async () => {
    const { bus, proxy } = await proxiedBus({ heartbeatMs: 1000 })
    return { bus, freeze: () => proxy.freeze(), thaw: () => proxy.thaw() }
  })
})
