import { inspect } from 'node:util'
import { expect, it, onTestFinished } from 'vitest'
import { type ConnectionError, RabbitMQEventBus } from '../../../src/index.ts'
import { lyingServer, repeatedly } from '../../support/lying-server.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { waitFor } from '../../support/wait-for.ts'

/** A frame of AMQP 0-9-1. @param size - what the frame says about its size. */
function frame(type: number, payload: Buffer, size = payload.length): Buffer {
  const head = Buffer.alloc(7)
  head.writeUInt8(type, 0)
  head.writeUInt32BE(size, 3)
  return Buffer.concat([head, payload, Buffer.of(0xce)])
}

function longText(text: string): Buffer {
  return sized(Buffer.from(text))
}

function sized(bytes: Buffer): Buffer {
  const size = Buffer.alloc(4)
  size.writeUInt32BE(bytes.length)
  return Buffer.concat([size, bytes])
}

/** connection.start of 0-9 without properties, with the mechanism PLAIN. */
const START = frame(
  1,
  Buffer.concat([Buffer.of(0, 10, 0, 10, 0, 9, 0, 0, 0, 0), longText('PLAIN'), longText('en_US')]),
)

/** connection.close with a text. */
function close(code: number, text: Buffer): Buffer {
  const reply = text.subarray(0, 255)
  return frame(
    1,
    Buffer.concat([Buffer.of(0, 10, 0, 50, code >> 8, code & 0xff, reply.length), reply, Buffer.alloc(4)]),
  )
}

async function failureOf(port: number, options: object = {}) {
  const logger = new RecordingLogger()
  const bus = new RabbitMQEventBus({
    rabbitmqUrl: `amqp://user:Tr0ub4dor-Canary@127.0.0.1:${port}`,
    connectTimeoutMs: 500,
    logger,
    ...options,
  })
  onTestFinished(() => bus.shutdown({ timeoutMs: 100 }))
  const startedAt = performance.now()
  const error: ConnectionError = await bus.connect().then(
    () => expect.unreachable('it connects'),
    (thrown) => thrown,
  )
  return { error, bus, logger, elapsedMs: performance.now() - startedAt }
}

it('gives up a server that sends its handshake too slowly, and closes the connection', async () => {
  const { port, sockets } = await lyingServer((socket) => {
    let sent = 0
    repeatedly(socket, 20, () => {
      socket.write(START.subarray(sent, sent + 1))
      sent += 1
    })
  })

  const { error, elapsedMs } = await failureOf(port)

  expect(error).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
  expect(error.message).toContain('not connected within 500 ms (connectTimeoutMs)')
  expect(elapsedMs).toBeGreaterThan(490)
  await waitFor(() => sockets.size === 0)
})

it('refuses a frame of 4 GiB at once', async () => {
  const { port, sockets } = await lyingServer((socket) =>
    socket.write(frame(1, Buffer.alloc(8), 2 ** 32 - 1)),
  )

  const { error } = await failureOf(port, { connectTimeoutMs: 60_000 })

  expect(error).toMatchObject({ code: 'CONNECTION_FAILED' })
  expect(error.message).toContain('4294967295')
  await waitFor(() => sockets.size === 0)
})

it('tries the next server after a slow one', async () => {
  const dripping = await lyingServer((socket) =>
    repeatedly(socket, 20, () => socket.write(START.subarray(0, 1))),
  )
  let reached = 0
  const refusing = await lyingServer((socket) => {
    reached += 1
    socket.destroy()
  })
  const urls = [dripping.port, refusing.port].map((port) => `amqp://127.0.0.1:${port}`)

  await failureOf(dripping.port, { rabbitmqUrl: urls })

  expect(reached).toBe(1)
})

it('shows no password that the server repeats', async () => {
  const { port } = await lyingServer((socket) => {
    socket.once('data', () => {
      socket.write(START)
      socket.once('data', (startOk) => {
        const at = startOk.indexOf('\0user\0')
        socket.write(close(530, Buffer.concat([Buffer.from('NOT_ALLOWED - got '), startOk.subarray(at)])))
      })
    })
  })

  const { error, bus, logger } = await failureOf(port)

  expect(error.message).toMatch(/NOT_ALLOWED.*\*\*\*/s)
  expect(inspect([error, bus, logger.lines, bus.getStats()], { depth: 9 })).not.toContain('Canary')
})

it('survives a server whose properties are nested twelve thousand levels deep', async () => {
  const prefix = Buffer.from('\x01dF')
  const properties = Buffer.alloc(12_000 * 7)
  for (let at = 0; at < properties.length; at += 4) {
    at += prefix.copy(properties, at)
    properties.writeUInt32BE(properties.length - at - 4, at)
  }
  const start = Buffer.concat([Buffer.of(0, 10, 0, 10, 0, 9), sized(properties)])
  const { port, sockets } = await lyingServer((socket) => socket.write(frame(1, start)))

  const { error } = await failureOf(port, { connectTimeoutMs: 5000 })

  expect(error).toMatchObject({ code: 'CONNECTION_FAILED' })
  await waitFor(() => sockets.size === 0)
})
