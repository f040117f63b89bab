import { readFileSync } from 'node:fs'
import { createClient } from 'redis'
import { afterAll, describe, it } from 'vitest'
import { RedisEventBus } from '../../src/redis/index.ts'
import { type CreateBusOptions, describeEventBus } from '../../src/testing/index.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { paced } from '../support/pace.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

// The buses of the suite have exactly the rights that the page names.
const page = readFileSync(new URL('../../docs/redis.md', import.meta.url), 'utf8')
const rights = /^`(XADD [A-Z| ]+)`$/m.exec(page)?.[1]?.toLowerCase().split(' ') ?? []
const user = `user bus on >secret ~* -@all ${rights.map((name) => `+${name}`).join(' ')}`

// A Redis server for this file alone: the suite stops, kills and restarts it.
const redis = await launchBroker('redis', { config: ['appendfsync always', user] })
const proxies = new Map<unknown, TcpProxy>()

afterAll(async () => {
  for (const proxy of proxies.values()) proxy.close()
  await redis.dispose()
})

// For the processes that the suite starts.
process.env['EVENTSPINE_TEST_REDIS_URL'] = urlOf(redis.port)

function urlOf(port: number): string {
  return `redis://bus:secret@127.0.0.1:${port}`
}

async function create({ scope, ...options }: CreateBusOptions): Promise<RedisEventBus> {
  const proxy = await TcpProxy.start({ host: '127.0.0.1', port: redis.port })
  const bus = new RedisEventBus({
    ...options,
    redisUrl: urlOf(proxy.port),
    streamPrefix: scope,
    pendingIdleMs: 1000,
    blockMs: 1000,
    socketTimeoutMs: 1000,
  })
  proxies.set(bus, proxy)
  return bus
}

async function command(...args: (string | Buffer)[]): Promise<unknown> {
  const client = createClient({ url: redis.url })
  await client.connect()
  try {
    return await client.sendCommand(args)
  } finally {
    client.destroy()
  }
}

describeEventBus('redis', {
  runner: { describe, it },
  create,
  module: new URL('./conformance-bus.ts', import.meta.url),
  faults: {
    publishRaw: async (scope, { headers, body }) => {
      const fields = Object.entries(headers).flat()
      await command('XADD', `${scope}:stream`, '*', ...fields, 'payload', Buffer.from(body))
    },
    loseTopology: async (scope, group) => {
      await command('XGROUP', 'DESTROY', `${scope}:stream`, group)
    },
    cutConnections: async () => {
      for (const proxy of proxies.values()) proxy.cut()
    },
    stopBroker: () => redis.kill(),
    startBroker: () => redis.start(),
    loseConfirmations: (_scope, isLosing) => {
      for (const proxy of proxies.values()) proxy.loseAnswers(isLosing)
    },
    crash: (bus) => proxies.get(bus)?.freeze(),
    idleLimitMs: 1000,
  },
  waitMs: paced(10_000),
})
