import { expect, it } from 'vitest'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, consume, createBus, Noted } from '../scene.ts'
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
