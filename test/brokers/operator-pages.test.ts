import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { createOperatorHandler, operatorListener } from '../../src/operator/index.ts'
import { useBrowser } from '../operator/browser.ts'
import { serve } from '../operator/serve.ts'
import { openShop, orderPlaced } from '../operator/shop.ts'
import { paced } from '../support/pace.ts'
import { waitFor } from '../support/wait-for.ts'
import type { BrokerKind } from './broker.ts'
import { createBus, startNetwork } from './every-bus.ts'

const browser = useBrowser()
const timeout = paced(15_000)

interface Setting {
  readonly orders: BrokerKind
  readonly deliveries: BrokerKind
  /** RabbitMQ forgets what was consumed, unless it keeps a journal. */
  readonly hasJournal: boolean
}

/** The page of a shop whose two buses are on real brokers. */
async function openPage({ orders, deliveries, hasJournal }: Setting) {
  const scope = `page-${randomUUID().slice(0, 8)}`
  const { network, port } = await startNetwork(orders)
  const read = { bytes: 0 }
  network.rewriteAnswers((chunk) => {
    read.bytes += chunk.length
    return chunk
  })
  const shop = await openShop((bus, options) => {
    const system = bus === 'orders' ? orders : deliveries
    const more = {
      redis: {},
      rabbitmq: { journal: hasJournal },
      kafka: { requestTimeoutMs: 10_000, connectTimeoutMs: 10_000 },
    }[system]
    const isMeasured = bus === 'orders' && options.consumerGroup === 'page'
    return createBus(
      system,
      `${scope}-${bus}`,
      { ...options, ...more },
      ...(isMeasured ? ([port] as const) : []),
    )
  })
  const handler = createOperatorHandler({
    buses: shop.buses,
    authorize: () => ({ name: 'anna', roles: ['see', 'read', 'operate', 'change'] }),
  })
  const server = await serve(operatorListener(handler))
  const page = await browser.open({ baseURL: server.url, expected: /status of 404/ })
  const close = async () => {
    await page.context().close()
    await server[Symbol.asyncDispose]()
    await handler.close()
    await shop[Symbol.asyncDispose]()
  }
  const sees = (text: string | RegExp) => page.getByText(text).first().waitFor({ timeout })
  const fetched = async (path: string) => (await fetch(server.url + path)).text()
  return { shop, page, read, sees, fetched, [Symbol.asyncDispose]: close }
}

type Opened = Awaited<ReturnType<typeof openPage>>

/** Of 12 orders, one fails in billing. */
async function frame({ shop, page, sees }: Opened): Promise<void> {
  await page.goto('/')
  await sees('Look at the errors')
  await page.locator('#health.ok').waitFor({ timeout })
  const row = page.getByRole('row', { name: /^billing/ })
  await row.getByText('up to date').waitFor({ timeout })
  await row.getByRole('link', { name: 'billing' }).click()
  await page.getByText('Pause', { exact: true }).click()
  await page.getByLabel('Reason').first().fill('OPS-12')
  await page.getByRole('button', { name: 'Pause the group' }).click()
  await sees('Paused billing.')
  expect((await shop.buses.orders.admin.group('billing')).paused).toMatchObject({ by: 'anna', why: 'OPS-12' })
  await page.getByRole('button', { name: 'Resume the group' }).click()
  await sees('Resumed billing.')
}

/** Live events, and the end of their reading when the last viewer leaves. */
async function live({ shop, page, read, sees, fetched }: Opened): Promise<void> {
  shop.state.isBroken = false
  await page.goto('/orders/live?filter=type%3AOrderPlaced')
  await sees('running')
  const row = page.getByRole('row', { name: /Order-10501/ })
  // The read starts at the end of the log some time after the stream has been opened.
  await waitFor(async () => {
    await shop.web.publish([orderPlaced(501)])
    return (await row.count()) > 0
  })
  expect(await page.getByRole('row', { name: /InvoiceIssued/ }).count()).toBe(0)
  await row.first().getByRole('link', { name: 'OrderPlaced' }).waitFor({ timeout })

  const ENOUGH = 60_000
  const publish = () => shop.web.publish(Array.from({ length: 200 }, (_, n) => orderPlaced(1000 + n)))
  let before = read.bytes
  await publish()
  await waitFor(() => read.bytes - before > ENOUGH, { describe: () => `${read.bytes - before} bytes` })
  await page.goto('/orders/activity')
  const left = performance.now()
  await waitFor(async () => {
    before = read.bytes
    await publish()
    await fetched('/orders/groups') // a later answer of the same broker
    return read.bytes - before < ENOUGH / 2
  })
  expect(performance.now() - left).toBeLessThan(paced(2000))
}

async function map({ page, fetched }: Opened): Promise<void> {
  await waitFor(
    async () => {
      const text = await fetched('/orders/map')
      return (
        text.includes('billing: invoice (after OrderPlaced)') &&
        [...text.matchAll(/<g class="/g)].length === 8
      )
    },
    { timeoutMs: 15_000, describe: () => 'producer, two events and five handlers' },
  )
  await page.goto('/orders/map')
  const titles = await page.locator('.map title').allTextContents()
  expect(titles.toSorted()).toEqual(
    [
      ...['web', 'OrderPlaced', 'InvoiceIssued', 'billing: invoice', 'billing: revenue'],
      ...['mails: confirmation', 'mails: invoice-mail', 'warehouse: pack'],
    ].toSorted(),
  )
}

it.each<Setting>([
  { orders: 'redis', deliveries: 'rabbitmq', hasJournal: true },
  { orders: 'rabbitmq', deliveries: 'kafka', hasJournal: true },
  { orders: 'kafka', deliveries: 'redis', hasJournal: true },
])(
  'groups, events, one event across two buses and four services, live events and the map: $orders, then $deliveries',
  async (setting) => {
    await using opened = await openPage(setting)
    const { shop, page, sees, fetched } = opened
    const events = await shop.order(0, 12)
    await frame(opened)

    await page.goto('/orders/events?filter=aggregate%3AOrder-10005')
    await sees('1 event shown')
    await page.getByRole('link', { name: 'OrderPlaced' }).click()
    await sees('customerId')
    // RabbitMQ does not report which events a queue holds.
    const mark = (system: BrokerKind) => (system === 'rabbitmq' ? 'unknown' : 'done')
    for (const group of ['billing', 'mails', 'warehouse']) await sees(`${group}: ${mark(setting.orders)}`)
    await sees(`tracking: ${mark(setting.deliveries)}`)
    const tree = page.locator('.trace')
    await waitFor(async () => (await tree.locator('.node').count()) === 4, { timeoutMs: 15_000 })
    expect(await tree.locator('.node > a').allTextContents()).toEqual([
      ...['OrderPlaced', 'InvoiceIssued', 'ParcelSent', 'ParcelDelivered'],
    ])
    // Each is caused by the one before it.
    expect(await tree.locator('ul ul ul .node > a').allTextContents()).toEqual(['ParcelDelivered'])
    expect(await page.content()).not.toMatch(/tok_|Ada Byron/)

    const failed = events[3]?.eventId ?? ''
    await page.goto(`/orders/events/${failed}`)
    await sees('billing: dead letter')
    await tree.getByRole('link', { name: 'billing: dead letter' }).click()
    await sees('All retries failed.')
    await page.getByRole('link', { name: failed }).click()
    await sees('What belongs to it')
    expect(await fetched('/orders/events/none')).toContain('This event was not found')

    await live(opened)
    await map(opened)
  },
)

it('RabbitMQ without a journal: the page says what is missing, and everything else works', async () => {
  await using opened = await openPage({ orders: 'rabbitmq', deliveries: 'rabbitmq', hasJournal: false })
  const { shop, page, sees } = opened
  const events = await shop.order(0, 12)
  await frame(opened)
  await page.goto('/orders/events')
  await sees('This bus keeps no past events')
  await sees('journal')
  // A dead letter still says what became of its event.
  await page.goto(`/orders/events/${events[3]?.eventId}`)
  await sees('dead letter')
  await sees('The event itself was not found')
  await live(opened)
  await map(opened)
})
