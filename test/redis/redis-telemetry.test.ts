import { describe } from 'vitest'
import { brokerMetricsTests } from '../support/broker-metrics.ts'
import { traceTests } from '../support/one-trace.ts'
import { connectClient, createBus, freshPrefix } from './redis-scene.ts'

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
