import { expect, it } from 'vitest'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, createBus, freshPrefix, notes } from '../scene.ts'

it('trims to a length, and keeps what a group has not acknowledged', async () => {
  const streamPrefix = freshPrefix()
  const stream = `${streamPrefix}:stream`
  const client = await connectClient()
  await client.xGroupCreate(stream, 'slow', '0', { MKSTREAM: true })
  const bus = createBus({ streamPrefix, maxLength: 100, trimIntervalMs: 20 })
  await bus.publish(notes('a', 1000))

  // The slow group has read 300 and acknowledged 200 of them: 800 are still needed.
  const [page] = (await client.xReadGroup(
    'slow',
    'c',
    { key: stream, id: '>' },
    { COUNT: 300 },
  )) as unknown as [{ messages: { id: string }[] }]
  await client.xAck(
    stream,
    'slow',
    page.messages.slice(0, 200).map(({ id }) => id),
  )
  // Redis trims whole nodes, so a few more entries may stay.
  await waitFor(async () => (await client.xLen(stream)) <= 850)
  expect(await client.xLen(stream)).toBeGreaterThanOrEqual(800)
  await client.xGroupSetId(stream, 'slow', '$')
  await client.xAck(
    stream,
    'slow',
    page.messages.slice(200).map(({ id }) => id),
  )

  await waitFor(async () => (await client.xLen(stream)) <= 200)
  expect(await client.xLen(stream)).toBeGreaterThanOrEqual(100)
})

it('trims what a group may still need if trim is unsafe', async () => {
  const streamPrefix = freshPrefix()
  const stream = `${streamPrefix}:stream`
  const client = await connectClient()
  await client.xGroupCreate(stream, 'slow', '0', { MKSTREAM: true })
  const bus = createBus({ streamPrefix, maxLength: 100, trimIntervalMs: 20, trim: 'unsafe' })

  await bus.publish(notes('a', 1000))

  await waitFor(async () => (await client.xLen(stream)) <= 200)
})

it('trims by age', async () => {
  const streamPrefix = freshPrefix()
  const stream = `${streamPrefix}:stream`
  const client = await connectClient()
  for (let n = 1; n <= 500; n += 1) await client.xAdd(stream, `${n}-0`, { payload: 'old' })
  const bus = createBus({ streamPrefix, maxAgeMs: 3_600_000, trimIntervalMs: 20 })

  await bus.publish(notes('a', 10))

  await waitFor(async () => (await client.xLen(stream)) <= 110)
  expect(await client.xLen(stream)).toBeGreaterThanOrEqual(10)
})
