import { expect, it, onTestFinished } from 'vitest'
import { PublishError } from '../../src/index.ts'
import type { Broker } from '../brokers/broker.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { waitFor } from '../support/wait-for.ts'
import {
  connectClient,
  consume,
  consumingBus,
  createBus,
  failure,
  launchRedis,
  Noted,
  notes,
} from './scene.ts'

it('retries and dead-letters while the script cache is flushed', async () => {
  const broker = await launchRedis()
  const client = await connectClient(broker.url)
  const bus = createBus({ redisUrl: broker.url, maxRetries: 2 })
  bus.subscribe(Noted, async () => {
    await client.sendCommand(['SCRIPT', 'FLUSH', 'SYNC'])
    throw new Error('always')
  })
  await consume(bus)

  await bus.publish(notes('a', 3))

  await waitFor(() => bus.getStats().messagesSentToDlq === 3)
  expect(bus.getStats()).toMatchObject({ eventsRetried: 6, reconnections: 0 })
})

it('resumes on a server that came back empty, and reports the lost group', async () => {
  const broker = await launchRedis('appendonly no')
  const { bus, seen, notices } = await consumingBus(broker.url)
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

it('resumes after an operator kills its connections, and waits while clients are paused', async () => {
  const broker = await launchRedis()
  const client = await connectClient(broker.url)
  const { bus, seen } = await consumingBus(broker.url)

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

it('reports that its password was revoked, and resumes when the password is restored', async () => {
  const broker = await launchRedis('user canary on >canary-secret ~* &* +@all')
  const admin = await connectClient(broker.url)
  const redisUrl = `redis://canary:canary-secret@127.0.0.1:${broker.port}`
  const { bus, seen, notices, logger } = await consumingBus(redisUrl)

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

it('reports a revoked permission, keeps trying, and resumes when the permission is restored', async () => {
  const broker = await launchRedis('user worker on >secret ~* &* +@all')
  const admin = await connectClient(broker.url)
  const { bus, seen, notices } = await consumingBus(`redis://worker:secret@127.0.0.1:${broker.port}`, {
    blockMs: 100,
  })

  await admin.sendCommand(['ACL', 'SETUSER', 'worker', '-xreadgroup'])
  await waitFor(() => notices.some((notice) => notice.includes('NOPERM')))
  await bus.publish(notes('a', 1))
  await admin.sendCommand(['ACL', 'SETUSER', 'worker', '+xreadgroup'])

  await waitFor(() => seen.length === 1)
  expect(bus.getStats().reconnections).toBe(0)
})

it('reports notStored while snapshots fail, and resumes when they succeed', async () => {
  const broker = await launchRedis('appendonly no', 'save 3600 1')
  const admin = await connectClient(broker.url)
  const { bus, seen, notices } = await consumingBus(broker.url, { publishTimeoutMs: 1500, blockMs: 100 })
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

  const error = await failure(bus.publish(notes('a', 1)))
  await waitFor(() => notices.some((notice) => notice.includes('MISCONF')))
  await broker.exec('rm', '-r', `${folder}/dump.rdb`)
  await snapshot('ok')

  if (!(error instanceof PublishError)) throw error
  expect(error.outcomes.map(({ status }) => status)).toEqual(['notStored'])
  expect(error.message).toContain('MISCONF')
  await bus.publish(notes('a', 2, 1))
  await waitFor(() => seen.length === 1)
  expect(seen).toEqual([1])
})

/** Waits until the replica has caught up with the primary. */
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
  ['that becomes a replica', false],
] as const)(
  'follows a failover from a primary %s, and repeats no acknowledged event',
  async (_what, isCut) => {
    const primary = await launchRedis('repl-diskless-sync-delay 0')
    const replica = await launchRedis(`replicaof 127.0.0.1 ${primary.port}`)
    const proxy = await TcpProxy.start({ host: '127.0.0.1', port: primary.port })
    onTestFinished(() => proxy.close())
    const handled: number[] = []
    const { bus, seen, notices } = await consumingBus(`redis://127.0.0.1:${proxy.port}`, {
      pendingIdleMs: 600,
    })
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

it('acknowledges events handled during a failover, even if the bus only consumes', async () => {
  const primary = await launchRedis('repl-diskless-sync-delay 0')
  const replica = await launchRedis(`replicaof 127.0.0.1 ${primary.port}`)
  const proxy = await TcpProxy.start({ host: '127.0.0.1', port: primary.port })
  onTestFinished(() => proxy.close())
  const gate = Promise.withResolvers<void>()
  const { bus, seen } = await consumingBus(`redis://127.0.0.1:${proxy.port}`, { pendingIdleMs: 3000 })
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
