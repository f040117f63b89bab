import { expect, it, onTestFinished } from 'vitest'
import { ConnectionError, PublishError } from '../../src/index.ts'
import type { RedisEventBusOptions } from '../../src/redis/index.ts'
import { waitFor } from '../../src/testing/index.ts'
import type { Broker } from '../brokers/broker.ts'
import { freePort } from '../brokers/free-port.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { connectClient, consume, createBus, freshPrefix, memoryLogger, Noted, notes } from './scene.ts'

async function launch(...config: string[]) {
  const broker = await launchBroker('redis', { config })
  onTestFinished(() => broker.dispose())
  return broker
}

/** A consuming bus with what it has seen and told. */
async function consuming(redisUrl: string, options: RedisEventBusOptions = {}) {
  const logger = memoryLogger()
  const bus = createBus({ redisUrl, streamPrefix: freshPrefix(), logger, ...options })
  const seen: number[] = []
  const notices: string[] = []
  bus.subscribe(Noted, ({ n }) => seen.push(n), { name: 'notes' })
  bus.onNotice((notice) =>
    notices.push('error' in notice ? `${notice.type} ${notice.error.message}` : notice.type),
  )
  await consume(bus)
  return { bus, seen, notices, logger }
}

const outcome = (promise: Promise<unknown>) => promise.catch((thrown: unknown) => thrown)

it('goes on when the script cache is flushed while it retries and dead-letters', async () => {
  const broker = await launch()
  const client = await connectClient(broker.url)
  const bus = createBus({ redisUrl: broker.url, maxRetries: 2 })
  bus.subscribe(Noted, async () => {
    await client.sendCommand(['SCRIPT', 'FLUSH', 'SYNC'])
    throw new Error('as told')
  })
  await consume(bus)

  await bus.publish(notes('a', 3))

  await waitFor(() => bus.getStats().messagesSentToDlq === 3)
  expect(bus.getStats()).toMatchObject({ eventsRetried: 6, reconnections: 0 })
})

it('goes on at a server that came back empty, and tells that its group was gone', async () => {
  const broker = await launch('appendonly no')
  const { bus, seen, notices } = await consuming(broker.url)
  await bus.publish(notes('a', 2))
  await waitFor(() => seen.length === 2)

  await broker.kill()
  await broker.start()
  await bus.publish(notes('a', 4, 2))

  await waitFor(() => seen.length === 4)
  expect(seen).toEqual([0, 1, 2, 3])
  expect(notices).toContain('topologyRestored')
  expect(bus.getStats()).toMatchObject({ reconnections: 1, eventsProcessedSuccess: 4 })
})

it('goes on when an operator kills its connections, and waits while he pauses the clients', async () => {
  const broker = await launch()
  const client = await connectClient(broker.url)
  const { bus, seen } = await consuming(broker.url)

  await client.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'])
  await waitFor(() => bus.getStats().reconnections === 1)
  await bus.publish(notes('a', 1))
  await waitFor(() => seen.length === 1)
  const start = performance.now()
  await client.sendCommand(['CLIENT', 'PAUSE', '700', 'ALL'])
  await bus.publish(notes('a', 2, 1))

  expect(performance.now() - start).toBeGreaterThanOrEqual(650)
  await waitFor(() => seen.length === 2)
  expect(bus.getStats()).toMatchObject({ reconnections: 1, eventsProcessedSuccess: 2, inFlight: 0 })
})

it('warns of a server that may evict whole streams', async () => {
  const broker = await launch('maxmemory 100mb', 'maxmemory-policy allkeys-lru')
  const { logger } = await consuming(broker.url)

  expect(JSON.stringify(logger.lines.map(({ fields }) => String(Reflect.get(fields, 'error'))))).toMatch(
    /Redis at 127.0.0.1:\d+ may evict whole streams: its maxmemory-policy is allkeys-lru. Set it to noeviction/,
  )
})

it('says that it cannot follow a Redis Cluster from node to node', async () => {
  const launchNode = async () => launch('cluster-enabled yes', `cluster-port ${await freePort()}`)
  const [node, other] = [await launchNode(), await launchNode()]
  const [client, second] = [await connectClient(node.url), await connectClient(other.url)]
  await client.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', '0', '8191'])
  await second.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', '8192', '16383'])
  const otherBus = /cluster_bus_port:|@(\d+)/.exec(
    String(await second.sendCommand(['CLUSTER', 'NODES'])),
  )?.[1]
  await client.sendCommand(['CLUSTER', 'MEET', '127.0.0.1', String(other.port), String(otherBus)])
  await waitFor(async () =>
    String(await client.sendCommand(['CLUSTER', 'INFO'])).includes('cluster_state:ok'),
  )
  const prefixAt = async (isHere: boolean): Promise<string> => {
    const prefix = freshPrefix()
    const slot = Number(await client.sendCommand(['CLUSTER', 'KEYSLOT', prefix]))
    return slot < 8192 === isHere ? prefix : prefixAt(isHere)
  }
  const fail = async (options: RedisEventBusOptions) => {
    const bus = createBus({ redisUrl: node.url, ...options })
    bus.subscribe(Noted, () => undefined)
    return outcome(bus.startConsuming())
  }

  const elsewhere = await fail({ streamPrefix: await prefixAt(false), useHashTag: true })
  const here = await consuming(node.url, { streamPrefix: await prefixAt(true), useHashTag: true })
  await here.bus.publish(notes('a', 2))

  await waitFor(() => here.seen.length === 2)
  expect(elsewhere).toBeInstanceOf(ConnectionError)
  expect(elsewhere).toMatchObject({ code: 'TOPOLOGY_CONFLICT', retryable: false })
  expect(String(elsewhere)).toMatch(
    /is a Redis Cluster \(MOVED .*does not follow redirections to other nodes/,
  )
})

it('is loud when its password is taken away, and comes back when it has one again', async () => {
  const broker = await launch('user canary on >canary-secret ~* &* +@all')
  const admin = await connectClient(broker.url)
  const redisUrl = `redis://canary:canary-secret@127.0.0.1:${broker.port}`
  const { bus, seen, notices, logger } = await consuming(redisUrl)

  await admin.sendCommand(['ACL', 'SETUSER', 'canary', 'resetpass', '>another'])
  await admin.sendCommand(['CLIENT', 'KILL', 'USER', 'canary'])
  await waitFor(() => notices.some((notice) => notice.includes('refuses the credentials')))
  expect((await bus.health()).status).toBe('down')
  await admin.sendCommand(['ACL', 'SETUSER', 'canary', '>canary-secret'])
  await bus.publish(notes('a', 1))

  await waitFor(() => seen.length === 1)
  expect(
    JSON.stringify(logger.lines.map(({ message, fields }) => [message, Object.values(fields).map(String)])),
  ).not.toContain('canary-secret')
  expect(logger.lines.length).toBeLessThan(10)
})

it('tells that a right was taken away, keeps trying, and goes on when it is given back', async () => {
  const broker = await launch('user worker on >secret ~* &* +@all')
  const admin = await connectClient(broker.url)
  const { bus, seen, notices } = await consuming(`redis://worker:secret@127.0.0.1:${broker.port}`, {
    blockMs: 100,
  })

  await admin.sendCommand(['ACL', 'SETUSER', 'worker', '-xreadgroup'])
  await waitFor(() => notices.some((notice) => notice.includes('NOPERM')))
  await bus.publish(notes('a', 1))
  await admin.sendCommand(['ACL', 'SETUSER', 'worker', '+xreadgroup'])

  await waitFor(() => seen.length === 1)
  expect(bus.getStats().reconnections).toBe(0)
})

it('says notStored while the disk takes no snapshot, and goes on when it does', async () => {
  const broker = await launch('appendonly no', 'save 3600 1')
  const admin = await connectClient(broker.url)
  const { bus, seen, notices } = await consuming(broker.url, { publishTimeoutMs: 1500, blockMs: 100 })
  const snapshot = async (status: string) => {
    await admin.sendCommand(['BGSAVE'])
    await waitFor(async () => {
      const info = await admin.info('persistence')
      return info.includes('rdb_bgsave_in_progress:0') && info.includes(`rdb_last_bgsave_status:${status}`)
    })
  }
  const folder = (await admin.configGet('dir'))['dir'] ?? ''
  await broker.exec('mkdir', '-p', `${folder}/dump.rdb/in-the-way`)
  await snapshot('err')

  const error = await outcome(bus.publish(notes('a', 1)))
  await waitFor(() => notices.some((notice) => notice.includes('MISCONF')))
  await broker.exec('rm', '-r', `${folder}/dump.rdb`)
  await snapshot('ok')

  if (!(error instanceof PublishError)) throw new Error('it was to reject')
  expect(error.outcomes.map(({ status }) => status)).toEqual(['notStored'])
  expect(error.message).toContain('MISCONF')
  await bus.publish(notes('a', 2, 1))
  await waitFor(() => seen.length === 1)
  expect(seen).toEqual([1])
})

/** Waits until the replica has all that the primary has. */
async function inStep(primary: Broker, replica: Broker) {
  const [first, second] = [await connectClient(primary.url), await connectClient(replica.url)]
  const offsetOf = (info: string) => Number(/master_repl_offset:(\d+)/.exec(info)?.[1])
  await waitFor(async () => {
    const [own, other] = [await first.info('replication'), await second.info('replication')]
    return other.includes('master_link_status:up') && offsetOf(own) === offsetOf(other)
  })
  return { first, second }
}

it.each([
  ['whose connections are cut', true],
  ['that stays as a replica', false],
] as const)(
  'follows a failover away from a primary %s, and repeats nothing that it has acknowledged',
  async (_what, isCut) => {
    const primary = await launch('repl-diskless-sync-delay 0')
    const replica = await launch(`replicaof 127.0.0.1 ${primary.port}`)
    const proxy = await TcpProxy.start({ host: '127.0.0.1', port: primary.port })
    onTestFinished(() => proxy.close())
    const handled: number[] = []
    const { bus, seen, notices } = await consuming(`redis://127.0.0.1:${proxy.port}`, { pendingIdleMs: 600 })
    bus.subscribe(Noted, ({ n }) => handled.push(n), { name: 'second' })
    await bus.publish(notes('a', 100))
    await waitFor(() => seen.length === 100)
    await waitFor(async () => (await bus.getStreamInfo()).pendingMessages === 0)
    const { first, second } = await inStep(primary, replica)

    await second.sendCommand(['REPLICAOF', 'NO', 'ONE'])
    proxy.redirect({ host: '127.0.0.1', port: replica.port })
    await first.sendCommand(['REPLICAOF', '127.0.0.1', String(replica.port)])
    if (isCut) {
      proxy.cut()
      await waitFor(() => bus.getStats().reconnections === 1)
    }
    await bus.publish(notes('a', 200, 100))

    await waitFor(() => seen.length === 200, {
      describe: () => `all; ${JSON.stringify([seen.length, notices])}`,
    })
    expect(seen).toEqual(notes('a', 200).map(({ n }) => n))
    expect(await second.xLen((await bus.getStreamInfo()).stream.name)).toBe(200)
    await waitFor(async () => (await bus.getStreamInfo()).pendingMessages === 0)
    expect(bus.getStats()).toMatchObject({ eventsProcessedSuccess: 200, inFlight: 0 })
  },
)

it('acknowledges after a failover what was handled while it happened, also where it only consumes', async () => {
  const primary = await launch('repl-diskless-sync-delay 0')
  const replica = await launch(`replicaof 127.0.0.1 ${primary.port}`)
  const proxy = await TcpProxy.start({ host: '127.0.0.1', port: primary.port })
  onTestFinished(() => proxy.close())
  const gate = Promise.withResolvers<void>()
  const { bus, seen } = await consuming(`redis://127.0.0.1:${proxy.port}`, { pendingIdleMs: 3000 })
  bus.subscribe(Noted, () => gate.promise, { name: 'gated' })
  const client = await connectClient(primary.url)
  const stream = (await bus.getStreamInfo()).stream.name
  for (const note of notes('a', 3)) await client.xAdd(stream, '*', { payload: JSON.stringify(note) })
  await waitFor(() => seen.length > 0)
  const { first, second } = await inStep(primary, replica)

  await second.sendCommand(['REPLICAOF', 'NO', 'ONE'])
  proxy.redirect({ host: '127.0.0.1', port: replica.port })
  await first.sendCommand(['REPLICAOF', '127.0.0.1', String(replica.port)])
  gate.resolve()

  await waitFor(() => seen.length === 3)
  await waitFor(async () => (await second.xPending(stream, 'default')).pending === 0)
  expect(seen).toEqual([0, 1, 2])
})
