import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, inject, it, onTestFinished } from 'vitest'
import { launchBroker } from '../../brokers/launch-broker.ts'
import { TcpProxy } from '../../support/tcp-proxy.ts'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, consume, createBus, freshPrefix, Noted, notes } from '../scene.ts'

/** Reads entries under another consumer's name and never acknowledges them: a consumer that died. */
async function readAndDie(streamPrefix: string, consumer: string, count: number): Promise<void> {
  const client = await connectClient()
  const key = `${streamPrefix}:stream`
  await client.sendCommand([
    'XREADGROUP',
    'GROUP',
    'default',
    consumer,
    'COUNT',
    String(count),
    'STREAMS',
    key,
    '>',
  ])
}

/** A proxy before the shared broker. */
async function startProxy() {
  const { port } = new URL(inject('redisUrl'))
  const broker = { host: '127.0.0.1', port: Number(port) }
  const proxy = await TcpProxy.start(broker)
  onTestFinished(() => proxy.close())
  return { proxy, broker, redisUrl: `redis://127.0.0.1:${proxy.port}` }
}

function blockEventLoop(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

const late = (latencyMs: number) => ({
  latencyMs,
  bytesPerSecond: 1e6,
  chunksPerReset: Number.POSITIVE_INFINITY,
})

/** Appends entries with a byte that is no UTF-8, so that they have to be read again as bytes. */
async function appendMangled(streamPrefix: string, count: number): Promise<void> {
  const client = await connectClient()
  const fields = ['event_type', 'Noted', 'aggregate_id', 'a', 'payload', Buffer.from([0xff])]
  for (let n = 0; n < count; n += 1)
    await client.sendCommand(['XADD', `${streamPrefix}:stream`, '*', ...fields])
}

async function publishedStream(count: number): Promise<string> {
  const streamPrefix = freshPrefix()
  const publisher = createBus({ streamPrefix })
  await publisher.publish(notes('a', count))
  const client = await connectClient()
  await client.sendCommand(['XGROUP', 'CREATE', `${streamPrefix}:stream`, 'default', '0'])
  return streamPrefix
}

it('takes over what a dead consumer had read, by itself, and counts it', async () => {
  const streamPrefix = await publishedStream(5)
  await readAndDie(streamPrefix, 'dead', 5)
  const bus = createBus({ streamPrefix })
  const seen: number[] = []
  bus.subscribe(Noted, (event) => seen.push(event.n))

  await consume(bus)

  await waitFor(() => seen.length === 5, { timeoutMs: 10_000, describe: () => `saw ${seen}` })
  expect(bus.getStats().messagesRecovered).toBe(5)
})

it('forgets the dead consumer once it owns nothing, and not before', async () => {
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

it('takes up at once what an earlier process of the same name left behind', async () => {
  const streamPrefix = await publishedStream(3)
  await readAndDie(streamPrefix, 'worker-1', 3)
  const bus = createBus({ streamPrefix, consumerName: 'worker-1', pendingIdleMs: 600_000 })
  const seen: number[] = []
  bus.subscribe(Noted, (event) => seen.push(event.n))

  await consume(bus)

  await waitFor(() => seen.length === 3)
})

it('finds stale entries behind a page of entries that are in use', async () => {
  const streamPrefix = await publishedStream(30)
  const busy = createBus({ streamPrefix, batchSize: 5, maxInFlight: 20, concurrency: 1 })
  const release = Promise.withResolvers<void>()
  busy.subscribe(Noted, () => release.promise)
  await consume(busy)
  await waitFor(() => busy.getStats().inFlight === 20)
  await readAndDie(streamPrefix, 'dead', 10)
  const seen: number[] = []
  const second = createBus({ streamPrefix, batchSize: 5 })
  second.subscribe(Noted, (event) => seen.push(event.n))

  await consume(second)

  await waitFor(() => seen.length === 10)
  expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 10 }, (_, index) => index + 20))
  release.resolve()
})

it('recovers by force, and says truthfully what became of each message', async () => {
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

it('recovers nothing that is not idle for long enough', async () => {
  const streamPrefix = await publishedStream(2)
  await readAndDie(streamPrefix, 'dead', 2)
  const bus = createBus({ streamPrefix })

  const result = await bus.recoverPendingMessages({ minIdleTimeMs: 600_000 })

  expect(result).toEqual({ checked: 0, claimed: 0, reprocessed: 0, dlq: 0, failed: 0 })
})

it('sends what was begun too often to the dead letters without beginning it again', async () => {
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

it('reports an entry that was trimmed away under it, and goes on', async () => {
  const streamPrefix = await publishedStream(2)
  await readAndDie(streamPrefix, 'dead', 1)
  const client = await connectClient()
  const stream = `${streamPrefix}:stream`
  const [first] = (await client.xRange(stream, '-', '+')) ?? []
  await client.xDel(stream, String(first?.id))
  const bus = createBus({ streamPrefix })
  const seen: number[] = []
  const lost: string[] = []
  bus.subscribe(Noted, (event) => seen.push(event.n))
  bus.onNotice((notice) => {
    if (notice.type === 'eventsLost') lost.push(notice.detail)
  })

  await consume(bus)

  await waitFor(() => lost.length === 1 && seen.length === 1)
  expect(lost[0]).toContain(String(first?.id))
})

it('runs after a redelivery only the handlers that had not succeeded', async () => {
  const streamPrefix = freshPrefix()
  const calls: string[] = []
  const first = createBus({ streamPrefix, maxRetries: 9, retryBaseDelayMs: 20, retryMaxDelayMs: 20 })
  first.subscribe(Noted, () => calls.push('good'), { name: 'good' })
  const fail = () => {
    throw new Error('not yet')
  }
  first.subscribe(Noted, fail, { name: 'bad' })
  const second = createBus({ streamPrefix })
  second.subscribe(Noted, () => calls.push('good again'), { name: 'good' })
  second.subscribe(Noted, () => calls.push('bad'), { name: 'bad' })
  await consume(first)

  await first.publish(notes('a', 1))
  await waitFor(() => first.getStats().eventsRetried > 0)
  await first.shutdown()
  await consume(second)

  await waitFor(() => calls.includes('bad'))
  expect(calls).toEqual(['good', 'bad'])
})

it('goes on, in order, with what it held when the server was silent for longer than a lease', async () => {
  const broker = await launchBroker('redis')
  onTestFinished(() => broker.dispose())
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
      throw new Error('as told')
    }
    seen.push(n)
  })
  await consume(bus)
  await publisher.publish(notes('a', 3))
  await waitFor(() => failed.length === 1)

  await broker.freeze()
  // Its leases, of 600 ms, run out.
  await delay(1500)
  await broker.thaw()
  await publisher.publish(notes('a', 6, 3))

  await waitFor(() => seen.length === 6, { timeoutMs: 10_000, describe: () => `saw ${seen}` })
  expect(seen).toEqual([0, 1, 2, 3, 4, 5])
})

it('takes up at once what the server gave out with an answer that was lost, before what follows it', async () => {
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

it('does not begin what another consumer took over while the answer was on its way', async () => {
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

  // Longer than its lease of 600 ms.
  proxy.degrade(late(1500))
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

it('goes on when all that it held had lost its lease at once', async () => {
  const streamPrefix = freshPrefix()
  const options = { maxInFlight: 5, retryBaseDelayMs: 50, retryJitter: 0 }
  const bus = createBus({ streamPrefix, ...options })
  const seen: string[] = []
  bus.subscribe(Noted, ({ n }, { attempt }) => {
    seen.push(`${n} ${attempt}`)
    if (n === 0 && attempt === 1) throw new Error('as told')
  })
  await consume(bus)
  await createBus({ streamPrefix }).publish(notes('a', 8))
  await waitFor(() => seen.length === 1 && bus.getStats().inFlight === 5)

  blockEventLoop(800)

  await waitFor(() => bus.getStats().eventsProcessedSuccess === 8)
  expect(seen).toEqual(['0 1', '0 2', '1 1', '2 1', '3 1', '4 1', '5 1', '6 1', '7 1'])
})

it('takes over nothing of its own while it reads the bytes of a page again', async () => {
  const streamPrefix = freshPrefix()
  const { proxy, redisUrl } = await startProxy()
  const bus = createBus({ streamPrefix, redisUrl })
  bus.subscribe(Noted, () => undefined)
  await consume(bus)

  // One after the other they would take 4 s, several times the lease.
  proxy.degrade(late(100))
  await appendMangled(streamPrefix, 20)

  await waitFor(() => bus.getStats().messagesSentToDlq === 20, { timeoutMs: 15_000 })
  expect(bus.getStats()).toMatchObject({ eventsProcessedFailed: 20, messagesRecovered: 0, inFlight: 0 })
})

it('handles the whole page though the bytes of one entry could not be read again at first', async () => {
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

it('acknowledges what was handled before it notes an attempt, which may kill the process', async () => {
  const { proxy, redisUrl, broker } = await startProxy()
  const monitor = connect(broker)
  onTestFinished(() => {
    monitor.destroy()
  })
  let commands = ''
  monitor.on('data', (chunk) => {
    commands += String(chunk)
  })
  monitor.write('MONITOR\r\n')
  await waitFor(() => commands.includes('OK'))
  const streamPrefix = freshPrefix()
  const bus = createBus({ streamPrefix, redisUrl, retryBaseDelayMs: 1 })
  const acknowledged = (count: number) => countOf(`"XACK" "${streamPrefix}:stream"`, commands) >= count
  const handled: string[] = []
  bus.subscribe(Noted, async ({ aggregateId }, { attempt }) => {
    // The acknowledgment of the first one is on its way while the second one is handled and the third one fails.
    if (aggregateId === 'second') await waitFor(() => acknowledged(1))
    if (aggregateId === 'third' && attempt === 1) {
      await waitFor(() => handled.includes('second'))
      throw new Error('as told')
    }
    handled.push(aggregateId)
  })
  await consume(bus)
  proxy.degrade(late(100))

  await createBus({ streamPrefix }).publish(['first', 'second', 'third'].flatMap((id) => notes(id, 1)))
  await waitFor(() => handled.length === 3 && acknowledged(3))

  const ours = commands.split('\n').filter((line) => line.includes(`"${streamPrefix}:`))
  const second = ours.findIndex(
    (line, index) => line.includes('"XACK"') && countOf('"XACK"', ours.slice(0, index).join()) === 1,
  )
  const note = ours.findIndex((line) => /"EVAL(SHA)?"/.test(line) && line.includes('retry'))
  expect(note).toBeGreaterThan(second)
  expect(second).toBeGreaterThan(0)
})

function countOf(part: string, text: string): number {
  return text.split(part).length - 1
}
