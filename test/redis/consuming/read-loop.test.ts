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

it('renews the leases of the page that it has read ahead while it cannot complete an entry of the page before', async () => {
  const streamPrefix = freshPrefix()
  const stream = `${streamPrefix}:stream`
  const { proxy, redisUrl } = await startProxy()
  let isRefusing = true
  proxy.rewriteRequests((chunk) => {
    if (!isRefusing || !chunk.includes('XRANGE')) return chunk
    return Buffer.from(chunk.toString('latin1').replaceAll('XRANGE', 'XRANGX'), 'latin1')
  })
  const options = { streamPrefix, batchSize: 1, maxEntryBytes: 1_100_000 }
  const reading = createBus({ ...options, redisUrl })
  const seen: number[] = []
  reading.subscribe(Noted, ({ n }) => seen.push(n), { name: 'notes' })
  const client = await connectClient()
  // The reply with its page leaves it out, so it is read again by itself.
  await client.sendCommand(['XADD', stream, '*', 'aggregate_id', 'a', 'payload', Buffer.alloc(3e6, 'x')])
  await createBus({ streamPrefix }).publish(notes('b', 1))

  await consume(reading)
  const pending = async () => client.xPendingRange(stream, 'default', '-', '+', 10)
  await waitFor(async () => (await pending()).length === 2)
  const other = createBus(options)
  const stolen: number[] = []
  other.subscribe(Noted, ({ n }) => stolen.push(n), { name: 'notes' })
  await consume(other)
  let renewals = 0
  let lastIdle = 0
  await waitFor(async () => {
    const idle = (await pending())[1]?.millisecondsSinceLastDelivery ?? 0
    if (idle < lastIdle) renewals += 1
    lastIdle = idle
    return renewals >= 3
  })
  expect(seen).toEqual([])
  isRefusing = false

  await waitFor(() => seen.length === 1 && reading.getStats().messagesSentToDlq === 1)
  expect(stolen).toEqual([])
  expect(other.getStats()).toMatchObject({ messagesRecovered: 0, eventsConsumed: 0 })
})
