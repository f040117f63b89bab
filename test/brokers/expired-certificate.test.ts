import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import { expect, it, onTestFinished } from 'vitest'
import { KafkaEventBus } from '../../src/kafka/index.ts'
import { RabbitMQEventBus } from '../../src/rabbitmq/index.ts'
import { RedisEventBus } from '../../src/redis/index.ts'
import { Certificates } from '../support/certificates.ts'

it.each(['redis', 'rabbitmq', 'kafka'] as const)('refuses an expired certificate, on %s', async (system) => {
  const certificates = await Certificates.create()
  onTestFinished(() => certificates.remove())
  await certificates.makeExpired('localhost')
  const [key, cert] = await Promise.all([
    certificates.read('localhost.key'),
    certificates.read('localhost.pem'),
  ])
  let bytes = 0
  const server = createServer({ key, cert }, (socket) => {
    socket
      .on('error', () => undefined)
      .on('data', (chunk) => {
        bytes += chunk.length
      })
  })
  server.listen(0, 'localhost')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  // A server that listens on TCP has an address of this type.
  const { port } = server.address() as AddressInfo
  const ca = certificates.path('localhost.pem')
  const bus = {
    redis: () => new RedisEventBus({ redisUrl: `rediss://localhost:${port}`, tls: { ca: cert } }),
    rabbitmq: () => new RabbitMQEventBus({ rabbitmqUrl: `amqps://localhost:${port}`, caFile: ca }),
    kafka: () =>
      new KafkaEventBus({ bootstrapServers: `localhost:${port}`, securityProtocol: 'SSL', sslCafile: ca }),
  }[system]()
  onTestFinished(() => bus.shutdown({ timeoutMs: 1000 }))

  await expect(bus.connect()).rejects.toThrow(/certificate has expired|CERT_HAS_EXPIRED/)
  // The connection was never downgraded: the client sent no byte of its protocol.
  expect(bytes).toBe(0)
})
