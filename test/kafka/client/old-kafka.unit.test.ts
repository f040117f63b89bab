import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { KafkaEventBus } from '../../../src/kafka/index.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'

interface Api {
  readonly key: number
  readonly newest: number
}

/** A server that answers ApiVersions, as an old broker would, and nothing else. */
async function fakeKafka(answer: Buffer): Promise<string> {
  const server = createServer((socket) => {
    let received = Buffer.alloc(0)
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      while (received.length >= 4 && received.length >= 4 + received.readInt32BE(0)) {
        const correlationId = received.subarray(8, 12)
        received = received.subarray(4 + received.readInt32BE(0))
        const length = Buffer.alloc(4)
        length.writeInt32BE(4 + answer.length)
        socket.write(Buffer.concat([length, correlationId, answer]))
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return `127.0.0.1:${address.port}`
}

/** ApiVersions, version 3: no error, a compact array, no throttling, no tags. */
function apiVersions(apis: readonly Api[]): Buffer {
  const entries = apis.map(({ key, newest }) => {
    const entry = Buffer.alloc(7) // key, oldest, newest, no tags
    entry.writeInt16BE(key, 0)
    entry.writeInt16BE(newest, 4)
    return entry
  })
  return Buffer.concat([Buffer.from([0, 0, apis.length + 1]), ...entries, Buffer.alloc(5)])
}

async function refusalOf(answer: Buffer): Promise<unknown> {
  const bootstrapServers = await fakeKafka(answer)
  const bus = new KafkaEventBus({ bootstrapServers, logger: new RecordingLogger() })
  onTestFinished(() => bus.shutdown({ timeoutMs: 1000 }))
  return await bus.connect().catch((thrown: unknown) => thrown)
}

const fetch = 1

it.each([
  ['3.0', [{ key: fetch, newest: 12 }], '2.7 to 3.0'],
  ['2.3', [{ key: fetch, newest: 11 }], '2.3 to 2.6'],
  ['2.1', [{ key: fetch, newest: 10 }], '2.1 or 2.2'],
  ['2.0', [{ key: fetch, newest: 8 }], '2.0 or older'],
  ['a server without Fetch', [], 'unknown'],
])('refuses Kafka %s, with its version', async (_name, apis, version) => {
  const error = await refusalOf(apiVersions(apis))

  expect(error).toMatchObject({ code: 'TOPOLOGY_CONFLICT', retryable: false })
  expect(String(error)).toMatch(
    new RegExp(`Kafka at \\S+ has version ${version}: .* needs Kafka 3.1 or newer`),
  )
})

it('refuses a Kafka that does not know the first request, with its version', async () => {
  // The answer has the format of version 0: UNSUPPORTED_VERSION and an array of one.
  const error = await refusalOf(Buffer.from([0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 2]))

  expect(error).toMatchObject({ code: 'TOPOLOGY_CONFLICT', retryable: false })
  expect(String(error)).toMatch(/Kafka at \S+ has version 2\.3 or older.* needs Kafka 3\.1 or newer/)
})
