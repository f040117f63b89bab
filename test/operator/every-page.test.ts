import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type BrokerEventBus, SubscriptionManager } from '../../src/index.ts'
import { createOperatorHandler, type OperatorHandler, operatorListener } from '../../src/operator/index.ts'
import { MemoryBroker, MemoryBrokerEventBus } from '../../src/testing/index.ts'
import { fill, type Noted, quick, SubscriptionScene } from '../subscriptions/subscription-scene.ts'
import { paced } from '../support/pace.ts'
import { axeFaults, sidewaysScroll, useBrowser } from './browser.ts'
import { serve } from './serve.ts'
import { openShop, orderPlaced } from './shop.ts'
import { silentLogger } from './silent-logger.ts'

/** A folder for pictures of the pages, as `npm run docs:pictures` sets it. */
const folder = process.env['EVENTSPINE_PICTURES']
const browser = useBrowser()
const timeout = paced(10_000)

let scene: Awaited<ReturnType<typeof openScene>>
beforeAll(async () => {
  scene = await openScene()
})
afterAll(() => scene.close())

async function openScene() {
  const brokers = { orders: new MemoryBroker(), deliveries: new MemoryBroker() }
  const shop = await openShop(
    (bus, options) => new MemoryBrokerEventBus({ broker: brokers[bus], logger: silentLogger, ...options }),
  )
  const events = await shop.order(0, 440)
  await shop.mails.admin.pause('mails', { by: 'ben', why: 'The mail server is down, OPS-12' })
  const { manager, rebuilt } = await projections()
  const handler = createOperatorHandler({
    ...{ buses: shop.buses, environment: 'production', logger: silentLogger },
    ...{ subscriptions: { shop: manager } },
    authorize: () => ({ name: 'anna', roles: ['see', 'read', 'operate', 'change'] }),
  })
  const orders = shop.buses.orders
  if (folder !== undefined) await pass(handler, orders)
  await shop.web.publish(Array.from({ length: 37 }, (_, n) => orderPlaced(500 + n)))
  const server = await serve(operatorListener(handler))
  const letters = (await orders.deadLetters.list({ filter: { handlerName: 'invoice' }, limit: 1 }))
    .deadLetters
  const close = async () => {
    await server[Symbol.asyncDispose]()
    await handler.close()
    await manager.stop({ timeoutMs: 1000 })
    await shop[Symbol.asyncDispose]()
  }
  const event = events[5]?.eventId ?? ''
  return { shop, url: server.url, letter: encodeURIComponent(letters[0]?.id ?? ''), event, rebuilt, close }
}

/** Two projections, one of which is paused behind the other. */
async function projections() {
  const { store, checkpoints } = new SubscriptionScene()
  const manager = new SubscriptionManager({ eventStore: store, checkpoints, logger: silentLogger })
  for (const name of ['invoices', 'revenue-report'])
    manager.subscribe({ name, handle: (_event: Noted) => undefined, reset: () => undefined }, quick)
  await fill(store, 0, 3000)
  manager.start()
  for (const name of ['invoices', 'revenue-report']) await manager.whenCaughtUp(name)
  await manager.pause('revenue-report')
  await fill(store, 3000, 4800)
  await manager.whenCaughtUp('invoices')
  return { manager, rebuilt: 4800 }
}

/** Lets a quarter of an hour pass, in which the page looks at groups whose lag comes and goes. */
async function pass(handler: OperatorHandler, { admin }: BrokerEventBus): Promise<void> {
  const STEPS = 180
  const groups = await admin.groups()
  const now = performance.now()
  const clock = vi.spyOn(performance, 'now')
  const answer = vi.spyOn(admin, 'groups')
  vi.useFakeTimers({ toFake: ['Date'] })
  const ends = Date.now()
  for (let step = 0; step < STEPS; step += 1) {
    const left = (STEPS - step) * 5000
    clock.mockReturnValue(now - left)
    vi.setSystemTime(ends - left)
    const wave = (at: number, width: number, height: number) =>
      Math.round(height * Math.exp(-(((step - at) / width) ** 2)))
    const lags = [
      wave(60, 12, 420) + wave(130, 8, 260) + (step % 7),
      step < 150 ? step % 5 : 8 * (step - 150),
      wave(75, 16, 180) + (step % 4),
    ]
    answer.mockResolvedValue(groups.map((group, n) => ({ ...group, lag: lags[n] })))
    await handler(new Request('http://localhost/orders'))
  }
  vi.useRealTimers()
  clock.mockRestore()
  answer.mockRestore()
}

interface Shown {
  readonly path: string
  /** A text that appears when all is there. */
  readonly ready: string
  /** Until it is there, the page may have nothing to show. */
  readonly before?: () => Promise<void>
}

const pages = (): Readonly<Record<string, Shown>> => ({
  overview: { path: '/orders', ready: 'Consumer groups' },
  groups: { path: '/orders/groups', ready: 'up to date' },
  group: { path: '/orders/groups/billing', ready: 'Lag of the last 15 minutes' },
  'dead-letters': { path: '/orders/dead-letters', ready: 'ConnectionError: connect' },
  letter: { path: `/orders/dead-letters/${scene.letter}`, ready: 'A replay goes to' },
  edit: { path: `/orders/dead-letters/${scene.letter}/edit`, ready: 'Check and show changes' },
  gone: { path: '/orders/dead-letters/none', ready: 'This dead letter is gone' },
  bulk: { path: '/orders/bulk/replay?filter=group%3Abilling', ready: 'nobody else' },
  events: { path: '/orders/events', ready: '50 events shown' },
  event: { path: `/orders/events/${scene.event}`, ready: 'tracking: done' },
  live: { path: '/orders/live', ready: ' seen, ' },
  map: { path: '/orders/map', ready: 'billing: invoice (after OrderPlaced)' },
  subscriptions: { path: '/orders/subscriptions', ready: 'paused' },
  activity: { path: '/orders/activity', ready: 'Nothing was changed yet' },
  'wrong-filter': { path: '/orders/dead-letters?filter=grup%3Aa', ready: 'did you mean' },
})

async function show(page: Page, name: string, { path, ready }: Shown): Promise<void> {
  await page.goto(path)
  const isReady = page.getByText(ready).first().waitFor({ timeout })
  if (name !== 'live') return isReady
  const waits = isReady.then(() => true)
  for (let n = 0; !(await Promise.race([waits, page.waitForTimeout(250)])); n += 1)
    await scene.shop.web.publish([0, 1, 2].map((one) => orderPlaced(900 + 3 * n + one)))
}

/** Keeps a picture, for people. */
async function picture(page: Page, name: string): Promise<void> {
  if (folder === undefined) return
  await mkdir(folder, { recursive: true })
  const session = await page.context().newCDPSession(page)
  const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality: 82 })
  await session.detach()
  await writeFile(join(folder, `${name}.webp`), Buffer.from(data, 'base64'))
}

test.each(['light', 'dark'] as const)(
  'no page has a serious fault of accessibility, or scrolls sideways on a telephone or at twice the size: %s',
  async (colorScheme) => {
    await using page = await browser.open({
      ...{ baseURL: scene.url, colorScheme, bypassCSP: true, expected: /status of 4/ },
      ...(folder !== undefined && { deviceScaleFactor: 2 }),
    })
    for (const [name, shown] of Object.entries(pages())) {
      // A browser that shows a window of 1280 pixels at 200 % has 640 pixels of its own.
      const sizes = { desktop: [1280, 800], zoomed: [640, 400], phone: [390, 844] } as const
      for (const [kind, [width, height]] of Object.entries(sizes)) {
        await page.setViewportSize({ width, height })
        if (kind === 'desktop') await show(page, name, shown)
        if (kind !== 'zoomed') await picture(page, `${name}-${kind}-${colorScheme}`)
        expect([name, kind, await sidewaysScroll(page)]).toEqual([name, kind, 0])
        // Colors differ by theme, and the structure by size.
        if (kind !== (colorScheme === 'light' ? 'desktop' : 'phone')) continue
        expect([name, kind, await axeFaults(page)]).toEqual([name, kind, []])
      }
    }
  },
)
