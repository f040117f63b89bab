import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { waitFor } from '../../support/wait-for.ts'
import {
  connectClient,
  consume,
  createBus,
  freshPrefix,
  launchRedis,
  Noted,
  notes,
  startProxy,
  withLatency,
} from '../scene.ts'

function blockEventLoop(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

it('resumes held entries in order after the server was silent for longer than a lease', async () => {
  const broker = await launchRedis()
  const streamPrefix = freshPrefix()
  const redisUrl = broker.url
  const publisher = createBus({ redisUrl, streamPrefix })
  const bus = createBus({
    redisUrl,
    streamPrefix,
    socketTimeoutMs: 300,
    socketConnectTimeoutMs: 300,
    retryBaseDelayMs: 200,
    retryMaxDelayMs: 200,
  })
  const failed: number[] = []
  const seen: number[] = []
  bus.subscribe(Noted, ({ n }, { attempt }) => {
    if (n === 0 && attempt === 1) {
      failed.push(n)
      throw new Error('first attempt')
    }
    seen.push(n)
  })
  await consume(bus)
  await publisher.publish(notes('a', 3))
  await waitFor(() => failed.length === 1)

  await broker.freeze()
  // The leases of 600 ms expire.
  await delay(1500)
  await broker.thaw()
  await publisher.publish(notes('a', 6, 3))

  await waitFor(() => seen.length === 6, { timeoutMs: 10_000, describe: () => `saw ${seen}` })
  expect(seen).toEqual([0, 1, 2, 3, 4, 5])
})

it('does not start an entry that another consumer took over while the reply was in flight', async () => {
  const streamPrefix = freshPrefix()
  const { proxy, redisUrl } = await startProxy()
  const [slow, fast] = [createBus({ streamPrefix, redisUrl }), createBus({ streamPrefix })]
  const publisher = createBus({ streamPrefix })
  const seen: string[] = []
  slow.subscribe(Noted, ({ n }) => seen.push(`slow ${n}`))
  fast.subscribe(Noted, ({ n }) => seen.push(`fast ${n}`))
  await consume(slow)
  await publisher.publish(notes('a', 1))
  await waitFor(() => seen.length === 1)
  const client = await connectClient()
  const pending = async () => (await client.xPending(`${streamPrefix}:stream`, 'default')).pending
  await waitFor(async () => (await pending()) === 0)

  // The latency exceeds the lease of 600 ms.
  proxy.degrade(withLatency(1500))
  await publisher.publish(notes('a', 2, 1))
  await waitFor(async () => (await pending()) === 1)
  await consume(fast)
  await waitFor(() => seen.length === 2)
  await fast.shutdown()
  proxy.degrade(undefined)
  await publisher.publish(notes('b', 3, 2))

  await waitFor(() => slow.getStats().eventsProcessedSuccess >= 2, { timeoutMs: 15_000 })
  expect(seen).toEqual(['slow 0', 'fast 1', 'slow 2'])
})

it('resumes after the leases of all held entries expired at once', async () => {
  const streamPrefix = freshPrefix()
  const options = { maxInFlight: 5, retryBaseDelayMs: 50, retryJitter: 0 }
  const bus = createBus({ streamPrefix, ...options })
  const seen: string[] = []
  bus.subscribe(Noted, ({ n }, { attempt }) => {
    seen.push(`${n} ${attempt}`)
    if (n === 0 && attempt === 1) throw new Error('first attempt')
  })
  await consume(bus)
  await createBus({ streamPrefix }).publish(notes('a', 8))
  await waitFor(() => seen.length === 1 && bus.getStats().inFlight === 5)

  blockEventLoop(800)

  await waitFor(() => bus.getStats().eventsProcessedSuccess === 8)
  expect(seen).toEqual(['0 1', '0 2', '1 1', '2 1', '3 1', '4 1', '5 1', '6 1', '7 1'])
})
