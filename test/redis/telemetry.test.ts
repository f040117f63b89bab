import { describe, expect, inject, onTestFinished } from 'vitest'
import { brokerHealthTests } from '../support/broker-health.ts'
import { brokerMetricsTests } from '../support/broker-metrics.ts'
import { traceTests } from '../support/one-trace.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { connectClient, createBus, freshPrefix } from './scene.ts'

describe('a trace over Redis', () => {
  traceTests('redis', {
    scope: freshPrefix,
    create: (streamPrefix, options) => createBus({ streamPrefix, ...options }),
    publishRaw: async (scope, { headers, body }) => {
      const client = await connectClient()
      const fields = Object.entries(headers).flat()
      await client.sendCommand(['XADD', `${scope}:stream`, '*', ...fields, 'payload', Buffer.from(body)])
    },
    destination: (scope) => `${scope}:stream`,
    server: { 'server.address': '127.0.0.1', 'server.port': expect.any(Number) },
    attributes: {},
  })
})

describe('metrics over Redis', () => {
  brokerMetricsTests('redis', {
    scope: freshPrefix,
    create: (streamPrefix, options) => createBus({ streamPrefix, ...options }),
    waiting: 4,
  })
})

describe('health over Redis', () => {
  brokerHealthTests(async () => {
    const proxy = await TcpProxy.start({ host: '127.0.0.1', port: Number(new URL(inject('redisUrl')).port) })
    onTestFinished(() => proxy.close())
    const bus = createBus({ redisUrl: `redis://127.0.0.1:${proxy.port}` })
    return { bus, freeze: () => proxy.freeze(), thaw: () => proxy.thaw() }
  })
})
