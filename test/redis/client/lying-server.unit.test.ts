import { inspect } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { RedisEventBus } from '../../../src/index.ts'
import { ReplyGuard } from '../../../src/redis/client/reply-guard.ts'
import { Certificates } from '../../support/certificates.ts'
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

it('closes a connection with TLS, too', async () => {
  const certificates = await Certificates.create()
  onTestFinished(() => certificates.remove())
  await certificates.makeAuthority('authority')
  await certificates.make('server', 'authority', 'DNS:localhost')
  const [key, cert, ca] = await Promise.all(
    ['server.key', 'server.pem', 'authority.pem'].map((file) => certificates.read(file)),
  )
  const { port, sockets } = await lyingServer(
    (socket) => void socket.once('data', () => socket.write('$2147483648\r\n')),
    { key, cert },
  )
  const bus = new RedisEventBus({
    redisUrl: `rediss://localhost:${port}`,
    tls: { ca },
    socketConnectTimeoutMs: 5000,
    logger: new RecordingLogger(),
  })
  onTestFinished(() => bus.shutdown({ timeoutMs: 100 }))

  await expect(bus.connect()).rejects.toThrow('announces a string of the length 2147483648')
  await waitFor(() => sockets.size === 0)
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
  const long = 'y'.repeat(100)
  const limits = { maxStringBytes: 99, maxReplyBytes: 150 }

  /** The bytes that a guard passes on if they arrive in chunks of this size. */
  function passed(bytes: Buffer, size: number): string {
    const guard = new ReplyGuard(limits)
    const parts: Buffer[] = []
    for (let at = 0; at < bytes.length; at += size) parts.push(...guard.pass(bytes.subarray(at, at + size)))
    return Buffer.concat(parts).toString()
  }

  it('of valid replies is parsed and not changed, regardless of the chunks', () => {
    const bytes = Buffer.from(replies.repeat(3))
    for (let size = 1; size <= bytes.length; size += 1) {
      expect(passed(bytes, size)).toBe(replies.repeat(3))
      expect(() => passed(Buffer.concat([bytes, Buffer.from('$2147483648\r\n')]), size)).toThrow(
        'announces a string',
      )
    }
  })

  it('replaces a string that is too long with null, regardless of the chunks', () => {
    const bytes = Buffer.from(`*3\r\n$1\r\na\r\n$100\r\n${long}\r\n$1\r\nb\r\n$100\r\n${long}\r\n:1\r\n`)
    for (let size = 1; size <= bytes.length; size += 1)
      expect(passed(bytes, size)).toBe('*3\r\n$1\r\na\r\n$-1\r\n$1\r\nb\r\n$-1\r\n:1\r\n')
  })

  it('keeps null in the place of the strings that are too much for one reply, and short ones', () => {
    const value = 'z'.repeat(80)
    const reply = `*4\r\n$80\r\n${value}\r\n$80\r\n${value}\r\n$1\r\na\r\n$80\r\n${value}\r\n`
    expect(passed(Buffer.from(reply.repeat(2)), 1000)).toBe(
      `*4\r\n$80\r\n${value}\r\n$-1\r\n$1\r\na\r\n$-1\r\n`.repeat(2),
    )
  })

  it('ends a reply that never ends', () => {
    const chunk = Buffer.alloc(1 << 20, '+')
    const endless = new ReplyGuard(limits)
    expect(() => {
      for (let n = 0; n < 3; n += 1) endless.pass(chunk)
    }).toThrow('endless line')

    const deep = new ReplyGuard(limits)
    deep.pass(Buffer.from('*3000000\r\n'))
    expect(() => deep.pass(Buffer.from('*3000000\r\n'))).toThrow('more than 4000000 elements')

    const lines = new ReplyGuard(limits)
    const line = Buffer.from(`+${'x'.repeat(1 << 19)}\r\n`)
    let kept = 0
    expect(() => {
      for (lines.pass(Buffer.from('*1000000\r\n')); ; kept += line.length) lines.pass(line)
    }).toThrow('more than 256000150 bytes')
    expect(kept).toBeLessThan(257e6)
  })

  it('passes on no more than the limit of eight strings of 100 MB', () => {
    const guard = new ReplyGuard({ maxStringBytes: 20e6, maxReplyBytes: 64e6 })
    const chunk = Buffer.alloc(1e6)
    let bytes = 0
    const pass = (part: Buffer) => {
      for (const { length } of guard.pass(part)) bytes += length
    }
    pass(Buffer.from('*8\r\n'))
    for (let n = 0; n < 8; n += 1) {
      pass(Buffer.from('$100000000\r\n'))
      for (let part = 0; part < 100; part += 1) pass(chunk)
      pass(Buffer.from('\r\n'))
    }
    expect(bytes).toBe('*8\r\n'.length + 8 * '$-1\r\n'.length)
  })

  it('lets any number of replies pass', () => {
    const guard = new ReplyGuard({ maxStringBytes: 2e6, maxReplyBytes: 2e6 })
    const reply = Buffer.from(`*1\r\n$${1 << 20}\r\n${'x'.repeat(1 << 20)}\r\n`)
    for (let n = 0; n < 2000; n += 1) {
      const passed = guard.pass(reply)
      expect(passed).toHaveLength(1)
      expect(passed[0]).toBe(reply)
    }
  })
})
