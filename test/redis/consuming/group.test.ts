import { expect, it } from 'vitest'
import { connectClient, consume, createBus, freshPrefix, notes } from '../scene.ts'

it('creates no group for publishing, and joins a group that already exists', async () => {
  const streamPrefix = freshPrefix()
  const publisher = createBus({ streamPrefix })
  await publisher.publish(notes('a', 1))
  const client = await connectClient()

  expect(await client.xInfoGroups(`${streamPrefix}:stream`)).toEqual([])
  await consume(createBus({ streamPrefix }))
  await consume(createBus({ streamPrefix }))
  expect(await client.xInfoGroups(`${streamPrefix}:stream`)).toHaveLength(1)
})
