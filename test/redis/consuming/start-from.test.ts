import { expect, it } from 'vitest'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, consume, createBus, freshPrefix, Noted, notes } from '../scene.ts'

it.each([
  ['earliest', [0, 1, 2, 3]],
  ['latest', [2, 3]],
] as const)('starts a new group at the %s event', async (startFrom, expected) => {
  const streamPrefix = freshPrefix()
  const publisher = createBus({ streamPrefix })
  await publisher.publish(notes('a', 2))
  const bus = createBus({ streamPrefix, startFrom })
  const seen: number[] = []
  bus.subscribe(Noted, ({ n }) => seen.push(n))

  await consume(bus)
  await publisher.publish(notes('a', 4, 2))

  await waitFor(() => seen.at(-1) === 3)
  expect(seen).toEqual(expected)
})

it('starts at the earliest event if the group was lost, so that nothing is skipped', async () => {
  const streamPrefix = freshPrefix()
  const bus = createBus({ streamPrefix, startFrom: 'latest' })
  const seen: number[] = []
  bus.subscribe(Noted, ({ n }) => seen.push(n))
  await consume(bus)
  await bus.publish(notes('a', 2))
  await waitFor(() => seen.length === 2)
  const client = await connectClient()
  await client.xGroupDestroy(`${streamPrefix}:stream`, 'default')

  await bus.publish(notes('a', 4, 2))

  await waitFor(() => seen.includes(3))
})

it('lets an existing group continue at its position', async () => {
  const streamPrefix = freshPrefix()
  const first = createBus({ streamPrefix })
  first.subscribe(Noted, () => undefined)
  await consume(first)
  await first.publish(notes('a', 1))
  await waitFor(() => first.getStats().eventsProcessedSuccess === 1)
  await first.shutdown()
  const publisher = createBus({ streamPrefix })
  await publisher.publish(notes('a', 3, 1))

  const second = createBus({ streamPrefix, startFrom: 'latest' })
  const seen: number[] = []
  second.subscribe(Noted, ({ n }) => seen.push(n))
  await consume(second)

  await waitFor(() => seen.length === 2)
  expect(seen).toEqual([1, 2])
})
