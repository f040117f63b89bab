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
