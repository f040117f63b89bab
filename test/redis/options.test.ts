import { createRequire } from 'node:module'
import { createClient, createCluster, createSentinel } from 'redis'
import { expect, it } from 'vitest'
import { RedisEventBus } from '../../src/redis/index.ts'
import { connectClient, createBus, freshPrefix, notes } from './scene.ts'

it('shows no password in the error for an invalid option', () => {
  const construct = () => new RedisEventBus({ redisUrl: 'http://:canary-secret@localhost', password: '' })

  expect(construct).toThrow(/redisUrl must be a URL that starts with redis:/)
  expect(construct).not.toThrow(/canary-secret/)
})

it('keeps all keys in one cluster slot with useHashTag', async () => {
  const streamPrefix = freshPrefix()
  const bus = createBus({ streamPrefix, useHashTag: true })

  await bus.publish(notes('a', 1))

  const client = await connectClient()
  expect(await client.xLen(`{${streamPrefix}}:stream`)).toBe(1)
})

// Vitest does not see the named exports of this CommonJS package.
const { Cluster, Redis } = createRequire(import.meta.url)('ioredis') as typeof import('ioredis')
const server = { host: '127.0.0.1', port: 1 }

it.each([
  ['a client of ioredis', () => new Redis({ lazyConnect: true }), 'This is a client of ioredis'],
  ['a cluster of ioredis', () => new Cluster([server], { lazyConnect: true }), 'This is a client of ioredis'],
  ['a cluster of node-redis', () => createCluster({ rootNodes: [{ socket: server }] }), 'This is a cluster'],
  [
    'a sentinel of node-redis',
    () => createSentinel({ name: 'primary', sentinelRootNodes: [server] }),
    'This is a sentinel',
  ],
  ['something else', () => ({ duplicate: true }), 'Create one, or set redisUrl'],
])('refuses %s as its client, with the remedy', (_kind, create, remedy) => {
  const construct = () => Reflect.construct(RedisEventBus, [{ client: create() }])

  expect(construct).toThrow(/RedisEventBus: client must be a client of node-redis \(createClient of/)
  expect(construct).toThrow(remedy)
})

it('accepts a client of node-redis', () => {
  expect(new RedisEventBus({ client: createClient() }).isConnected).toBe(false)
})
