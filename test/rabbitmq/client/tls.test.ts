import { chmod } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { afterAll, expect, it } from 'vitest'
import { freePort } from '../../brokers/free-port.ts'
import { launchBroker } from '../../brokers/launch-broker.ts'
import { Certificates } from '../../support/certificates.ts'
import { orderCreated } from '../../support/order-events.ts'
import { consume, createBus, recorder, until } from '../scene.ts'

const certificates = await Certificates.create()
const file = (name: string) => certificates.path(name)
await certificates.makeAuthority('ca')
await certificates.makeAuthority('other')
await certificates.make('server', 'ca', 'DNS:localhost')
await certificates.make('client', 'ca')
await chmod(file('server.key'), 0o644)
const port = await freePort()
const broker = await launchBroker('rabbitmq', {
  config: [
    `listeners.ssl.default = ${port}`,
    `ssl_options.cacertfile = ${file('ca.pem')}`,
    `ssl_options.certfile = ${file('server.pem')}`,
    `ssl_options.keyfile = ${file('server.key')}`,
    'ssl_options.verify = verify_peer',
    'ssl_options.fail_if_no_peer_cert = true',
  ],
})

afterAll(async () => {
  await broker.dispose()
  await certificates.remove()
})

const url = `amqps://guest:guest@localhost:${port}/`
const client = { certFile: file('client.pem'), keyFile: file('client.key') }

it('connects with a client certificate to a trusted server', async () => {
  // Any TLS option makes it a TLS connection.
  const bus = createBus({ rabbitmqUrl: url.replace('amqps', 'amqp'), caFile: file('ca.pem'), ...client })
  const events = recorder(bus)
  await consume(bus)
  await bus.publish([orderCreated()])
  await until('the event', () => events.length === 1)
})

it('accepts a context or Node options instead of files', async () => {
  const [ca, cert, key] = await Promise.all(
    ['ca.pem', 'client.pem', 'client.key'].map((name) => certificates.read(name)),
  )
  const sslContext = createSecureContext({ ca, cert, key })
  await createBus({ rabbitmqUrl: url, sslContext }).connect()
  await createBus({ rabbitmqUrl: url, sslOptions: { ca, cert, key } }).connect()
})

it.each([
  ['whose authority is unknown', { ...client, caFile: file('other.pem') }],
  [
    'whose certificate names another host',
    { ...client, caFile: file('ca.pem'), rabbitmqUrl: url.replace('localhost', '127.0.0.1') },
  ],
  ['that requires a client certificate, without one', { caFile: file('ca.pem') }],
])('fails to connect to a server %s', async (_what, options) => {
  const bus = createBus({ rabbitmqUrl: url, ...options })
  await expect(bus.connect()).rejects.toMatchObject({ code: 'AUTHENTICATION_FAILED', retryable: false })
})

it('accepts any server with verifySsl false', async () => {
  const bus = createBus({ rabbitmqUrl: url.replace('localhost', '127.0.0.1'), verifySsl: false, ...client })
  await bus.publish([orderCreated()])
})
