import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { paced } from '../support/pace.ts'
import { waitFor } from '../support/wait-for.ts'
import { type HandledNote, inversions, startPartitionWorker } from './partitions.ts'
import { connectClient, consume, createBus, freshPrefix, Noted } from './scene.ts'

const PARTITIONS = 8
const AGGREGATES = 40

/** Events of all aggregates in turn; `n` counts the events of each. */
function turns(count: number, from = 0): readonly Noted[] {
  return Array.from(
    { length: count * AGGREGATES },
    (_, index) =>
      new Noted({ aggregateId: `a${index % AGGREGATES}`, n: from + Math.floor(index / AGGREGATES) }),
  )
}

/** The number of partitions of each owner, from the server. */
async function sharesOf(
  prefix: string,
  group = 'default',
  partitions = PARTITIONS,
): Promise<readonly number[]> {
  const client = await connectClient()
  const shared = partitions === 1 ? `${prefix}:stream` : `{${prefix}}:stream:of${partitions}`
  const leases = Object.values(await client.hGetAll(`${shared}:leases:${group}`))
  const owners = Map.groupBy(leases, (fence) => fence.split('#')[0])
  return Array.from(owners.values(), ({ length }) => length).toSorted((a, b) => a - b)
}

it('shares partitions evenly among four workers, keeps the order, and hands over at once when one stops', async () => {
  const streamPrefix = freshPrefix()
  const handled: HandledNote[] = []
  const workers = await Promise.all(
    ['w0', 'w1', 'w2', 'w3'].map((consumerName) => {
      const bus = createBus({ streamPrefix, consumerName, partitions: PARTITIONS, pendingIdleMs: 20_000 })
      bus.subscribe(Noted, async ({ aggregateId, n }) => {
        handled.push({ consumer: consumerName, aggregateId, n })
        await delay(Math.random() * 2)
      })
      return consume(bus)
    }),
  )
  const [first, ...others] = workers
  if (first === undefined) throw new Error('expected four workers')
  await waitFor(async () => expect(await sharesOf(streamPrefix)).toEqual([2, 2, 2, 2]))

  for (let turn = 0; turn < 20; turn += 1) await first.publish(turns(1, turn))
  await waitFor(() => expect(handled).toHaveLength(20 * AGGREGATES))
  const publishing = others[0]?.publish(turns(10, 20))
  await first.shutdown()
  const stoppedAt = performance.now()
  await waitFor(async () => expect(await sharesOf(streamPrefix)).toEqual([2, 3, 3]), { intervalMs: 10 })
  const handoverMs = performance.now() - stoppedAt
  await publishing
  await waitFor(() =>
    expect(new Set(handled.map(({ aggregateId, n }) => `${aggregateId} ${n}`)).size).toBe(30 * AGGREGATES),
  )

  expect(inversions(handled)).toEqual([])
  expect(handled).toHaveLength(30 * AGGREGATES)
  expect(new Set(handled.map(({ consumer }) => consumer)).size).toBe(4)
  expect(handoverMs).toBeLessThan(paced(1000))
  expect(await others[0]?.health()).toMatchObject({ status: 'up' })
})

it('takes the partitions of a killed process over in less than 5 s, in order, and robs no blocked process', async () => {
  const streamPrefix = freshPrefix()
  const log = `${streamPrefix}:log`
  const client = await connectClient()
  const start = (consumerName: string) =>
    startPartitionWorker({ streamPrefix, consumerName, partitions: PARTITIONS }, log)
  const handled = async () =>
    (await client.lRange(log, 0, -1)).map((line) => {
      const [consumer = '', aggregateId = '', n = ''] = line.split(' ')
      return { consumer, aggregateId, n: Number(n) }
    })
  const publisher = createBus({ streamPrefix, partitions: PARTITIONS })
  const [victim] = [start('victim'), start('blocked'), start('other')]
  await waitFor(async () => expect(await sharesOf(streamPrefix)).toEqual([2, 3, 3]), { timeoutMs: 20_000 })

  let isOver = false
  let turn = 0
  const publishing = (async () => {
    for (; !isOver; turn += 1) {
      await publisher.publish(turns(1, turn))
      await delay(100)
    }
  })()
  await waitFor(async () => (await handled()).some(({ consumer, n }) => consumer === 'victim' && n > 5), {
    timeoutMs: 20_000,
  })
  victim.kill('SIGKILL')
  const killedAt = performance.now()
  await once(victim, 'exit')
  const own = new Set(
    (await handled()).filter(({ consumer }) => consumer === 'victim').map((note) => note.aggregateId),
  )
  await waitFor(
    async () =>
      (await handled()).some(({ consumer, aggregateId }) => consumer !== 'victim' && own.has(aggregateId)),
    { timeoutMs: 20_000, intervalMs: 20 },
  )
  const takeoverMs = performance.now() - killedAt
  isOver = true
  await publishing
  const expected = turn * AGGREGATES
  const distinct = async () =>
    new Set((await handled()).map(({ aggregateId, n }) => `${aggregateId} ${n}`)).size
  await waitFor(async () => (await distinct()) === expected, { timeoutMs: 20_000 })

  const all = await handled()
  expect(inversions(all)).toEqual([])
  // A handler that blocks its process for 4 s keeps its partitions.
  const repeated = all.length - expected
  const ofVictim = all.filter(({ aggregateId }) => own.has(aggregateId)).length - own.size * turn
  expect(repeated).toBe(ofVictim)
  expect(takeoverMs).toBeLessThan(paced(5000))
})

it('neither acknowledges, nor retries, nor dead-letters, nor reads, once another consumer has its partition', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const bus = createBus({ streamPrefix, ordering: 'aggregate', maxRetries: 1, pendingIdleMs: 20_000 })
  const started = Promise.withResolvers<void>()
  const gate = Promise.withResolvers<void>()
  const seen: number[] = []
  let isPoison = false
  bus.subscribe(Noted, async ({ n }) => {
    seen.push(n)
    if (seen.length === 3) started.resolve()
    await gate.promise
    if (isPoison && n === 1) throw new Error('poison')
  })
  await consume(bus)
  await bus.publish(['a', 'b', 'c'].map((aggregateId, n) => new Noted({ aggregateId, n })))
  await started.promise

  // What a server does for another consumer while this process stands still.
  await client.hSet(`${streamPrefix}:stream:leases:default`, '0', 'another#1')
  await client.hSet(`${streamPrefix}:stream:members:default`, 'another', '9999999999999 1@x:1 shares another')
  isPoison = true
  gate.resolve()
  await bus.publish([new Noted({ aggregateId: 'a', n: 3 })])
  await waitFor(() => expect(bus.getStats().eventsProcessedSuccess).toBe(2))
  await waitFor(async () => expect((await bus.health()).checks).toBeDefined())
  await delay(1000)

  expect(seen).toEqual([0, 1, 2])
  expect(await client.xPending(`${streamPrefix}:stream`, 'default')).toMatchObject({ pending: 3 })
  expect(await bus.deadLetters.count()).toBe(0)
})

it('has one active worker on a stream without partitions if the group wants order', async () => {
  const streamPrefix = freshPrefix()
  const handled: HandledNote[] = []
  const start = (consumerName: string) => {
    const bus = createBus({ streamPrefix, consumerName, ordering: 'aggregate', pendingIdleMs: 20_000 })
    bus.subscribe(Noted, async ({ aggregateId, n }) => {
      handled.push({ consumer: consumerName, aggregateId, n })
      await delay(1)
    })
    return consume(bus)
  }
  const active = await start('w0')
  const standby = await start('w1')
  await active.publish(turns(5))
  await waitFor(() => expect(handled).toHaveLength(5 * AGGREGATES))
  expect(new Set(handled.map(({ consumer }) => consumer))).toEqual(new Set(['w0']))

  await active.shutdown()
  await standby.publish(turns(5, 5))
  await waitFor(() => expect(handled).toHaveLength(10 * AGGREGATES))

  expect(inversions(handled)).toEqual([])
})
