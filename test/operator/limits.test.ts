import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import express5 from 'express'
import express4 from 'express4'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createOperatorHandler, operatorListener } from '../../src/operator/index.ts'
import { waitFor } from '../support/wait-for.ts'
import { demoSystem } from './demo-system.ts'
import { serve } from './serve.ts'
import { silentLogger } from './silent-logger.ts'

let system: Awaited<ReturnType<typeof demoSystem>>
beforeAll(async () => {
  system = await demoSystem(6)
})
afterAll(() => system.close())

const handlerOf = () =>
  createOperatorHandler({
    buses: { orders: system.bus },
    authorize: () => ({ name: 'anna', roles: ['see', 'read', 'operate', 'change'] }),
    logger: silentLogger,
  })

const STREAM = 'GET /orders/live/stream HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'

/** Connections that each send the same, with the first line of each answer. */
async function openAll(port: number, count: number, text: string) {
  const sockets: Socket[] = []
  const answers = new Map<string, number>()
  const open = () =>
    new Promise<void>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(text))
      sockets.push(socket)
      socket.on('error', () => undefined)
      const note = (line: string) => {
        answers.set(line, (answers.get(line) ?? 0) + 1)
        socket.removeAllListeners('data').removeAllListeners('close')
        socket.resume()
        resolve()
      }
      socket.once('data', (chunk: Buffer) => note(String(chunk).slice(9, 12)))
      socket.once('close', () => note('closed'))
    })
  for (let at = 0; at < count; at += 250)
    await Promise.all(Array.from({ length: Math.min(250, count - at) }, open))
  return { answers, close: () => sockets.forEach((socket) => void socket.destroy()) }
}

test('of 1,000 streams of live events 50 are open, the others are refused, and the page is answered meanwhile', async () => {
  await using handler = handlerOf()
  await using server = await serve(operatorListener(handler))
  const { answers, close } = await openAll(server.port, 1000, STREAM)
  expect(Object.fromEntries(answers)).toEqual({ 200: 50, 503: 950 })
  const answer = await fetch(`${server.url}/orders`)
  expect(answer.status).toBe(200)
  await answer.text()
  close()
  await waitFor(async () => {
    const again = await fetch(`${server.url}/orders/live/stream`)
    await again.body?.cancel()
    return again.status === 200
  })
})

test('200 requests whose headers, and 200 forms whose bodies, never come to an end hold nobody up', async () => {
  await using handler = handlerOf()
  await using server = await serve(operatorListener(handler))
  const start =
    'POST /orders/groups/mails/pause HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: same-origin\r\n'
  const form = 'content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\nwhy'
  const sockets = await Promise.all(
    Array.from({ length: 400 }, async (_, n) => {
      const socket = connect(server.port, '127.0.0.1')
      await once(socket, 'connect')
      socket.on('error', () => undefined).write(n % 2 === 0 ? start : start + form)
      return socket
    }),
  )
  const answer = await fetch(`${server.url}/orders`)
  expect(answer.status).toBe(200)
  await answer.text()
  for (const socket of sockets) socket.destroy()
  expect((await system.bus.admin.group('mails')).paused).toBeUndefined()
})

test.each([
  ['Express 4', express4],
  ['Express 5', express5],
])(
  'a body that the parsers of %s have refused or eaten is no change, and no error',
  async (_name, express) => {
    await using handler = handlerOf()
    const app = express()
    app.use(express.json())
    app.use('/ops', operatorListener(handler))
    await using server = await serve(app)
    const send = (type: string, body: string) =>
      fetch(`${server.url}/ops/orders/groups/mails/pause`, {
        method: 'POST',
        headers: { 'content-type': type, 'sec-fetch-site': 'same-origin' },
        body,
      })
    const json = await send('application/json', JSON.stringify({ why: 'x'.repeat(1000) }))
    expect(json.status).toBe(403)
    const large = await send('application/json', JSON.stringify({ why: 'x'.repeat(1_000_000) }))
    expect(large.status).toBe(413)
    const form = await send('application/x-www-form-urlencoded', `why=${'x'.repeat(5_000_000)}`)
    expect(form.status).toBe(413)
    expect((await system.bus.admin.group('mails')).paused).toBeUndefined()
  },
)

/** Lines of keys that exist and that do not, of quotes, signs and hostile texts. */
const term = fc.oneof(
  fc.constantFrom(
    'group',
    'type',
    'aggregate',
    'id',
    'error',
    'text',
    'since',
    'before',
    'min-replays',
    'reason',
  ),
  fc.constantFrom('signature', 'correlation', 'tenant', '__proto__', 'constructor', ''),
)
const value = fc.oneof(
  fc.string({ maxLength: 40, unit: 'binary' }),
  fc.constantFrom('"', '""', '(a+)+$', '.*', '[', '\\', '1h', '-1', '1e400', '9'.repeat(400), '2026-13-45'),
  fc.constantFrom('(x+x+)+y', '"a b"', "'", '\u0000', '\ud800', 'a'.repeat(5000), '1'.repeat(30), 'NaN', '-'),
)
const hostile = fc
  .array(fc.tuple(term, fc.constantFrom(':', '::', '', '=', ': '), value, fc.constantFrom('', '-')), {
    maxLength: 6,
  })
  .map((terms) => terms.map(([key, colon, text, sign]) => `${sign}${key}${colon}${text}`).join(' '))
/** A line that is right, with a value that is not expected. */
const right = fc
  .tuple(fc.constantFrom('type', 'aggregate', 'text'), value)
  .map(([key, text]) => `${key}:"${text.replaceAll('"', '""')}"`)
const line = fc.oneof(hostile, right)

test('1,000 filter lines at random get an answer, scan no more than they may, and build no regular expression', async () => {
  await using handler = handlerOf()
  const scans: (number | undefined)[] = []
  const { admin } = system.bus
  const browse = vi.spyOn(admin, 'browse')
  const list = vi.spyOn(system.bus.deadLetters, 'list')
  const built: string[] = []
  const Original = RegExp
  const spy = vi.spyOn(globalThis, 'RegExp').mockImplementation((...given) => {
    built.push(String(given[0]))
    return Reflect.construct(Original, given)
  })
  const wrong: string[] = []
  await fc.assert(
    fc.asyncProperty(line, fc.constantFrom('events', 'dead-letters', 'live'), async (text, section) => {
      const query = new URLSearchParams({ filter: text })
      const answer = await handler(new Request(`http://localhost/orders/${section}?${query}`))
      await answer.text()
      if (![200, 400].includes(answer.status)) wrong.push(`${answer.status} ${section} ${text}`)
    }),
    { numRuns: 1000, seed: 7 },
  )
  spy.mockRestore()
  for (const [query] of browse.mock.calls) scans.push(query?.maxScanned)
  for (const [query] of list.mock.calls) scans.push(query?.maxScanned)
  browse.mockRestore()
  list.mockRestore()
  expect(wrong).toEqual([])
  expect(scans.length).toBeGreaterThan(100)
  expect(Math.max(...scans.map((scanned) => scanned ?? Number.POSITIVE_INFINITY))).toBeLessThanOrEqual(
    100_000,
  )
  expect(built).toEqual([])
})
