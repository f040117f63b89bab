import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { auditAndInvoice } from '../support/audit-and-invoice.ts'
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

it('handles each event once although it lost its partition before the acknowledgment, if the partition returns', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const bus = createBus({ streamPrefix, ordering: 'aggregate', pendingIdleMs: 20_000 })
  const gates = new Map(['refused', 'lost', 'late'].map((id) => [id, Promise.withResolvers<void>()]))
  const runs: string[] = []
  bus.subscribe(Noted, async ({ aggregateId }) => {
    runs.push(aggregateId)
    await gates.get(aggregateId)?.promise
  })
  const finished = async (id: string, count: number) => {
    gates.get(id)?.resolve()
    await waitFor(() => expect(bus.getStats().eventsProcessedSuccess).toBe(count))
  }
  await consume(bus)
  await bus.publish([...gates.keys()].map((aggregateId, n) => new Noted({ aggregateId, n })))
  await waitFor(() => expect(runs).toHaveLength(3))

  // What a server does for another consumer while this process stands still, and when that consumer dies.
  await client.hSet(`${streamPrefix}:stream:leases:default`, '0', 'another#1')
  await client.hSet(`${streamPrefix}:stream:members:default`, 'another', '9999999999999 1@x:1 shares another')
  await finished('refused', 1)
  await waitFor(async () => expect((await bus.health()).checks.consuming.detail).toMatch(/other consumers/))
  await finished('lost', 2)
  expect(await client.xPending(`${streamPrefix}:stream`, 'default')).toMatchObject({ pending: 3 })
  await client.hDel(`${streamPrefix}:stream:members:default`, 'another')
  await bus.publish([new Noted({ aggregateId: 'next', n: 3 })])
  await waitFor(() => expect(runs).toContain('next'))
  await finished('late', 4)
  await waitFor(async () =>
    expect(await client.xPending(`${streamPrefix}:stream`, 'default')).toMatchObject({ pending: 0 }),
  )

  expect(runs).toEqual(['refused', 'lost', 'late', 'next'])
})

it('repeats no handler that succeeded before the partition was lost, if it returns, and repeats the one that failed', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const bus = createBus({ streamPrefix, ordering: 'aggregate', pendingIdleMs: 20_000 })
  const { gate, runs } = auditAndInvoice((name, handler) => bus.subscribe(Noted, handler, { name }))
  await consume(bus)
  await bus.publish([new Noted({ aggregateId: 'a', n: 1 })])
  await waitFor(() => expect(runs).toHaveLength(2))

  // What a server does for another consumer while this process stands still, and when that consumer dies.
  await client.hSet(`${streamPrefix}:stream:leases:default`, '0', 'another#1')
  await client.hSet(`${streamPrefix}:stream:members:default`, 'another', '9999999999999 1@x:1 shares another')
  gate.resolve()
  await waitFor(() => expect(bus.getStats().inFlight).toBe(0))
  await client.hDel(`${streamPrefix}:stream:members:default`, 'another')

  await waitFor(() => expect(bus.getStats().eventsProcessedSuccess).toBe(1))
  expect(runs).toEqual(['audit', 'invoice', 'invoice'])
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

it('keeps waiting events of several partitions apart, although their entries have the same id', async () => {
  const client = await connectClient()
  const modelPrefix = freshPrefix()
  await createBus({ streamPrefix: modelPrefix }).publish([new Noted({ aggregateId: 'a', n: 0 })])
  const entries = await client.xRange(`${modelPrefix}:stream`, '-', '+')
  const fields = entries?.[0]?.message ?? {}
  const streamPrefix = freshPrefix()
  const bus = createBus({ streamPrefix, partitions: 4 })
  const attempts: number[] = []
  const longWaits = { fromMs: 100, order: 'giveUp' } as const
  const handler = (_event: Noted, { attempt }: { readonly attempt: number }) => {
    attempts.push(attempt)
    if (attempt === 1) throw new Error('planned')
  }
  bus.subscribe(Noted, handler, { name: 'waits', retryDelaysMs: [500], longWaits })
  await consume(bus)

  for (const partition of [0, 1, 2, 3])
    await client.xAdd(`{${streamPrefix}}:stream:${partition}of4`, '1-1', fields)
  await waitFor(() => expect(attempts).toHaveLength(8))

  expect(attempts.toSorted()).toEqual([1, 1, 1, 1, 2, 2, 2, 2])
})

it.each([1, 4])(
  'reports that the consumers of a group have different orderings, with %i partitions',
  async (partitions) => {
    const common = { streamPrefix: freshPrefix(), partitions }
    const notices: string[] = []
    const start = async (consumerName: string, ordering: 'aggregate' | 'none') => {
      const bus = createBus({ ...common, consumerName, ordering })
      bus.subscribe(Noted, () => undefined)
      bus.onNotice((notice) => {
        if (notice.type === 'orderingDiffers') notices.push(`${consumerName}: ${notice.detail}`)
      })
      return consume(bus)
    }
    await start('ordered', 'aggregate')
    await start('also-ordered', 'aggregate')
    await start('unordered', 'none')

    await waitFor(() => expect(notices).toHaveLength(3))
    expect(notices.find((text) => text.startsWith('ordered:'))).toBe(
      "ordered: this consumer of the group default has the ordering 'aggregate', and unordered has 'none', so the events of " +
        'an aggregate are not in order across the group; give all consumers the same ordering',
    )
    expect(notices.find((text) => text.startsWith('unordered:'))).toMatch(/ordered has 'aggregate'/)
  },
)

it('trims, counts, dead-letters and replays events of all partitions', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const common = { streamPrefix, partitions: 4 }
  const publisher = createBus({ ...common, maxLength: 400, trimIntervalMs: 20 })
  const seen = new Map<string, number>()
  let isFailing = true
  const bus = createBus({ ...common, maxRetries: 0 })
  bus.subscribe(Noted, ({ aggregateId, n }) => {
    seen.set(`${aggregateId} ${n}`, (seen.get(`${aggregateId} ${n}`) ?? 0) + 1)
    if (isFailing && n === 7) throw new Error('planned')
  })
  await consume(bus)
  await bus.stopConsuming()
  await publisher.publish(turns(25))
  const lengths = async () =>
    Promise.all([0, 1, 2, 3].map((n) => client.xLen(`{${streamPrefix}}:stream:${n}of4`)))
  const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0)

  expect(sum(await lengths())).toBe(1000)
  expect(Math.min(...(await lengths()))).toBeGreaterThan(0)
  expect((await bus.health()).checks.lag.value).toBe(1000)
  expect((await bus.getStreamInfo()).consumerGroups).toMatchObject([
    { name: 'default', lag: 1000, pending: 0 },
  ])

  await consume(bus)
  await waitFor(async () => expect(await bus.deadLetters.count()).toBe(AGGREGATES))
  await waitFor(() => expect(bus.getStats().eventsProcessedSuccess).toBe(1000 - AGGREGATES))
  const { deadLetters } = await bus.deadLetters.list({ limit: 100 })
  const sources = deadLetters.map(({ source }) => /:\dof4/.exec(source ?? '')?.[0])
  expect(new Set(sources).size).toBe(4)
  // Redis trims whole nodes of 100 entries of a stream.
  await waitFor(async () => expect(sum(await lengths())).toBeLessThanOrEqual(800))
  isFailing = false
  await bus.deadLetters.replayAll({})
  await waitFor(() => expect(bus.getStats().eventsProcessedSuccess).toBe(1000))

  expect([...seen.values()].filter((count) => count === 2)).toHaveLength(AGGREGATES)
  expect((await bus.health()).checks.lag.value).toBe(0)
})

it('takes over on request only what is pending in its own partitions', async () => {
  const common = { streamPrefix: freshPrefix(), partitions: 2, pendingIdleMs: 20_000, concurrency: 100 }
  const gate = Promise.withResolvers<void>()
  const runs: string[] = []
  const start = async (consumerName: string) => {
    const bus = createBus({ ...common, consumerName })
    bus.subscribe(Noted, async ({ aggregateId }) => {
      runs.push(aggregateId)
      await gate.promise
    })
    return consume(bus)
  }
  const [owner] = [await start('w0'), await start('w1')]
  await waitFor(async () => expect(await sharesOf(common.streamPrefix, 'default', 2)).toEqual([1, 1]))
  await owner.publish(turns(1))
  await waitFor(() => expect(runs).toHaveLength(AGGREGATES))

  const stranger = createBus({ ...common, consumerName: 'stranger' })
  stranger.subscribe(Noted, ({ aggregateId }) => void runs.push(aggregateId))
  expect(await stranger.recoverPendingMessages({ minIdleTimeMs: 0 })).toMatchObject({ claimed: 0 })
  const recovered = owner.recoverPendingMessages({ minIdleTimeMs: 0 })
  gate.resolve()
  expect(await recovered).toMatchObject({ claimed: 0 })
  expect(runs).toHaveLength(AGGREGATES)
})

it('is moved from 4 to 8 partitions by the steps in docs/ordering.md without losing an event or the order', async () => {
  const streamPrefix = freshPrefix()
  const handled: HandledNote[] = []
  const start = (consumerName: string, partitions: number) => {
    const bus = createBus({ streamPrefix, consumerName, partitions })
    bus.subscribe(Noted, async ({ aggregateId, n }) => {
      handled.push({ consumer: consumerName, aggregateId, n })
      await delay(1)
    })
    return consume(bus)
  }
  const before = await Promise.all([start('old-0', 4), start('old-1', 4)])
  const oldPublisher = createBus({ streamPrefix, partitions: 4 })
  await oldPublisher.publish(turns(5))
  // 1. The publishers get the new number. The old ones stop first.
  await oldPublisher.shutdown()
  const newPublisher = createBus({ streamPrefix, partitions: 8 })
  await newPublisher.publish(turns(5, 5))
  // 2. The old consumers handle the rest.
  await waitFor(async () =>
    expect((await before[0].getStreamInfo()).consumerGroups).toMatchObject([{ lag: 0, pending: 0 }]),
  )
  // 3. The new consumers replace them.
  await Promise.all(before.map((bus) => bus.shutdown()))
  await Promise.all([start('new-0', 8), start('new-1', 8)])
  await newPublisher.publish(turns(5, 10))
  await waitFor(() => expect(handled).toHaveLength(15 * AGGREGATES))

  expect(inversions(handled)).toEqual([])
  expect(new Set(handled.map(({ aggregateId, n }) => `${aggregateId} ${n}`)).size).toBe(15 * AGGREGATES)
})

it('shares all events of several partitions among the consumers of a group without order', async () => {
  const common = { streamPrefix: freshPrefix(), partitions: 2, ordering: 'none' } as const
  const seen: string[] = []
  const start = async (consumerName: string) => {
    const bus = createBus({ ...common, consumerName, maxInFlight: 10 })
    bus.subscribe(Noted, async () => {
      seen.push(consumerName)
      await delay(1)
    })
    return consume(bus)
  }
  // More consumers than partitions.
  const [first] = [await start('w0'), await start('w1'), await start('w2')]
  await first.publish(turns(20))
  await waitFor(() => expect(seen).toHaveLength(20 * AGGREGATES))

  expect(new Set(seen)).toEqual(new Set(['w0', 'w1', 'w2']))
})
