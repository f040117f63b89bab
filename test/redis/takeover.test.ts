import { once } from 'node:events'
import { expect, inject, it } from 'vitest'
import { paced } from '../support/pace.ts'
import { waitFor } from '../support/wait-for.ts'
import { startPartitionWorker } from './partitions.ts'
import { connectClient, consume, consumingBus, createBus, freshPrefix, notes } from './scene.ts'

/** As by default, so that only the knowledge that a consumer is dead can be faster. */
const pendingIdleMs = 60_000

it('takes the events of a killed process over in less than 5 s, and those of a slow handler never', async () => {
  const streamPrefix = freshPrefix()
  const log = `${streamPrefix}:log`
  const client = await connectClient()
  const publisher = createBus({ streamPrefix })
  const handlers = () => client.lLen(log)
  const victim = startPartitionWorker({ streamPrefix, consumerName: 'victim' }, log, 600_000)
  await waitFor(async () => (await publisher.getStreamInfo()).activeConsumers === 1, { timeoutMs: 20_000 })
  await publisher.publish(['a', 'b', 'c'].flatMap((aggregateId) => notes(aggregateId, 5)))
  await waitFor(async () => (await handlers()) === 3)
  const { bus, seen } = await consumingBus(inject('redisUrl'), { streamPrefix, pendingIdleMs })

  // Both have beaten for longer than the time after which a dead consumer is found.
  const until = performance.now() + 5000
  await waitFor(() => performance.now() >= until, { timeoutMs: 10_000 })
  expect(seen).toEqual([])
  victim.kill('SIGKILL')
  const killedAt = performance.now()
  await once(victim, 'exit')
  await waitFor(() => seen.length === 15, { timeoutMs: 20_000, intervalMs: 20 })
  const takeoverMs = performance.now() - killedAt

  expect(takeoverMs).toBeLessThan(paced(5000))
  await waitFor(async () => expect((await bus.getStreamInfo()).activeConsumers).toBe(1))
})

it('hands its events over at once when it stops', async () => {
  const streamPrefix = freshPrefix()
  const stopping = createBus({ streamPrefix, pendingIdleMs })
  const never = Promise.withResolvers<void>()
  let started = 0
  stopping.subscribeToAllEvents(async () => {
    started += 1
    await never.promise
  })
  await consume(stopping)
  await stopping.publish(['a', 'b', 'c'].flatMap((aggregateId) => notes(aggregateId, 5)))
  await waitFor(() => started === 3)
  const { seen } = await consumingBus(inject('redisUrl'), { streamPrefix, pendingIdleMs })

  await stopping.shutdown({ timeoutMs: 200 })
  const stoppedAt = performance.now()
  await waitFor(() => seen.length === 15, { intervalMs: 10 })

  expect(performance.now() - stoppedAt).toBeLessThan(paced(1500))
})

it('leaves the events of a consumer whose predecessor of the same name is found dead', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const keys = {
    members: `${streamPrefix}:stream:members:default`,
    departed: `${streamPrefix}:stream:departed:default`,
  }
  const members = (count: number) =>
    waitFor(async () => expect(await client.hLen(keys.members)).toBe(count), {
      timeoutMs: 20_000,
      intervalMs: 5,
    })
  const other = createBus({ streamPrefix, pendingIdleMs })
  const handledByOther: string[] = []
  other.subscribeToAllEvents(({ eventId }) => handledByOther.push(eventId))
  await consume(other)
  const victim = startPartitionWorker({ streamPrefix, consumerName: 'first' }, `${streamPrefix}:log`, 600_000)
  await members(2)
  victim.kill('SIGKILL')
  await once(victim, 'exit')
  const successor = createBus({ streamPrefix, pendingIdleMs, consumerName: 'first' })
  const held: string[] = []
  const end = Promise.withResolvers<void>()
  successor.subscribeToAllEvents(async ({ eventId }) => {
    held.push(eventId)
    await end.promise
  })
  await consume(successor)
  await waitFor(async () => {
    await successor.publish(Array.from({ length: 20 }, (_, n) => notes(`a${n}`, 1)).flat())
    return held.length
  })
  await members(3)

  await members(2)
  const beats = await client.hGetAll(keys.members)
  await waitFor(async () => {
    const later = await client.hGetAll(keys.members)
    const departed = await client.sMembers(keys.departed)
    return departed.length === 0 && Object.keys(beats).every((token) => later[token] !== beats[token])
  })
  end.resolve()

  expect(handledByOther.filter((eventId) => held.includes(eventId))).toEqual([])
})
