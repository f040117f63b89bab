import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { createClient } from 'redis'
import { expect, inject, it, onTestFinished } from 'vitest'
import { ConnectionError } from '../../../src/index.ts'
import { RedisEventBus } from '../../../src/redis/index.ts'
import { waitFor } from '../../../src/testing/index.ts'
import { freePort } from '../../brokers/free-port.ts'
import { launchBroker } from '../../brokers/launch-broker.ts'
import { connectClient, consume, createBus, freshPrefix, memoryLogger, Noted, notes } from '../scene.ts'

async function launchRedis(...config: string[]) {
  const broker = await launchBroker('redis', { config })
  onTestFinished(() => broker.dispose())
  return broker
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('it was to fail')
}

it('says at once and clearly that nobody listens at the address', async () => {
  const port = await freePort()
  const bus = createBus({ redisUrl: `redis://127.0.0.1:${port}` })

  const error = await failure(bus.connect())

  expect(error).toBeInstanceOf(ConnectionError)
  expect(error).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
  expect(error.message).toContain(`Redis at 127.0.0.1:${port} cannot be reached`)
})

it('says that the password is wrong, and shows it nowhere', async () => {
  const broker = await launchRedis('requirepass right-one')
  const redisUrl = `redis://:canary-secret@127.0.0.1:${broker.port}`
  const bus = createBus({ redisUrl, publishTimeoutMs: 1000 })

  const errors = [await failure(bus.connect()), await failure(bus.publish(notes('a', 1)))]

  expect(errors[0]).toMatchObject({ code: 'AUTHENTICATION_FAILED', retryable: false })
  expect(inspect([errors, bus, bus.getStats()], { depth: 9, showHidden: true })).not.toContain(
    'canary-secret',
  )
})

it('shows no password where an option is wrong', () => {
  const construct = () => new RedisEventBus({ redisUrl: 'http://:canary-secret@localhost', password: '' })

  expect(construct).toThrow(/redisUrl must be a URL that starts with redis:/)
  expect(construct).not.toThrow(/canary-secret/)
})

it('connects with a password, in the URL or as an option', async () => {
  const broker = await launchRedis('requirepass right-one')
  const inUrl = createBus({ redisUrl: `redis://:right-one@127.0.0.1:${broker.port}` })
  const asOption = createBus({ redisUrl: broker.url, password: 'right-one' })

  await Promise.all([inUrl.connect(), asOption.connect()])

  expect([inUrl.isConnected, asOption.isConnected]).toEqual([true, true])
})

it('says that a key of another type stands at its name', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  await client.set(`${streamPrefix}:stream`, 'a string')
  const bus = createBus({ streamPrefix })

  const error = await failure(bus.connect())

  expect(error).toMatchObject({ code: 'TOPOLOGY_CONFLICT', retryable: false })
  expect(error.message).toContain(`${streamPrefix}:stream`)
})

it('says that it was led to a read-only replica', async () => {
  const replica = await launchRedis(`replicaof 127.0.0.1 ${new URL(inject('redisUrl')).port}`)
  const bus = createBus({ redisUrl: replica.url })

  const error = await failure(bus.connect())

  expect(error.message).toMatch(/read-only replica. Connect to its primary/)
})

it('speaks TLS, and refuses a server it cannot trust', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'eventspine-tls-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  const request = [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '1',
    '-keyout',
    key,
    '-out',
    certificate,
  ]
  execFileSync('openssl', [...request, ...subject], { stdio: 'ignore' })
  const port = await freePort()
  await launchRedis(
    `tls-port ${port}`,
    `tls-cert-file ${certificate}`,
    `tls-key-file ${key}`,
    `tls-ca-cert-file ${certificate}`,
    'tls-auth-clients no',
  )
  const ca = readFileSync(certificate)
  const trusting = createBus({ redisUrl: `rediss://localhost:${port}`, tls: { ca } })
  const strange = createBus({ redisUrl: `rediss://localhost:${port}` })
  const misnamed = createBus({ redisUrl: `rediss://127.0.0.1:${port}`, tls: { ca } })

  await trusting.publish(notes('a', 1))

  expect(trusting.getStats().eventsPublished).toBe(1)
  expect((await failure(strange.connect())).message).toMatch(/self.signed certificate/)
  expect((await failure(misnamed.connect())).message).toMatch(/altnames|does not match/)
})

it('makes its connections from a client that it is given, and leaves that one alone', async () => {
  const given = createClient({ url: inject('redisUrl') })
  await given.connect()
  onTestFinished(() => given.destroy())
  const bus = createBus({ client: given })
  const seen: number[] = []
  bus.subscribe(Noted, (event) => seen.push(event.n))
  await consume(bus)

  await bus.publish(notes('a', 2))
  await waitFor(() => seen.length === 2)
  await bus.shutdown()

  expect(await given.ping()).toBe('PONG')
})

it('does not take idle reads for faults', async () => {
  const logger = memoryLogger()
  const bus = createBus({ logger, blockMs: 100, socketTimeoutMs: 100 })
  const seen: number[] = []
  bus.subscribe(Noted, (event) => seen.push(event.n))
  const client = await connectClient()
  await consume(bus)
  const readsOf = async () =>
    Number(/cmdstat_xreadgroup:calls=(\d+)/.exec(await client.info('commandstats'))?.[1])
  const before = await readsOf()

  await waitFor(async () => (await readsOf()) > before + 6)
  await bus.publish(notes('a', 1))
  await waitFor(() => seen.length === 1)

  expect(logger.lines).toEqual([])
  expect(bus.getStats().reconnections).toBe(0)
})

it('notices a server that falls silent, and goes on when it speaks again', async () => {
  const broker = await launchRedis()
  const bus = createBus({ redisUrl: broker.url, socketTimeoutMs: 300, socketConnectTimeoutMs: 300 })
  const seen: number[] = []
  bus.subscribe(Noted, (event) => seen.push(event.n))
  await consume(bus)

  await broker.freeze()
  await waitFor(() => !bus.isConnected)
  await broker.thaw()
  await bus.publish(notes('a', 1))

  await waitFor(() => seen.length === 1)
  expect(bus.getStats().reconnections).toBeGreaterThan(0)
})

it('keeps its keys in one slot of a cluster if asked', async () => {
  const streamPrefix = freshPrefix()
  const bus = createBus({ streamPrefix, useHashTag: true })

  await bus.publish(notes('a', 1))

  const client = await connectClient()
  expect(await client.xLen(`{${streamPrefix}}:stream`)).toBe(1)
})

it('publishes without making a group, and consumes a second time in the same group without complaint', async () => {
  const streamPrefix = freshPrefix()
  const publisher = createBus({ streamPrefix })
  await publisher.publish(notes('a', 1))
  const client = await connectClient()

  expect(await client.xInfoGroups(`${streamPrefix}:stream`)).toEqual([])
  await consume(createBus({ streamPrefix }))
  await consume(createBus({ streamPrefix }))
  expect(await client.xInfoGroups(`${streamPrefix}:stream`)).toHaveLength(1)
})
