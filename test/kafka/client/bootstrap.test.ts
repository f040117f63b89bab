import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { expect, inject, it, onTestFinished } from 'vitest'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { paced } from '../../support/pace.ts'
import { consume, createBus, noticesOf, recorder, startProxy, until } from '../scene.ts'

/** A server that accepts connections, and then closes them or says nothing. */
async function deadServer(mode: 'closes' | 'is silent'): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined))
    if (mode === 'closes') socket.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  // A server that listens on TCP has such an address.
  return (server.address() as AddressInfo).port
}

it.each(['closes', 'is silent'] as const)(
  'connects to the next bootstrap server if the first one accepts the connection and %s',
  async (mode) => {
    const port = await deadServer(mode)
    const bus = createBus({ bootstrapServers: `127.0.0.1:${port},${inject('kafkaBootstrapServers')}` })

    const start = performance.now()
    await bus.connect()
    await bus.publish([orderCreated()])

    expect(performance.now() - start).toBeLessThan(paced(4000))
  },
)

it('gives up within connectTimeoutMs if no server answers', async () => {
  const bootstrapServers = `127.0.0.1:${await deadServer('is silent')},127.0.0.1:${await deadServer('is silent')}`
  const bus = createBus({ bootstrapServers, connectTimeoutMs: 1000 })

  const start = performance.now()
  const error = await bus.connect().catch((thrown: unknown) => thrown)

  expect(error).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
  expect(String(error)).toMatch(/no answer within 1000 ms.*no answer within 1000 ms/)
  expect(performance.now() - start).toBeLessThan(paced(3000))
})

it('sends each request in a version that its own broker supports', async () => {
  const [bootstrap, older] = [await startProxy(), await startProxy()]
  bootstrap.announce(older.port)
  // As in Kafka 3.1: produce, fetch, metadata, offset commit, offset fetch, find coordinator, join group.
  const limits = new Map(
    Object.entries({ 0: 9, 1: 13, 3: 12, 8: 8, 9: 8, 10: 4, 11: 7 }).map(([k, v]) => [Number(k), v]),
  )
  older.limitVersions(limits)
  const bus = createBus({ bootstrapServers: `127.0.0.1:${bootstrap.port}` })
  const seen = recorder(bus)
  await consume(bus)

  await bus.publish([orderCreated()])

  await until('the event', () => seen.length === 1)
  const sent = older.requests.filter(({ key }) => limits.has(key))
  expect(new Set(sent.map(({ key }) => key))).toEqual(new Set(limits.keys()))
  expect(sent.filter(({ key, version }) => version > (limits.get(key) ?? 0))).toEqual([])
})

it('names the addresses that the brokers announce if none of them can be reached, and stays disconnected', async () => {
  const proxy = await startProxy()
  proxy.announce(1)
  const bus = createBus({ bootstrapServers: `127.0.0.1:${proxy.port}`, publishTimeoutMs: 2000 })
  bus.subscribe(OrderCreated, () => undefined)
  const notices = noticesOf(bus)

  const error = await bus.connect().catch((thrown: unknown) => thrown)
  const failure = await bus.publish([orderCreated()]).catch((thrown: unknown) => thrown)

  expect(error).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
  expect(String(error)).toMatch(
    /announces its brokers as 127\.0\.0\.1:1,.*ECONNREFUSED.*Set advertised\.listeners/,
  )
  expect(String(failure)).toContain('127.0.0.1:1')
  expect(notices).toEqual([])
})

it('reports one loss, and no recovery, while the announced address cannot be reached', async () => {
  const [bootstrap, broker] = [await startProxy(), await startProxy()]
  bootstrap.announce(broker.port)
  const bus = createBus({ bootstrapServers: `127.0.0.1:${bootstrap.port}`, publishTimeoutMs: 4000 })
  recorder(bus)
  await consume(bus)
  const notices = noticesOf(bus)

  bootstrap.announce(1)
  broker.close()
  const failure = await bus.publish([orderCreated()]).catch((thrown: unknown) => thrown)

  expect(String(failure)).toMatch(/No confirmation within 4000 ms.*announces its brokers as 127\.0\.0\.1:1/)
  expect(notices.map(({ type }) => type)).toEqual(['connectionLost'])
})
