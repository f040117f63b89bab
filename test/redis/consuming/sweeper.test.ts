import { expect, it } from 'vitest'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, consume, createBus, Noted } from '../scene.ts'
import { publishedStream, readAndDie } from './pending.ts'

it('takes over the entries of a dead consumer on its own, and counts them', async () => {
  const streamPrefix = await publishedStream(5)
  await readAndDie(streamPrefix, 'dead', 5)
  const bus = createBus({ streamPrefix })
  const seen: number[] = []
  bus.subscribe(Noted, (event) => seen.push(event.n))

  await consume(bus)

  await waitFor(() => seen.length === 5, { timeoutMs: 10_000, describe: () => `saw ${seen}` })
  expect(bus.getStats().messagesRecovered).toBe(5)
})

it('removes a dead consumer only after its entries are taken over', async () => {
  const streamPrefix = await publishedStream(2)
  await readAndDie(streamPrefix, 'dead', 2)
  const bus = createBus({ streamPrefix, blockMs: 50, pendingIdleMs: 200 })
  bus.subscribe(Noted, () => undefined)
  const client = await connectClient()

  await consume(bus)

  await waitFor(async () => {
    const reply = await client.sendCommand(['XINFO', 'CONSUMERS', `${streamPrefix}:stream`, 'default'])
    return !JSON.stringify(reply).includes('"dead"')
  })
  expect(bus.getStats().eventsProcessedSuccess).toBe(2)
})

it('takes over at once the entries of an earlier process of the same consumer name', async () => {
  const streamPrefix = await publishedStream(3)
  await readAndDie(streamPrefix, 'worker-1', 3)
  const bus = createBus({ streamPrefix, consumerName: 'worker-1', pendingIdleMs: 600_000 })
  const seen: number[] = []
  bus.subscribe(Noted, (event) => seen.push(event.n))

  await consume(bus)

  await waitFor(() => seen.length === 3)
})
