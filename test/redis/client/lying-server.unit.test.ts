import { inspect } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { RedisEventBus } from '../../../src/index.ts'
import { ReplyGuard } from '../../../src/redis/client/reply-guard.ts'
import { lyingServer, repeatedly } from '../../support/lying-server.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { waitFor } from '../../support/wait-for.ts'

async function failureOf(port: number) {
  const logger = new RecordingLogger()
  const bus = new RedisEventBus({
    redisUrl: `redis://user:Tr0ub4dor-Canary@127.0.0.1:${port}`,
    socketConnectTimeoutMs: 2000,
    logger,
  })
  onTestFinished(() => bus.shutdown({ timeoutMs: 100 }))
  const error: unknown = await bus.connect().then(
    () => expect.unreachable('it connects'),
    (thrown: unknown) => thrown,
  )
  return { error, bus, logger }
}

it.each([
  ['a string of 2 GiB', '$2147483648\r\n', 'announces a string of the length 2147483648'],
  [
    'a string of a length beyond 2^53',
    '$99999999999999999999\r\n',
    'announces a string of the length 99999999999999999999',
  ],
  ['an array of 2^31 elements', '*2147483647\r\n', 'announces an array of the length 2147483647'],
  ['a length that is none', '$many\r\n', 'announces a string of the length many'],
])('closes the connection of a server that announces %s', async (_what, reply, text) => {
  const { port, sockets } = await lyingServer((socket) => {
    socket.once('data', () => {
      socket.write(reply)
      repeatedly(socket, 5, () => socket.write(Buffer.alloc(1 << 16, 'x')))
    })
  })

  const { error } = await failureOf(port)

  expect(error).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
  expect(String(error)).toContain(text)
  await waitFor(() => sockets.size === 0)
})

it('shows no password that the server repeats', async () => {
  const { port } = await lyingServer((socket) => {
    socket.on('data', (request) => {
      socket.write(`-ERR rejected ${request.toString().replaceAll('\r\n', ' ')}\r\n`)
    })
  })

  const { error, bus, logger } = await failureOf(port)

  expect(String(error)).toContain('***')
  expect(inspect([error, bus, logger.lines, bus.getStats()], { depth: 9 })).not.toContain('Canary')
})

describe('the framing', () => {
  const replies = [
    '+OK\r\n',
    ':42\r\n',
    '-ERR no\r\n',
    '$5\r\n$9\r\nx\r\n',
    '$-1\r\n',
    '*-1\r\n',
    '*0\r\n',
    '$0\r\n\r\n',
    '*2\r\n*2\r\n$3\r\n*9\n\r\n$1\r\n\r\r\n*1\r\n:1\r\n',
  ].join('')

  it('of good replies is followed, however they are cut into chunks', () => {
    const bytes = Buffer.from(replies.repeat(3))
    for (let size = 1; size <= bytes.length; size += 1) {
      const guard = new ReplyGuard()
      for (let at = 0; at < bytes.length; at += size) guard.check(bytes.subarray(at, at + size))
      expect(() => guard.check(Buffer.from('$2147483648\r\n'))).toThrow('announces a string')
    }
  })

  it('ends a reply that never ends', () => {
    const chunk = Buffer.alloc(1 << 20, '+')
    const endless = new ReplyGuard()
    expect(() => {
      for (let n = 0; n < 3; n += 1) endless.check(chunk)
    }).toThrow('endless line')

    const large = new ReplyGuard()
    large.check(Buffer.from('*9\r\n'))
    const part = Buffer.from(`$${chunk.length}\r\n${chunk}\r\n`)
    let sent = 0
    expect(() => {
      for (large.check(Buffer.from('*1000000\r\n')); ; sent += part.length) large.check(part)
    }).toThrow('more than 1073741824 bytes')
    expect(sent).toBeLessThan(1.01 * 2 ** 30)
  })

  it('lets any number of replies pass', () => {
    const guard = new ReplyGuard()
    const reply = Buffer.from(`*1\r\n$${1 << 20}\r\n${'x'.repeat(1 << 20)}\r\n`)
    for (let n = 0; n < 2000; n += 1) guard.check(reply)
  })
})
