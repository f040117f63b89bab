import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { createClient } from 'redis'
import { expect, inject, it, onTestFinished } from 'vitest'
import { ConnectionError } from '../../../src/index.ts'
import { freePort } from '../../brokers/free-port.ts'
import { waitFor } from '../../support/wait-for.ts'
import {
  connectClient,
  consume,
  createBus,
  failure,
  freshPrefix,
  launchRedis,
  memoryLogger,
  Noted,
  notes,
  startProxy,
  withLatency,
} from '../scene.ts'

it('rejects at once, naming the address, if no server listens there', async () => {
  const port = await freePort()
  const bus = createBus({ redisUrl: `redis://127.0.0.1:${port}` })

  const error = await failure(bus.connect())

  expect(error).toBeInstanceOf(ConnectionError)
  expect(error).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
  expect(error.message).toContain(`Redis at 127.0.0.1:${port} cannot be reached`)
})

it('reports a wrong password without showing it', async () => {
  const broker = await launchRedis('requirepass right-one')
  const redisUrl = `redis://:canary-secret@127.0.0.1:${broker.port}`
  const bus = createBus({ redisUrl, publishTimeoutMs: 1000 })

  const errors = [await failure(bus.connect()), await failure(bus.publish(notes('a', 1)))]

  expect(errors[0]).toMatchObject({ code: 'AUTHENTICATION_FAILED', retryable: false })
  expect(inspect([errors, bus, bus.getStats()], { depth: 9, showHidden: true })).not.toContain(
    'canary-secret',
  )
})

it('connects with a password in the URL or as an option', async () => {
  const broker = await launchRedis('requirepass right-one')
  const inUrl = createBus({ redisUrl: `redis://:right-one@127.0.0.1:${broker.port}` })
  const asOption = createBus({ redisUrl: broker.url, password: 'right-one' })

  await Promise.all([inUrl.connect(), asOption.connect()])

  expect([inUrl.isConnected, asOption.isConnected]).toEqual([true, true])
})

it('connects over TLS, and refuses a server that it cannot verify', async () => {
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

it('duplicates a given client for its connections and does not use the client itself', async () => {
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

it('does not treat idle reads as lost connections', async () => {
  const logger = memoryLogger()
  const bus = createBus({ logger, blockMs: 100, socketTimeoutMs: 400 })
  const seen: number[] = []
  bus.subscribe(Noted, (event) => seen.push(event.n))
  const client = await connectClient()
  await consume(bus)
  const readsOf = async () =>
    Number(/cmdstat_xreadgroup:calls=(\d+)/.exec(await client.info('commandstats'))?.[1])
  const before = await readsOf()

  // The reads are idle for 700 ms in total, longer than blockMs and socketTimeoutMs together.
  await waitFor(async () => (await readsOf()) > before + 6)
  await bus.publish(notes('a', 1))
  await waitFor(() => seen.length === 1)

  expect(logger.lines).toEqual([])
  expect(bus.getStats().reconnections).toBe(0)
})

it('keeps a connection while a long reply arrives on a slow network', async () => {
  const { proxy, redisUrl } = await startProxy()
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  await client.sendCommand(['XADD', `${streamPrefix}:stream_dlq`, '*', 'payload', 'x'.repeat(2e6)])
  const bus = createBus({ redisUrl, streamPrefix, socketTimeoutMs: 300 })
  await bus.connect()

  proxy.degrade(withLatency(0))
  const { deadLetters } = await bus.deadLetters.list()

  expect(deadLetters[0]?.body).toHaveLength(2e6)
  expect(bus.getStats().reconnections).toBe(0)
})

it('detects a silent server, and resumes when the server responds again', async () => {
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
