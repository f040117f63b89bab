import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { KafkaEventBus } from '../../src/kafka/index.ts'
import { RabbitMQEventBus } from '../../src/rabbitmq/index.ts'
import { RedisEventBus } from '../../src/redis/index.ts'
import { Certificates } from '../support/certificates.ts'
import { freePort } from './free-port.ts'

// Faults of the way to a broker, which need no broker.
const certificates = await Certificates.create()
await certificates.makeExpired('expired')
await certificates.makeAuthority('authority')
await certificates.make('elsewhere', 'authority', 'DNS:elsewhere.test')
await certificates.make('localhost', 'authority', 'DNS:localhost')

afterAll(() => certificates.remove())

interface Way {
  readonly server: string
  /** The authority that the bus trusts, for a connection with TLS. */
  readonly authority?: string
  readonly isPlain?: boolean
}

const buses = {
  redis: async ({ server, authority, isPlain = false }: Way) => {
    const tls = authority === undefined ? {} : { tls: { ca: await certificates.read(`${authority}.pem`) } }
    return new RedisEventBus({ redisUrl: `redis${isPlain ? '' : 's'}://${server}`, ...tls })
  },
  rabbitmq: async ({ server, authority, isPlain = false }: Way) => {
    const tls = authority === undefined ? {} : { caFile: certificates.path(`${authority}.pem`) }
    return new RabbitMQEventBus({ rabbitmqUrl: `amqp${isPlain ? '' : 's'}://${server}`, ...tls })
  },
  kafka: async ({ server, authority, isPlain = false }: Way) => {
    const tls = authority === undefined ? {} : { sslCafile: certificates.path(`${authority}.pem`) }
    const securityProtocol = isPlain ? 'PLAINTEXT' : 'SSL'
    return new KafkaEventBus({ bootstrapServers: server, securityProtocol, ...tls, connectTimeoutMs: 2000 })
  },
}

/** A server that speaks TLS, and nothing else. */
async function tlsServer(name: string): Promise<string> {
  const [key, cert] = await Promise.all([certificates.read(`${name}.key`), certificates.read(`${name}.pem`)])
  const server = createServer({ key, cert }, (socket) => socket.on('error', () => undefined))
  server.listen(0, 'localhost')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  // A server that listens on TCP has an address of this type.
  return `localhost:${(server.address() as AddressInfo).port}`
}

const FAULTS: readonly (readonly [fault: string, way: () => Promise<Way>, remedy: RegExp])[] = [
  [
    'an expired certificate',
    async () => ({ server: await tlsServer('expired'), authority: 'expired' }),
    /^Renew the certificate of the server\.$/,
  ],
  [
    'a certificate of another host',
    async () => ({ server: await tlsServer('elsewhere'), authority: 'authority' }),
    /^Connect by a name that is in the certificate of the server\.$/,
  ],
  [
    'an unknown certificate authority',
    async () => ({ server: await tlsServer('localhost') }),
    /^Pass the certificate authority of the server\.$/,
  ],
  [
    'a port with TLS, reached without',
    async () => ({ server: await tlsServer('localhost'), isPlain: true }),
    /^Check whether this port expects TLS/,
  ],
  [
    'an unknown host name',
    () => Promise.resolve({ server: 'no-such-host.invalid:1', isPlain: true }),
    /^Check the host name in the URL, and the name resolution of this machine\.$/,
  ],
  [
    'a closed port',
    async () => ({ server: `127.0.0.1:${await freePort()}`, isPlain: true }),
    /^Start the broker, or check host and port\.$/,
  ],
]

describe.each(['redis', 'rabbitmq', 'kafka'] as const)('diagnose of %s', (system) => {
  it.each(FAULTS)('finds %s, and says how to fix it', async (_fault, way, remedy) => {
    const bus = await buses[system](await way())
    onTestFinished(() => bus.shutdown({ timeoutMs: 1000 }))
    const findings: unknown[] = []

    for await (const finding of bus.admin.diagnose()) findings.push(finding)

    expect(findings).toEqual([
      {
        check: 'connection',
        level: 'fault',
        text: expect.any(String),
        remedy: expect.stringMatching(remedy),
      },
    ])
  })
})
