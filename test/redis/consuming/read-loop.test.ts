import { expect, it } from 'vitest'
import { waitFor } from '../../support/wait-for.ts'
import {
  connectClient,
  consume,
  createBus,
  freshPrefix,
  Noted,
  notes,
  startProxy,
  withLatency,
} from '../scene.ts'

/** Appends entries with a byte that is not valid UTF-8, so that the bus has to read them again as bytes. */
async function appendMangled(streamPrefix: string, count: number): Promise<void> {
  const client = await connectClient()
  const fields = ['event_type', 'Noted', 'aggregate_id', 'a', 'payload', Buffer.from([0xff])]
  for (let n = 0; n < count; n += 1)
    await client.sendCommand(['XADD', `${streamPrefix}:stream`, '*', ...fields])
}

it('takes over entries of a lost reply at once, before later entries', async () => {
  const streamPrefix = freshPrefix()
  const { proxy, redisUrl } = await startProxy()
  const bus = createBus({ streamPrefix, redisUrl, pendingIdleMs: 60_000 })
  const seen: number[] = []
  bus.subscribe(Noted, ({ n }) => seen.push(n))
  await consume(bus)
  const publisher = createBus({ streamPrefix })
  await publisher.publish(notes('a', 1))
  await waitFor(() => seen.length === 1)
  const client = await connectClient()
  const pending = async () => (await client.xPending(`${streamPrefix}:stream`, 'default')).pending

  await waitFor(async () => (await pending()) === 0)
  proxy.loseAnswers(true)
  await publisher.publish(notes('a', 5, 1))
  await waitFor(async () => (await pending()) > 0)
  await publisher.publish(notes('a', 9, 5))
  proxy.loseAnswers(false)

  await waitFor(() => seen.length === 9, { timeoutMs: 10_000, describe: () => `saw ${seen}` })
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
})

it('does not take over its own entries while it reads their bytes again', async () => {
  const streamPrefix = freshPrefix()
  const { proxy, redisUrl } = await startProxy()
  const bus = createBus({ streamPrefix, redisUrl })
  bus.subscribe(Noted, () => undefined)
  await consume(bus)

  // Read one after the other, the entries would take 4 s, several times the lease.
  proxy.degrade(withLatency(100))
  await appendMangled(streamPrefix, 20)

  await waitFor(() => bus.getStats().messagesSentToDlq === 20, { timeoutMs: 15_000 })
  expect(bus.getStats()).toMatchObject({ eventsProcessedFailed: 20, messagesRecovered: 0, inFlight: 0 })
})

it('handles a whole page after a failure to read the bytes of one entry again', async () => {
  const streamPrefix = freshPrefix()
  const { proxy, redisUrl } = await startProxy()
  const bus = createBus({ streamPrefix, redisUrl, pendingIdleMs: 600_000 })
  const seen: number[] = []
  bus.subscribe(Noted, ({ n }) => seen.push(n))
  let refused = 0
  proxy.rewriteRequests((chunk) => {
    if (refused > 0 || !chunk.includes('XRANGE')) return chunk
    refused += 1
    return Buffer.from(chunk.toString('latin1').replace('XRANGE', 'XRANGX'), 'latin1')
  })
  const publisher = createBus({ streamPrefix })
  await publisher.publish(notes('a', 2))
  await appendMangled(streamPrefix, 1)
  await publisher.publish(notes('a', 4, 2))

  await consume(bus)

  await waitFor(() => seen.length === 4 && bus.getStats().messagesSentToDlq === 1)
  expect([seen, refused]).toEqual([[0, 1, 2, 3], 1])
})
