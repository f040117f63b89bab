import { expect, it, onTestFinished } from 'vitest'
import { PublishError } from '../../../src/index.ts'
import { launchBroker } from '../../brokers/launch-broker.ts'
import { waitFor } from '../../support/wait-for.ts'
import { captured } from '../../wire/captured.ts'
import { connectClient, consume, createBus, freshPrefix, Noted, notes } from '../scene.ts'

async function publishError(promise: Promise<void>): Promise<PublishError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof PublishError) return error
    throw error
  }
  throw new Error('the publish was to fail')
}

it('writes the fields of eventsource-py, in its order', async () => {
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

it('says of a full server that nothing was stored, and goes on when there is room', async () => {
  const broker = await launchBroker('redis', { config: ['maxmemory 0', 'maxmemory-policy noeviction'] })
  onTestFinished(() => broker.dispose())
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

it('waits for a server that is loading or away, and rejects in time when it stays away', async () => {
  const broker = await launchBroker('redis')
  onTestFinished(() => broker.dispose())
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

it('says of events whose answer is lost that they may be stored', async () => {
  const broker = await launchBroker('redis')
  onTestFinished(() => broker.dispose())
  const bus = createBus({ redisUrl: broker.url, publishTimeoutMs: 400, socketTimeoutMs: 30_000 })
  await bus.publish(notes('a', 1))
  await broker.freeze()

  const error = await publishError(bus.publish(notes('a', 2, 1)))
  await broker.thaw()

  expect(error.outcomes.map(({ status }) => status)).toEqual(['unknown'])
})

it('reports of a batch exactly the events that failed', async () => {
  const streamPrefix = freshPrefix()
  const bus = createBus({ streamPrefix })
  await bus.connect()
  const client = await connectClient()
  const stream = `${streamPrefix}:stream`
  // No id is higher than this one but one, so the second append of the batch is refused.
  await client.xAdd(stream, '18446744073709551615-18446744073709551614', { payload: 'last' })

  const error = await publishError(bus.publish(notes('a', 3)))

  expect(error.outcomes.map(({ status }) => status)).toEqual(['stored', 'notStored', 'notStored'])
})
