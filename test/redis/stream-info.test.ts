import { expect, it } from 'vitest'
import { waitFor } from '../support/wait-for.ts'
import { connectClient, consume, createBus, freshPrefix, Noted, notes } from './scene.ts'

it('returns the same state of the stream that a plain client reads', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const bus = createBus({ streamPrefix, maxRetries: 0 })
  bus.subscribe(Noted, ({ n }) => {
    if (n === 1) throw new Error('no')
  })
  await consume(bus)
  await bus.publish(notes('a', 3))
  await waitFor(async () => (await bus.getStreamInfo()).dlqMessages === 1)
  await waitFor(async () => (await bus.getStreamInfo()).pendingMessages === 0)

  const info = await bus.getStreamInfo()

  const stream = `${streamPrefix}:stream`
  const ids = ((await client.xRange(stream, '-', '+')) ?? []).map(({ id }) => id)
  expect(info).toMatchObject({
    connected: true,
    stream: { name: stream, length: 3, firstEntryId: ids[0], lastEntryId: ids[2] },
    consumerGroups: [{ name: 'default', consumers: 1, pending: 0 }],
    activeConsumers: 1,
  })
  expect(info.stats).toMatchObject({ eventsConsumed: 3, eventsProcessedSuccess: 2, eventsProcessedFailed: 1 })
})
