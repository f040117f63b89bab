import { expect, it } from 'vitest'
import { paced } from '../../support/pace.ts'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, consume, createBus, freshPrefix, Noted, notes } from '../scene.ts'

/** The fields of XINFO GROUPS, by group. */
async function xinfo(client: Awaited<ReturnType<typeof connectClient>>, key: string) {
  const groups = await client.xInfoGroups(key)
  return groups.map((group) => [String(group.name), Number(Reflect.get(group, 'lag')), Number(group.pending)])
}

it('reports the lag and the events in flight that redis-cli reports', async () => {
  const streamPrefix = freshPrefix()
  const stream = `${streamPrefix}:stream`
  const client = await connectClient()
  await client.xGroupCreate(stream, 'a', '0', { MKSTREAM: true })
  await client.xGroupCreate(stream, 'b', '0')
  const bus = createBus({ streamPrefix })
  await bus.publish(notes('x', 5))
  await client.xReadGroup('b', 'plain client', { key: stream, id: '>' }, { COUNT: 2 })

  const groups = await bus.admin.groups()

  expect(groups.map(({ name, lag, inFlight }) => [name, lag, inFlight])).toEqual(await xinfo(client, stream))
  const [entry] = (await client.xRange(stream, '-', '+')) ?? []
  for (const { oldestUnsettledAt } of groups)
    expect(oldestUnsettledAt).toEqual(new Date(Number(entry?.id.split('-')[0])))
})

it('counts no entry that was trimmed before the group had read it, and counts where Redis does not', async () => {
  const streamPrefix = freshPrefix()
  const stream = `${streamPrefix}:stream`
  const client = await connectClient()
  await client.xGroupCreate(stream, 'unread', '0', { MKSTREAM: true })
  await client.xGroupCreate(stream, 'half', '0')
  const bus = createBus({ streamPrefix })
  await bus.publish(notes('x', 10))
  const ids = ((await client.xRange(stream, '-', '+')) ?? []).map(({ id }) => id)
  await client.xReadGroup('half', 'plain client', { key: stream, id: '>' }, { COUNT: 3, NOACK: true })
  const lags = async () => (await bus.admin.groups()).map(({ name, lag }) => [name, lag])

  // An entry that is deleted by hand makes Redis forget the lag.
  await client.xDel(stream, ids[5] ?? '')
  expect(await lags()).toEqual([
    ['half', 6],
    ['unread', 9],
  ])
  await client.xTrim(stream, 'MAXLEN', 2)
  expect(await lags()).toEqual([
    ['half', 2],
    ['unread', 2],
  ])
  await client.xTrim(stream, 'MAXLEN', 0)
  expect(await lags()).toEqual([
    ['half', 0],
    ['unread', 0],
  ])
})

it('counts a consumer of another library, and keeps its group', async () => {
  const streamPrefix = freshPrefix()
  const stream = `${streamPrefix}:stream`
  const client = await connectClient()
  await client.xGroupCreate(stream, 'python', '0', { MKSTREAM: true })
  await client.xReadGroup('python', 'worker-1', { key: stream, id: '>' }, { COUNT: 1 })
  await client.xGroupCreateConsumer(stream, 'python', 'worker-1')
  const { admin } = createBus({ streamPrefix })

  expect(await admin.group('python')).toMatchObject({ members: 1 })
  await expect(admin.deleteGroup('python')).rejects.toMatchObject({ code: 'GROUP_IN_USE' })
  expect(await client.xInfoGroups(stream)).toHaveLength(1)
})

it('counts no consumer that has stopped, also if it has left entries', async () => {
  const streamPrefix = freshPrefix()
  const bus = createBus({ streamPrefix, consumerGroup: 'billing' })
  const started = Promise.withResolvers<void>()
  const hanging = Promise.withResolvers<void>()
  bus.subscribe(Noted, async () => {
    started.resolve()
    await hanging.promise
  })
  await consume(bus)
  await bus.publish(notes('x', 3))
  await started.promise

  await bus.stopConsuming({ timeoutMs: 100 })

  expect(await bus.admin.group('billing')).toMatchObject({ members: 0, inFlight: 3 })
  hanging.resolve()
})

it('leaves no key of a deleted group, and names the owner of each partition', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const options = { streamPrefix, partitions: 2, consumerGroup: 'sales' }
  const bus = createBus({ ...options, consumerName: 'worker-1', maxRetries: 0 })
  bus.subscribe(
    Noted,
    () => {
      throw new Error('planned')
    },
    { name: 'waits', retryDelaysMs: [600_000, 600_000], longWaits: { fromMs: 1000, order: 'keep' } },
  )
  await consume(bus)
  await bus.publish([...notes('a', 2), ...notes('b', 2)])
  await expect.poll(() => bus.countWaiting(), { timeout: 10_000 }).toBe(4)
  const { partitions } = await bus.admin.group('sales')
  expect(partitions.map(({ consumer }) => consumer)).toEqual(['worker-1', 'worker-1'])
  await bus.shutdown()

  expect((await createBus(options).admin.deleteGroup('sales')).retriesWaiting).toBe(4)

  const keys = await client.keys(`{${streamPrefix}}*`)
  expect(keys.toSorted()).toEqual([`{${streamPrefix}}:stream:0of2`, `{${streamPrefix}}:stream:1of2`])
})

it('deletes a group whose dead letters hold places in orders, and keeps the dead letters', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const options = { streamPrefix, consumerGroup: 'sales' }
  const fail = () => {
    throw new Error('planned')
  }
  const parking = async (consumerGroup: string) => {
    const bus = createBus({ streamPrefix, consumerGroup })
    bus.subscribe(Noted, fail, { name: 'parks', maxRetries: 0, onDeadLetter: 'park' })
    await consume(bus)
    return bus
  }
  const [bus, other] = [await parking('sales'), await parking('other')]
  await bus.publish(notes('a', 3))
  for (const one of [bus, other]) await expect.poll(() => one.countWaiting(), { timeout: 10_000 }).toBe(2)
  await bus.shutdown()

  await createBus(options).admin.deleteGroup('sales')

  expect((await client.keys(`${streamPrefix}*`)).filter((key) => key.includes(':sales'))).toEqual([])
  expect(await client.hLen(`${streamPrefix}:stream_dlq:parked`)).toBe(1)
  expect(await client.xLen(`${streamPrefix}:stream_dlq`)).toBe(2)
  expect(await other.countWaiting()).toBe(2)
})

it.each(['none', 'aggregate'] as const)(
  'counts no stopped worker as a member, although it left an event, with the ordering %s',
  async (ordering) => {
    const options = { streamPrefix: freshPrefix(), ordering }
    const started = Promise.withResolvers<void>()
    const bus = createBus({ ...options, consumerName: 'w0', deadLetterStacks: false })
    bus.subscribe(Noted, async (_event, { signal }) => {
      started.resolve()
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    })
    await consume(bus)
    await bus.publish([new Noted({ aggregateId: 'a', n: 1 })])
    await started.promise

    await bus.shutdown({ timeoutMs: paced(2000) })

    const observer = createBus(options)
    await observer.connect()
    expect(await observer.admin.groups()).toMatchObject([{ members: 0, inFlight: 1 }])

    const handled: number[] = []
    const next = createBus({ ...options, consumerName: 'w1' })
    next.subscribe(Noted, ({ n }) => void handled.push(n))
    await consume(next)
    await waitFor(() => expect(handled).toEqual([1]))
    await waitFor(async () =>
      expect(await observer.admin.groups()).toMatchObject([{ members: 1, inFlight: 0 }]),
    )
  },
)
