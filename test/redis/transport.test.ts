import { expect, inject, it } from 'vitest'
import { ConnectionError } from '../../src/index.ts'
import type { RedisEventBusOptions } from '../../src/redis/index.ts'
import { freePort } from '../brokers/free-port.ts'
import { replaceInText } from '../support/replace-in-text.ts'
import { waitFor } from '../support/wait-for.ts'
import {
  connectClient,
  consumingBus,
  createBus,
  failure,
  freshPrefix,
  launchRedis,
  Noted,
  notes,
  startProxy,
} from './scene.ts'

it('reports a key of another type at the name of the stream', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  await client.set(`${streamPrefix}:stream`, 'a string')
  const bus = createBus({ streamPrefix })

  const error = await failure(bus.connect())

  expect(error).toMatchObject({ code: 'TOPOLOGY_CONFLICT', retryable: false })
  expect(error.message).toContain(`${streamPrefix}:stream`)
})

it('refuses a server that is too old, with its version', async () => {
  const { proxy, redisUrl } = await startProxy()
  proxy.rewriteAnswers((chunk) => replaceInText(chunk, /(?<=redis_version:)\d/, '5'))
  const bus = createBus({ redisUrl })

  const error = await failure(bus.connect())

  expect(error).toMatchObject({ code: 'TOPOLOGY_CONFLICT', retryable: false })
  expect(error.message).toMatch(/^Redis at \S+ has version 5\.\S+\. RedisEventBus needs Redis 6\.2 or newer/)
})

it('reports that the server is a read-only replica', async () => {
  const replica = await launchRedis(`replicaof 127.0.0.1 ${new URL(inject('redisUrl')).port}`)
  const bus = createBus({ redisUrl: replica.url })

  const error = await failure(bus.connect())

  expect(error.message).toMatch(/read-only replica. Connect to its primary/)
})

it('warns about a server that may evict whole streams', async () => {
  const broker = await launchRedis('maxmemory 100mb', 'maxmemory-policy allkeys-lru')
  const { logger } = await consumingBus(broker.url)

  expect(JSON.stringify(logger.lines.map(({ fields }) => String(Reflect.get(fields, 'error'))))).toMatch(
    /Redis at 127.0.0.1:\d+ may evict whole streams: its maxmemory-policy is allkeys-lru. Set it to noeviction/,
  )
})

it('reports that it does not follow redirections of a Redis Cluster', async () => {
  const launchNode = async () => launchRedis('cluster-enabled yes', `cluster-port ${await freePort()}`)
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
    return failure(bus.startConsuming())
  }

  const elsewhere = await fail({ streamPrefix: await prefixAt(false), useHashTag: true })
  const here = await consumingBus(node.url, { streamPrefix: await prefixAt(true), useHashTag: true })
  await here.bus.publish(notes('a', 2))

  await waitFor(() => here.seen.length === 2)
  expect(elsewhere).toBeInstanceOf(ConnectionError)
  expect(elsewhere).toMatchObject({ code: 'TOPOLOGY_CONFLICT', retryable: false })
  expect(String(elsewhere)).toMatch(
    /is a Redis Cluster \(MOVED .*does not follow redirections to other nodes/,
  )
})
