import { expect, it } from 'vitest'
import { PublishError } from '../../../src/index.ts'
import { paced } from '../../support/pace.ts'
import { waitFor } from '../../support/wait-for.ts'
import { captured } from '../../wire/captured.ts'
import { connectClient, consume, createBus, freshPrefix, launchRedis, Noted, notes } from '../scene.ts'

async function publishError(promise: Promise<void>): Promise<PublishError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof PublishError) return error
    throw error
  }
  throw new Error('expected the publish to reject')
}

it('writes the fields of eventsource-py in the same order', async () => {
  const streamPrefix = freshPrefix()
  const bus = createBus({ streamPrefix })
  const event = new Noted({
    aggregateId: '0a0a0a0a-0000-4000-8000-00000000000a',
    n: 1,
    tenantId: '7e7e7e7e-0000-4000-8000-000000000001',
    occurredAt: new Date('2025-01-02T03:04:05.678Z'),
  })

  await bus.publish([event, new Noted({ aggregateId: 'a', n: 2 })])

  const client = await connectClient()
  const raw = await client.sendCommand(['XRANGE', `${streamPrefix}:stream`, '-', '+'])
  const [[, fields], [, second]] = raw as unknown as [[string, string[]], [string, string[]]]
  const expected = [...Object.keys(captured('redis', 'publish/full').message.headers), 'payload']
  expect(fields.filter((_field, index) => index % 2 === 0)).toEqual(expected)
  expect(fields).toContain('2025-01-02T03:04:05.678000+00:00')
  expect(second[second.indexOf('tenant_id') + 1]).toBe('')
})

it('reports notStored while the server is out of memory, and resumes when memory is free', async () => {
  const broker = await launchRedis('maxmemory 0', 'maxmemory-policy noeviction')
  const streamPrefix = freshPrefix()
  const bus = createBus({ redisUrl: broker.url, streamPrefix })
  const seen: number[] = []
  bus.subscribe(Noted, (event) => seen.push(event.n))
  await consume(bus)
  await bus.publish(notes('a', 3))
  const client = await connectClient(broker.url)
  await client.configSet('maxmemory', '1')

  const error = await publishError(bus.publish(notes('b', 2)))
  await client.configSet('maxmemory', '0')
  await bus.publish(notes('c', 1))

  expect(error.outcomes.map(({ status }) => status)).toEqual(['notStored', 'notStored'])
  expect(error.message).toMatch(/OOM/)
  await waitFor(() => seen.length === 4)
  expect(await client.xLen(`${streamPrefix}:stream`)).toBe(4)
})

it('waits for an unavailable server, and rejects at publishTimeoutMs', async () => {
  const broker = await launchRedis()
  const bus = createBus({ redisUrl: broker.url, publishTimeoutMs: 400 })
  await bus.publish(notes('a', 1))
  await broker.kill()
  await waitFor(() => !bus.isConnected)

  const error = await publishError(bus.publish(notes('a', 2, 1)))
  await broker.start()
  await waitFor(() => bus.isConnected)
  await bus.publish(notes('a', 3, 2))

  expect(error.outcomes.map(({ status }) => status)).toEqual(['notStored'])
  expect(error.retryable).toBe(true)
  expect(bus.getStats()).toMatchObject({ eventsPublished: 2, reconnections: 1 })
})

it('reports unknown for events whose reply was lost', async () => {
  const broker = await launchRedis()
  const bus = createBus({ redisUrl: broker.url, publishTimeoutMs: 400, socketTimeoutMs: 30_000 })
  await bus.publish(notes('a', 1))
  await broker.freeze()

  const error = await publishError(bus.publish(notes('a', 2, 1)))
  await broker.thaw()

  expect(error.outcomes.map(({ status }) => status)).toEqual(['unknown'])
})

it('reports exactly the events of a batch that failed', async () => {
  const streamPrefix = freshPrefix()
  const bus = createBus({ streamPrefix })
  await bus.connect()
  const client = await connectClient()
  const stream = `${streamPrefix}:stream`
  // Only one higher id exists, so Redis refuses the second append of the batch.
  await client.xAdd(stream, '18446744073709551615-18446744073709551614', { payload: 'last' })

  const error = await publishError(bus.publish(notes('a', 3)))

  expect(error.outcomes.map(({ status }) => status)).toEqual(['stored', 'notStored', 'notStored'])
})

it('stores no event after a later one of its aggregate, while the server refuses appends again and again', async () => {
  const broker = await launchRedis()
  const streamPrefix = freshPrefix()
  const bus = createBus({ redisUrl: broker.url, streamPrefix, publishTimeoutMs: paced(5000) })
  await bus.connect()
  const admin = await connectClient(broker.url)
  const lanes = ['a', 'b', 'c']
  const events = Array.from({ length: 2000 }, (_, n) =>
    lanes.map((aggregateId) => new Noted({ aggregateId, n })),
  ).flat()
  const phase = { isOver: false }
  const flapping = (async () => {
    while (!phase.isOver) {
      await admin.sendCommand(['REPLICAOF', '127.0.0.1', '1'])
      await admin.sendCommand(['REPLICAOF', 'NO', 'ONE'])
    }
  })()

  // One call, and the same events again in many calls.
  const outcomes = await Promise.allSettled([
    bus.publish(events),
    ...Array.from({ length: 100 }, (_, call) => bus.publish(notes(`call-${call}`, 20))),
  ])
  phase.isOver = true
  await flapping

  expect(String(await admin.sendCommand(['INFO', 'errorstats']))).toContain('errorstat_READONLY')
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(PublishError)
  }
  const entries = (await admin.xRange(`${streamPrefix}:stream`, '-', '+')) ?? []
  const stored = Map.groupBy(entries, ({ message }) => message['aggregate_id'])
  for (const [id, ofAggregate] of stored) {
    const numbers = ofAggregate.map(({ message }) => Number(JSON.parse(message['payload'] ?? '{}').n))
    expect([id, numbers]).toEqual([id, [...new Set(numbers)].toSorted((a, b) => a - b)])
  }
})
