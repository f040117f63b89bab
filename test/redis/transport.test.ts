import { expect, inject, it } from 'vitest'
import { replaceInText } from '../support/replace-in-text.ts'
import {
  connectClient,
  consumingBus,
  createBus,
  failure,
  freshPrefix,
  launchRedis,
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
