import { expect, it } from 'vitest'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, consume, createBus, freshPrefix, Noted, notes } from '../scene.ts'

const policy = { name: 'parks', maxRetries: 0, onDeadLetter: 'park' } as const

/** A bus whose handler fails for event 0 until it is fixed. */
async function parkingBus(streamPrefix: string, partitions = 1) {
  const bus = createBus({ streamPrefix, partitions })
  const state = { isFixed: false, seen: [] as number[] }
  const handler = ({ n }: Noted) => {
    state.seen.push(n)
    if (n === 0 && !state.isFixed) throw new Error('planned')
  }
  bus.subscribe(Noted, handler, policy)
  await consume(bus)
  return { bus, state }
}

it('parks and replays an entry with more fields than a script can copy', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const { bus, state } = await parkingBus(streamPrefix)
  const modelPrefix = freshPrefix()
  await createBus({ streamPrefix: modelPrefix }).publish(notes('a', 1))
  const [entry] = (await client.xRange(`${modelPrefix}:stream`, '-', '+')) ?? []
  const fields = Object.entries(entry?.message ?? {}).flat()
  const many = Array.from({ length: 8000 }, (_, index) => [`f${index}`, 'x']).flat()
  await client.sendCommand(['XADD', `${streamPrefix}:stream`, '*', ...fields, ...many])
  await bus.publish(notes('a', 3, 1))
  await waitFor(async () => (await bus.countWaiting()) === 2)
  const [letter] = (await bus.deadLetters.list()).deadLetters
  expect(letter?.parkedFor).toEqual(['parks'])

  state.isFixed = true
  expect(await bus.deadLetters.replay(letter?.id ?? '')).toBe(true)
  await waitFor(() => state.seen.length === 4)

  expect(state.seen).toEqual([0, 0, 1, 2])
  await waitFor(async () => (await client.keys(`${streamPrefix}*parked`)).length === 0)
})

it('lets the events behind a dead letter follow that was removed without the bus, and reports that', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const { bus, state } = await parkingBus(streamPrefix, 4)
  await bus.publish(notes('a', 3))
  await waitFor(async () => (await bus.countWaiting()) === 2)
  await bus.shutdown()
  expect(await client.del(`{${streamPrefix}}:stream_dlq`)).toBe(1)

  const next = createBus({ streamPrefix, partitions: 4 })
  const details: string[] = []
  next.onNotice((notice) => void (notice.type === 'eventsLost' && details.push(notice.detail)))
  const seen: number[] = []
  next.subscribe(Noted, ({ n }) => void seen.push(n), policy)
  await consume(next)
  await waitFor(() => seen.length === 2)

  expect([state.seen, seen]).toEqual([[0], [1, 2]])
  expect(details).toEqual([expect.stringContaining('were removed without the bus')])
  await waitFor(async () => (await client.keys(`{${streamPrefix}}:stream:waiting*`)).length === 0)
  expect(await client.exists(`{${streamPrefix}}:stream_dlq:parked`)).toBe(0)
})
