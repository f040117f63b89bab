import { expect, it } from 'vitest'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, consume, createBus, Noted, notes } from '../scene.ts'
import { publishedStream, readAndDie } from './pending.ts'

it('recovers pending messages on request, and returns the outcome of each', async () => {
  const streamPrefix = await publishedStream(4)
  await readAndDie(streamPrefix, 'dead', 4)
  const bus = createBus({ streamPrefix, maxRetries: 1, pendingIdleMs: 600_000 })
  bus.subscribe(Noted, ({ n }) => {
    if (n === 3) throw new Error('always')
  })

  const result = await bus.recoverPendingMessages({ minIdleTimeMs: 0 })

  expect(result).toEqual({ checked: 4, claimed: 4, reprocessed: 3, dlq: 1, failed: 0 })
  expect(await bus.deadLetters.count()).toBe(1)
})

it('recovers no message that was idle for less than minIdleTimeMs', async () => {
  const streamPrefix = await publishedStream(2)
  await readAndDie(streamPrefix, 'dead', 2)
  const bus = createBus({ streamPrefix })

  const result = await bus.recoverPendingMessages({ minIdleTimeMs: 600_000 })

  expect(result).toEqual({ checked: 0, claimed: 0, reprocessed: 0, dlq: 0, failed: 0 })
})

it('dead-letters an entry above its delivery limit without calling its handlers', async () => {
  const streamPrefix = await publishedStream(1)
  await readAndDie(streamPrefix, 'dead', 1)
  const client = await connectClient()
  const stream = `${streamPrefix}:stream`
  const [entry] = (await client.xRange(stream, '-', '+')) ?? []
  await client.sendCommand([
    'XCLAIM',
    stream,
    'default',
    'dead',
    '0',
    String(entry?.id),
    'RETRYCOUNT',
    '9',
    'JUSTID',
  ])
  const bus = createBus({ streamPrefix, maxRetries: 3 })
  let calls = 0
  bus.subscribe(Noted, () => {
    calls += 1
  })

  await consume(bus)

  await waitFor(async () => (await bus.deadLetters.count()) === 1)
  const { deadLetters } = await bus.deadLetters.list()
  expect(deadLetters[0]).toMatchObject({ reason: 'delivery_limit_exceeded', attempts: 9, aggregateId: 'a' })
  expect(calls).toBe(0)
})

/** Waits until this key was read a number of times. */
async function polled(key: string, times: number): Promise<void> {
  const client = await connectClient()
  const { promise, resolve } = Promise.withResolvers<void>()
  let count = 0
  await client.monitor((command) => {
    if (!command.includes(key)) return
    count += 1
    if (count === times) resolve()
  })
  await promise
}

const NOTHING = { checked: 0, claimed: 0, reprocessed: 0, dlq: 0, failed: 0 }

it('recovers nothing while the group is paused, whether the bus consumes or not', async () => {
  const streamPrefix = await publishedStream(3)
  await readAndDie(streamPrefix, 'dead', 3)
  const seen: number[] = []
  const buses = [600_000, 600_000].map((pendingIdleMs) => createBus({ streamPrefix, pendingIdleMs }))
  const [idle, consuming] = buses
  for (const bus of buses) bus.subscribe(Noted, ({ n }) => seen.push(n), { name: 'notes' })
  await idle?.admin.pause('default', { by: 'ada' })
  if (consuming !== undefined) await consume(consuming)

  for (const bus of buses) expect(await bus.recoverPendingMessages({ minIdleTimeMs: 0 })).toEqual(NOTHING)

  expect(seen).toEqual([])
  await idle?.admin.resume('default')
  expect(await idle?.recoverPendingMessages({ minIdleTimeMs: 0 })).toMatchObject({ reprocessed: 3 })
  expect(seen).toEqual([0, 1, 2])
})

it.each([true, false])('ends a recovery when the group is paused; the bus consumes: %s', async (consumes) => {
  const streamPrefix = await publishedStream(3)
  await readAndDie(streamPrefix, 'dead', 3)
  const gate = Promise.withResolvers<void>()
  const seen: number[] = []
  const bus = createBus({ streamPrefix, pendingIdleMs: 600_000 })
  bus.subscribe(
    Noted,
    async ({ n }) => {
      seen.push(n)
      await gate.promise
    },
    { name: 'notes' },
  )
  if (consumes) await consume(bus)
  const recovery = bus.recoverPendingMessages({ minIdleTimeMs: 0 })
  await waitFor(() => seen.length === 1)

  await bus.admin.pause('default', { by: 'ada' })
  await polled(`${streamPrefix}:stream:control:default`, 2)
  gate.resolve()

  expect(await recovery).toEqual({ checked: 3, claimed: 3, reprocessed: 1, dlq: 0, failed: 2 })
  expect(seen).toEqual([0])
})

it.each(['shutdown', 'stopConsuming'] as const)('ends a recovery with %s', async (stop) => {
  const streamPrefix = await publishedStream(3)
  await readAndDie(streamPrefix, 'dead', 3)
  const seen: number[] = []
  const gate = Promise.withResolvers<void>()
  const bus = createBus({ streamPrefix, pendingIdleMs: 600_000 })
  bus.subscribe(Noted, async ({ n }) => {
    seen.push(n)
    await gate.promise
  })
  const recovery = bus.recoverPendingMessages({ minIdleTimeMs: 0 })
  await waitFor(() => seen.length === 1)

  const stopped = bus[stop]()
  gate.resolve()
  await stopped

  expect(await recovery).toEqual({ checked: 3, claimed: 3, reprocessed: 1, dlq: 0, failed: 2 })
  const heir = createBus({ streamPrefix })
  heir.subscribe(Noted, ({ n }) => seen.push(n))
  await consume(heir)
  await waitFor(() => seen.length === 3)
  expect(seen).toEqual([0, 1, 2])
})

it('renews the leases of what it recovers, so that no other consumer takes it over', async () => {
  const streamPrefix = await publishedStream(1)
  await readAndDie(streamPrefix, 'dead', 1)
  const gate = Promise.withResolvers<void>()
  const runs: string[] = []
  const subscribed = (name: string) => {
    const bus = createBus({ streamPrefix, pendingIdleMs: 300 })
    bus.subscribe(Noted, async ({ n }) => {
      runs.push(`${name} ${n}`)
      if (name === 'slow') await gate.promise
    })
    return bus
  }
  const recovery = subscribed('slow').recoverPendingMessages({ minIdleTimeMs: 0 })
  await waitFor(() => runs.length === 1)
  const other = await consume(subscribed('other'))
  // Three leases pass, and with them three sweeps of the other consumer.
  for (let n = 1; n <= 3; n += 1) {
    const before = Date.now()
    await other.publish(notes('b', n + 1, n))
    await waitFor(() => runs.includes(`other ${n}`) && Date.now() - before > 300)
  }
  gate.resolve()

  expect(await recovery).toMatchObject({ reprocessed: 1 })
  expect(runs).toEqual(['slow 0', 'other 1', 'other 2', 'other 3'])
})
