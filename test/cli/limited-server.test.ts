import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { createLimitedServer, type ServerLimits } from '../../src/cli/limited-server.ts'
import { createOperatorHandler, operatorListener } from '../../src/operator/index.ts'
import { MemoryBrokerEventBus } from '../../src/testing/index.ts'
import { silentLogger } from '../operator/silent-logger.ts'
import { paced } from '../support/pace.ts'

const HEAD =
  'POST /events/groups/billing/pause HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: same-origin\r\n'
const FORM = 'content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\nwhy'

/** The server of `eventspine ui` with the page of a bus in memory. */
async function serveWith(limits?: ServerLimits) {
  const bus = new MemoryBrokerEventBus({ logger: silentLogger })
  const handler = createOperatorHandler({
    buses: { events: bus },
    authorize: () => ({ name: 'anna', roles: ['see', 'operate'] }),
    logger: silentLogger,
  })
  const server = createLimitedServer(limits).on('request', operatorListener(handler))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.closeAllConnections()
    server.close()
    await handler.close()
    await bus.shutdown()
  })
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return { server, port, url: `http://127.0.0.1:${port}/events` }
}

/** Resolves also if the connection was reset. */
const closed = (socket: Socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()))

/** Sends the characters of a text one after another, and then nothing: what the server answers, and when it closes the connection. */
async function drip(port: number, text: string, everyMs: number) {
  const startedAt = performance.now()
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  let sent = 0
  socket
    .on('error', () => undefined)
    .on('data', (chunk: Buffer) => {
      answer += chunk.toString('latin1')
    })
  await once(socket, 'connect')
  const timer = setInterval(() => {
    if (sent < text.length && socket.writable) socket.write(text[sent] ?? '')
    sent += 1
  }, everyMs)
  await closed(socket)
  clearInterval(timer)
  return { answer, ms: performance.now() - startedAt }
}

const QUICK: ServerLimits = { headersMs: 300, requestMs: 600, checkMs: 50, connections: 1000 }

test.each([
  ['headers that arrive slowly', HEAD.repeat(20), 300],
  ['headers that never end', HEAD, 300],
  ['a form that arrives slowly', HEAD + FORM, 300],
])(
  '%s are cut off, soon after their limit, and the page is answered meanwhile',
  async (_name, text, limit) => {
    const { port, url } = await serveWith(QUICK)
    const slow = Array.from({ length: 20 }, () => drip(port, text, 10))
    const shown = await fetch(url)
    expect(shown.status).toBe(200)
    await shown.text()
    for (const { answer, ms } of await Promise.all(slow)) {
      expect(answer).toMatch(/^HTTP\/1\.1 408 /)
      expect(ms).toBeGreaterThanOrEqual(limit)
      expect(ms).toBeLessThan(limit + paced(1500))
    }
  },
)

test('a form whose headers are there at once, and whose body arrives slowly, is cut off by the limit of the request', async () => {
  const { port } = await serveWith(QUICK)
  const startedAt = performance.now()
  const socket = connect(port, '127.0.0.1').on('error', () => undefined)
  let answer = ''
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1')
  })
  await once(socket, 'connect')
  socket.write(HEAD + FORM)
  const timer = setInterval(() => socket.writable && socket.write('x'), 50)
  await closed(socket)
  clearInterval(timer)
  expect(answer).toMatch(/^HTTP\/1\.1 408 /)
  expect(performance.now() - startedAt).toBeLessThan(QUICK.requestMs + paced(1500))
})

test('too many connections are closed, and those that are open are served', async () => {
  const { server, port } = await serveWith({ ...QUICK, headersMs: 20_000, requestMs: 20_000, connections: 5 })
  const refused = Promise.withResolvers<void>()
  let drops = 0
  server.on('drop', () => {
    drops += 1
    if (drops === 15) refused.resolve()
  })
  const answers = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const socket = connect(port, '127.0.0.1').on('error', () => undefined)
      let answer = ''
      socket.on('data', (chunk: Buffer) => {
        answer += chunk.toString('latin1')
      })
      const isClosed = closed(socket)
      // Those that are open stay so until the others were refused.
      void refused.promise.then(() =>
        socket.write('GET /events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'),
      )
      await isClosed
      return answer
    }),
  )
  expect(answers.filter((answer) => answer.startsWith('HTTP/1.1 200'))).toHaveLength(5)
})

test('the command itself gives headers 10 seconds, requests 30 seconds, and looks every second', async () => {
  const { server } = await serveWith()
  expect(server).toMatchObject({
    headersTimeout: 10_000,
    requestTimeout: 30_000,
    connectionsCheckingInterval: 1000,
    maxConnections: 1000,
  })
})
