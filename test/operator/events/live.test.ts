import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { operatorListener } from '../../../src/operator/index.ts'
import { orderCreated } from '../../support/order-events.ts'
import { paced } from '../../support/pace.ts'
import { waitFor } from '../../support/wait-for.ts'
import { sidewaysScroll, useBrowser } from '../browser.ts'
import { serve } from '../serve.ts'
import { trade } from './trade.ts'

const browser = useBrowser()

interface Frame {
  readonly seen: number
  readonly fresh: number
  readonly dropped: number
  readonly events: readonly { readonly type: string; readonly aggregate: string; readonly payload?: string }[]
}

/** The page of a bus whose reads are counted. */
async function watched() {
  const scene = await trade()
  const { admin } = scene.mails
  const reads = { open: 0, started: 0, ready: 0 }
  const tail: typeof admin.tail = async function* (query = {}) {
    reads.open += 1
    reads.started += 1
    const onReady = () => {
      reads.ready += 1
      query.onReady?.()
    }
    try {
      yield* admin.tail({ ...query, onReady })
    } finally {
      reads.open -= 1
    }
  }
  const counted: Partial<typeof admin> = {
    ...{ tail, browse: admin.browse.bind(admin) },
    ...{ explain: admin.explain.bind(admin), groups: admin.groups.bind(admin) },
  }
  Object.defineProperty(scene.mails, 'admin', { value: counted })
  const open = async (
    roles: string,
    path = '/orders/live/stream',
    ...headers: readonly [string, string][]
  ) => {
    const answer = await scene.handler(
      new Request(`http://localhost${path}`, {
        headers: [['x-roles', roles], ['x-name', 'anna'], ...headers],
      }),
    )
    return { status: answer.status, type: answer.headers.get('content-type'), body: answer.body, answer }
  }
  return { ...scene, reads, open }
}

/** Reads frames until they hold enough events, and leaves. */
async function framesOf(body: ReadableStream<Uint8Array> | null, isEnough: (seen: number) => boolean) {
  const frames: Frame[] = []
  const sizes: number[] = []
  let rest = ''
  for await (const chunk of body ?? []) {
    rest += Buffer.from(chunk).toString('utf8')
    const parts = rest.split('\n\n')
    rest = parts.pop() ?? ''
    for (const part of parts.filter((one) => one.startsWith('data: '))) {
      sizes.push(Buffer.byteLength(part))
      // The handler wrote it.
      frames.push(JSON.parse(part.slice(6)) as Frame)
    }
    if (isEnough(frames.at(-1)?.seen ?? 0)) break
  }
  return { frames, sizes }
}

it('shows the events of one reader to all viewers of a filter, payloads only to those who may read, and ends with the last one', async () => {
  await using scene = await watched()
  const streams = [await scene.open('see'), await scene.open('see read')]
  expect(streams.map(({ type }) => type)).toEqual(Array(2).fill('text/event-stream; charset=utf-8'))
  await waitFor(() => scene.reads.ready === 1)
  const [all, ...others] = streams.map(({ body }) => framesOf(body, (seen) => seen >= 3))
  await scene.billing.publish(['Order-1', 'Order-2', 'Order-3'].map(orderCreated))

  const seen = (await all)?.frames.flatMap(({ events }) => events) ?? []
  expect(seen.map(({ type, aggregate }) => `${type} ${aggregate}`)).toEqual(
    ['Order-1', 'Order-2', 'Order-3'].map((id) => `OrderCreated ${id}`),
  )
  expect(seen.some((event) => 'payload' in event)).toBe(false)
  const read = (await others[0])?.frames.flatMap(({ events }) => events) ?? []
  expect(read.map(({ payload }) => payload)).toEqual(Array(3).fill('{"customerId":"••••"}'))
  expect(scene.reads.started).toBe(1)
  const left = performance.now()
  await waitFor(() => scene.reads.open === 0)
  expect(performance.now() - left).toBeLessThan(paced(2000))
  expect((await scene.open('read')).status).toBe(403)
  expect((await scene.open('see', '/orders/live/stream?filter=text:c-1')).status).toBe(400)
  expect(scene.reads.started).toBe(1)
})

it('counts every event, decodes at most 50 of a frame, and keeps frames below 64 kB', async () => {
  await using scene = await watched()
  const { body } = await scene.open('see read')
  await waitFor(() => scene.reads.ready === 1)
  const reading = framesOf(body, (seen) => seen >= 2000)
  const long = '<&"\u0001'.repeat(300)
  for (let part = 0; part < 4; part += 1)
    await scene.billing.publish(Array.from({ length: 500 }, (_, n) => orderCreated(`${part}-${n}-${long}`)))
  const { frames, sizes } = await reading

  expect(frames.at(-1)?.seen).toBe(2000)
  expect(frames.reduce((sum, { fresh }) => sum + fresh, 0)).toBe(2000)
  expect(Math.max(...frames.map(({ events }) => events.length))).toBeLessThanOrEqual(50)
  expect(frames.reduce((sum, { events }) => sum + events.length, 0)).toBeGreaterThan(0)
  expect(Math.max(...sizes)).toBeLessThanOrEqual(64_000)
})

it('drops the frames of a viewer who does not read, says how many events that were, and holds nobody up', async () => {
  await using scene = await watched()
  const slow = await scene.open('see')
  const fast = await scene.open('see')
  await waitFor(() => scene.reads.ready === 1)
  let published = 0
  const fastSeen = framesOf(fast.body, (seen) => seen >= 60)
  while (published < 60) {
    published += 5
    await scene.billing.publish(Array.from({ length: 5 }, (_, n) => orderCreated(`Order-${published}-${n}`)))
    await wait(260) // each part in a frame of its own
  }
  expect((await fastSeen).frames.at(-1)?.dropped).toBe(0)
  const missed = framesOf(slow.body, (seen) => seen >= 65)
  const again = setInterval(() => void scene.billing.publish([orderCreated('Order-1')]), 100)
  const { frames } = await missed
  clearInterval(again)
  const last = frames.at(-1)
  expect(last?.dropped).toBeGreaterThan(0)
  const got = frames.reduce((sum, { fresh }) => sum + fresh, 0)
  expect(got + (last?.dropped ?? 0)).toBe(last?.seen)
})

it('lets at most 50 people look, and ends all streams with the handler', async () => {
  await using scene = await watched()
  const streams = []
  for (let n = 0; n < 50; n += 1) streams.push(await scene.open('see'))
  expect(streams.every(({ status }) => status === 200)).toBe(true)
  const refused = await scene.open('see')
  expect(refused.status).toBe(503)
  expect(await refused.answer.text()).toContain('50 people look at live events')
  await streams[7]?.body?.cancel()
  expect((await scene.open('see')).status).toBe(200)
  expect(scene.reads.started).toBe(1)
  await scene.handler.close()
  await waitFor(() => scene.reads.open === 0)
})

it('ends the read when the last connection breaks', async () => {
  await using scene = await watched()
  await using server = await serve(operatorListener(scene.handler))
  const socket = connect(server.port, '127.0.0.1')
  socket.write('GET /orders/live/stream HTTP/1.1\r\nhost: localhost\r\nx-name: anna\r\nx-roles: see\r\n\r\n')
  await once(socket, 'data')
  await waitFor(() => scene.reads.ready === 1)
  const left = performance.now()
  socket.destroy()
  await waitFor(() => scene.reads.open === 0)
  expect(performance.now() - left).toBeLessThan(paced(2000))
})

it('shows events in the browser as they come, with links to each; a pause ends the read', async () => {
  await using scene = await watched()
  await using server = await serve(operatorListener(scene.handler))
  await using page = await browser.open({ extraHTTPHeaders: { 'x-name': 'anna', 'x-roles': 'see read' } })
  await page.goto(`${server.url}/orders/live`)
  await waitFor(() => scene.reads.ready === 1)
  await scene.billing.publish([orderCreated('Order-<b>13')])
  const row = page.getByRole('row', { name: 'Order-<b>13' })
  await row.waitFor({ timeout: paced(5000) })
  await page.getByText('1 seen').waitFor({ timeout: paced(5000) })
  await page.getByRole('button', { name: 'Pause' }).click()
  await waitFor(() => scene.reads.open === 0)
  await row.getByRole('link', { name: 'OrderCreated' }).click()
  await page.getByText('What belongs to it').waitFor({ timeout: paced(5000) })
  await page.getByText('mails: done').waitFor({ timeout: paced(10_000) })
})

it('shows events without a script', async () => {
  await using scene = await trade()
  await scene.order(['Order-13', `Order-${'long'.repeat(60)}`])
  await using server = await serve(operatorListener(scene.handler))
  const extraHTTPHeaders = { 'x-name': 'anna', 'x-roles': 'see read' }
  await using page = await browser.open({ extraHTTPHeaders, javaScriptEnabled: false })
  await page.setViewportSize({ width: 390, height: 800 })
  await page.goto(`${server.url}/orders/live`)
  expect(await sidewaysScroll(page)).toBe(0)
  await page.getByRole('link', { name: 'Read again' }).waitFor()
  await page.getByRole('link', { name: 'OrderCreated' }).first().click()
  await page.getByText('Consumer groups').first().waitFor()
})
