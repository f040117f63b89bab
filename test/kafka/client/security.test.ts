import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { inspect } from 'node:util'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { ConnectionError } from '../../../src/index.ts'
import { KafkaEventBus, type KafkaEventBusOptions } from '../../../src/kafka/index.ts'
import { Certificates } from '../../support/certificates.ts'
import { orderCreated } from '../../support/order-events.ts'
import { paced } from '../../support/pace.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { KafkaProxy } from '../proxy.ts'
import { consume, createBus, noticesOf, until } from '../scene.ts'
import { addScramUsers, type ListenerName, launchSecureBroker, removeScramUser } from './secure-broker.ts'

const certificates = await Certificates.create()
await certificates.makeAuthority('ca')
await certificates.makeAuthority('other')
await certificates.make('server', 'ca', 'DNS:localhost', 'IP:127.0.0.1')
await certificates.make('elsewhere', 'ca', 'DNS:elsewhere.example')
await certificates.make('client', 'ca')
await certificates.make('stranger', 'other')

const PASSWORD = 'hunter2-secret'
const WRONG = 'wrong-secret'
const alice = { username: 'alice', password: PASSWORD }
const bob = { username: 'bob', password: PASSWORD, mechanism: 'SCRAM-SHA-256' } as const
const carol = { username: 'carol', password: PASSWORD, mechanism: 'SCRAM-SHA-512' } as const
const { broker, portOf } = await launchSecureBroker(certificates, alice)
await addScramUsers(broker, [bob, carol])

afterAll(async () => {
  await broker.dispose()
  await certificates.remove()
})

const ca = { sslCafile: certificates.path('ca.pem') }
const identity = (name: string) => ({
  sslCertfile: certificates.path(`${name}.pem`),
  sslKeyfile: certificates.path(`${name}.key`),
})
const ssl = { securityProtocol: 'SSL', ...ca } as const
const plain = { saslMechanism: 'PLAIN', saslUsername: 'alice', saslPassword: PASSWORD } as const
const scram256 = { saslMechanism: 'SCRAM-SHA-256', saslUsername: 'bob', saslPassword: PASSWORD } as const
const scram512 = { saslMechanism: 'SCRAM-SHA-512', saslUsername: 'carol', saslPassword: PASSWORD } as const
const saslPlaintext = { securityProtocol: 'SASL_PLAINTEXT' } as const
const saslSsl = { securityProtocol: 'SASL_SSL', ...ca } as const
const CONNECT_TIMEOUT_MS = paced(2000)

type Target = ListenerName | 'PLAINTEXT'

function secureBus(target: Target, options: KafkaEventBusOptions): KafkaEventBus {
  const port = target === 'PLAINTEXT' ? broker.port : portOf(target)
  return createBus({
    bootstrapServers: `localhost:${port}`,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    logger: new RecordingLogger(),
    ...options,
  })
}

it.each<[string, Target, KafkaEventBusOptions]>([
  ['encryption', 'ENCRYPTED', ssl],
  ['a certificate of its own', 'MUTUAL', { ...ssl, ...identity('client') }],
  [
    'a certificate of another host that it was told to accept',
    'ELSEWHERE',
    { ...ssl, sslCheckHostname: false },
  ],
  ['SASL PLAIN', 'PASSWORD', { ...saslPlaintext, ...plain }],
  ['SASL SCRAM-SHA-256', 'PASSWORD', { ...saslPlaintext, ...scram256 }],
  ['SASL SCRAM-SHA-512', 'PASSWORD', { ...saslPlaintext, ...scram512 }],
  ['SASL PLAIN over TLS', 'BOTH', { ...saslSsl, ...plain }],
  ['SASL SCRAM-SHA-256 over TLS', 'BOTH', { ...saslSsl, ...scram256 }],
  ['SASL SCRAM-SHA-512 over TLS', 'BOTH', { ...saslSsl, ...scram512 }],
])('publishes, consumes and reads dead letters with %s', async (_what, target, options) => {
  const bus = secureBus(target, options)
  const seen: string[] = []
  bus.subscribeToAllEvents(({ eventId, aggregateId }) => {
    if (aggregateId === 'Order-bad') throw new Error('bad')
    seen.push(eventId)
  })
  await consume(bus)
  const event = orderCreated()
  await bus.publish([event, orderCreated('Order-bad')])
  await until('the event', () => seen.length === 1)
  expect(seen).toEqual([event.eventId])
  await until('the dead letter', async () => (await bus.getDlqMessageCount()) === 1)
  expect(await bus.getDlqMessages()).toMatchObject([{ key: 'Order-bad' }])
})

describe('a bus that does not fit its broker', () => {
  const untrusted = /certificate that is not trusted\. Check sslCafile/
  const uncertified =
    /does not accept the certificate of this bus, or requires one\. Check sslCertfile and sslKeyfile/
  const refused = /refuses the credentials\. Check saslMechanism, saslUsername and saslPassword/
  const noTls = /and this bus do not agree on TLS\. Check securityProtocol and the port/
  const noUser = /asks for a user name at this port\. Check securityProtocol/

  it.each<[string, Target, KafkaEventBusOptions, RegExp]>([
    [
      'an authority that it does not know',
      'ENCRYPTED',
      { ...ssl, sslCafile: certificates.path('other.pem') },
      untrusted,
    ],
    ['no authority', 'ENCRYPTED', { securityProtocol: 'SSL' }, untrusted],
    [
      'the certificate of another host',
      'ELSEWHERE',
      ssl,
      /certificate for another host name.*elsewhere\.example/,
    ],
    [
      'an unknown authority, though the name does not matter',
      'ELSEWHERE',
      { ...ssl, sslCafile: certificates.path('other.pem'), sslCheckHostname: false },
      untrusted,
    ],
    ['no certificate of its own', 'MUTUAL', ssl, uncertified],
    ["a stranger's certificate", 'MUTUAL', { ...ssl, ...identity('stranger') }, uncertified],
    ['a wrong PLAIN password', 'PASSWORD', { ...saslPlaintext, ...plain, saslPassword: WRONG }, refused],
    ['a wrong SCRAM password', 'BOTH', { ...saslSsl, ...scram512, saslPassword: WRONG }, refused],
    ['an unknown user', 'BOTH', { ...saslSsl, ...scram256, saslUsername: 'nobody' }, refused],
    ['plain text at a port with TLS', 'ENCRYPTED', {}, noTls],
    ['a password at a port with TLS', 'BOTH', { ...saslPlaintext, ...plain }, noTls],
    ['TLS at a port without', 'PLAINTEXT', ssl, noTls],
    ['TLS and a password at a port without TLS', 'PASSWORD', { ...saslSsl, ...plain }, noTls],
    ['no password at a port that requires one', 'PASSWORD', {}, noUser],
    ['no password at a port with TLS that requires one', 'BOTH', ssl, noUser],
    [
      'a password at a port that does not use one',
      'PLAINTEXT',
      { ...saslPlaintext, ...plain },
      /does not ask for a user name at this port/,
    ],
  ])('fails at once with a hint what to check: %s', async (_what, target, options, message) => {
    const logger = new RecordingLogger()
    const bus = secureBus(target, { ...options, logger })
    const start = performance.now()
    const error = await bus.connect().catch((thrown: unknown) => thrown)
    expect(performance.now() - start).toBeLessThan(CONNECT_TIMEOUT_MS)
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error).toMatchObject({ code: 'AUTHENTICATION_FAILED', retryable: false })
    expect(String(error)).toMatch(message)
    bus.startConsumingInBackground()
    await expect(bus.whenConsuming()).rejects.toThrow(message)
    await expect(bus.publish([orderCreated()])).rejects.toThrow(message)
    for (const shown of [error, bus, bus.getStats(), logger.lines]) {
      const text = inspect(shown, { depth: 12, showHidden: true })
      expect(text).not.toContain(PASSWORD)
      expect(text).not.toContain(WRONG)
    }
  })

  it.each<[string, KafkaEventBusOptions, RegExp]>([
    ['is not there', { sslCafile: certificates.path('nothing.pem') }, /sslCafile cannot be used: ENOENT/],
    [
      'contains no certificate',
      { sslCafile: certificates.path('client.key') },
      /sslCafile .* contains no certificate/,
    ],
    [
      'holds the key of another certificate',
      { ...identity('client'), sslKeyfile: certificates.path('stranger.key') },
      /sslCertfile or sslKeyfile cannot be used: .*key values mismatch/,
    ],
    [
      'holds no key',
      { ...identity('client'), sslKeyfile: certificates.path('client.pem') },
      /sslCertfile or sslKeyfile cannot be used/,
    ],
  ])('reports that its file %s', async (_what, options, message) => {
    const bus = secureBus('MUTUAL', { ...ssl, ...options })
    const failure = expect(bus.connect()).rejects
    await failure.toMatchObject({ code: 'AUTHENTICATION_FAILED', message: expect.stringMatching(message) })
  })
})

it('does not mistake a connection that breaks in the handshake for a refusal', async () => {
  const server = createServer((socket) =>
    socket.on('error', () => undefined).on('data', () => socket.destroy()),
  )
  server.listen(0)
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  // A server that listens on TCP has such an address.
  const { port } = server.address() as AddressInfo
  for (const options of [{}, ssl, { ...saslPlaintext, ...plain }, { ...saslSsl, ...scram256 }]) {
    const bus = createBus({ bootstrapServers: `localhost:${port}`, ...options })
    await expect(bus.connect()).rejects.toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
  }
})

it('names the host in the TLS handshake, for brokers that share an address', async () => {
  const names: string[] = []
  const [key, cert] = await Promise.all(['server.key', 'server.pem'].map((file) => certificates.read(file)))
  const server = createTlsServer({ key, cert }, (socket) => {
    names.push(String(socket.servername))
    socket.on('error', () => undefined).destroy()
  })
  server.listen(0)
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  // A server that listens on TCP has such an address.
  const { port } = server.address() as AddressInfo
  const bus = createBus({ bootstrapServers: `localhost:${port}`, ...ssl })
  await expect(bus.connect()).rejects.toMatchObject({ retryable: true })
  expect(names).toContain('localhost')
})

it('logs an error when its password is revoked, retries at a low rate, and reconnects when it has one again', async () => {
  const dave = { username: 'dave', password: PASSWORD, mechanism: 'SCRAM-SHA-256' } as const
  await addScramUsers(broker, [dave])
  const proxy = await KafkaProxy.start(portOf('PASSWORD'))
  onTestFinished(() => proxy.close())
  const logger = new RecordingLogger()
  const bus = createBus({
    ...saslPlaintext,
    ...scram256,
    bootstrapServers: `127.0.0.1:${proxy.port}`,
    saslUsername: 'dave',
    logger,
  })
  const seen: string[] = []
  bus.subscribeToAllEvents(({ eventId }) => {
    seen.push(eventId)
  })
  const notices = noticesOf(bus)
  await consume(bus)
  let attempts = 0
  const count = () => {
    attempts += 1
  }
  // The client publishes each new connection on this channel.
  subscribe('tracing:plt:kafka:connections:connects:start', count)
  onTestFinished(() => void unsubscribe('tracing:plt:kafka:connections:connects:start', count))
  await removeScramUser(broker, dave)
  proxy.cut()
  const refusals = () =>
    notices.filter(
      (notice) => notice.type === 'connectionLost' && /refuses the credentials/.test(notice.error.message),
    )
  await until('the refusal to be told', () => refusals().length > 0)
  await until('some more tries', () => attempts >= 5)
  // Each attempt makes one connection, at growing intervals.
  expect(attempts).toBeLessThan(20)
  await addScramUsers(broker, [dave])
  await until('the bus to be back', () => notices.some(({ type }) => type === 'reconnected'))
  const event = orderCreated()
  await bus.publish([event])
  await until('the event', () => seen.includes(event.eventId))
  expect(refusals()).toHaveLength(1)
  expect(logger.lines.length).toBeLessThan(30)
  expect(inspect([logger.lines, notices], { depth: 12, showHidden: true })).not.toContain(PASSWORD)
})

describe('the log', () => {
  const warningsOf = (options: KafkaEventBusOptions) => {
    const logger = new RecordingLogger()
    const bus = new KafkaEventBus({ ...options, logger })
    expect(bus.isConnected).toBe(false)
    return logger.lines.map(({ level, message }) => [level, message])
  }

  it('warns once about credentials without TLS, and about unchecked host names', () => {
    expect(warningsOf({ ...saslPlaintext, ...plain })).toEqual([
      ['warn', 'credentials and events travel unencrypted (SASL_PLAINTEXT)'],
    ])
    expect(warningsOf({ ...ssl, sslCheckHostname: false })).toEqual([
      ['warn', 'the host name of the broker is not checked (sslCheckHostname)'],
    ])
  })

  it('has no warning about other settings', () => {
    for (const options of [{}, ssl, { ...saslSsl, ...plain }]) expect(warningsOf(options)).toEqual([])
  })
})
