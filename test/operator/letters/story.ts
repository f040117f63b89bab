import type { BrowserContextOptions, Page } from 'playwright-core'
import { expect } from 'vitest'
import { type BrokerEventBus, EventRegistry } from '../../../src/index.ts'
import { createOperatorHandler, operatorListener } from '../../../src/operator/index.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { paced } from '../../support/pace.ts'
import { waitFor } from '../../support/wait-for.ts'
import type { useBrowser } from '../browser.ts'
import { serve } from '../serve.ts'

/** Creates the bus of a group. */
export type CreateBus = (options: {
  readonly consumerGroup: string
  readonly registry?: EventRegistry
}) => BrokerEventBus

/** Two groups of one bus; the handler `invoice` of billing fails for every second order until it is repaired. */
export async function brokenBilling(create: CreateBus, orders: number) {
  const [billing, mails] = [create({ consumerGroup: 'billing' }), create({ consumerGroup: 'mails' })]
  const state = { isBroken: true, ran: [] as string[] }
  const note = (handler: string, { aggregateId }: OrderCreated) =>
    void state.ran.push(`${handler} ${aggregateId}`)
  billing.subscribe(
    OrderCreated,
    (event) => {
      if (state.isBroken && Number(event.aggregateId.slice(6)) % 2 === 0)
        throw new TypeError(`no <price> for ${event.aggregateId}`)
      note('invoice', event)
    },
    { name: 'invoice' },
  )
  billing.subscribe(OrderCreated, (event) => note('audit', event), { name: 'audit' })
  mails.subscribe(OrderCreated, (event) => note('welcome', event), { name: 'welcome' })
  for (const bus of [billing, mails]) {
    bus.startConsumingInBackground()
    await bus.whenConsuming()
  }
  const registry = new EventRegistry()
  registry.register(OrderCreated)
  const page = create({ consumerGroup: 'page', registry })
  await page.publish(Array.from({ length: orders }, (_, n) => orderCreated(`Order-${n}`)))
  await waitFor(async () => (await page.deadLetters.count()) === Math.ceil(orders / 2), { timeoutMs: 20_000 })
  await waitFor(() => state.ran.length === 2 * orders + Math.floor(orders / 2), { timeoutMs: 20_000 })
  const handler = createOperatorHandler({
    buses: { orders: page },
    authorize: () => ({ name: 'anna', roles: ['see', 'read', 'operate', 'change'] }),
  })
  const server = await serve(operatorListener(handler))
  const close = async () => {
    await server[Symbol.asyncDispose]()
    await handler.close()
    for (const bus of [page, billing, mails]) await bus.shutdown({ timeoutMs: 2000 })
  }
  return { page, state, url: server.url, [Symbol.asyncDispose]: close }
}

export type Scene = Awaited<ReturnType<typeof brokenBilling>>

/** Presses a link or a button, with the mouse or with the keyboard alone. */
export type Press = (page: Page, name: string | RegExp) => Promise<void>

export const click: Press = async (page, name) => {
  await page.getByRole('link', { name }).or(page.getByRole('button', { name })).first().click()
}

/**
 * Steps to it with the Tab key, as a person without a mouse does. On the way, each element with the focus is visible: a refresh
 * loses none.
 */
export const tabTo: Press = async (page, name) => {
  const wanted = page.getByRole('link', { name }).or(page.getByRole('button', { name })).first()
  await wanted.waitFor()
  for (let steps = 0; steps < 200; steps += 1) {
    await page.keyboard.press('Tab')
    const isSeen = await page.evaluate(
      "document.activeElement === document.body || document.activeElement.matches(':focus-visible') && document.activeElement.checkVisibility() && getComputedStyle(document.activeElement).outlineStyle !== 'none' || document.activeElement.innerHTML",
    )
    expect(isSeen).toBe(true)
    if ((await wanted.and(page.locator(':focus-visible')).count()) === 1) {
      await page.keyboard.press('Enter')
      return
    }
  }
  throw new Error(`The Tab key does not reach ${String(name)}.`)
}

/**
 * The story of an operator: the overview, the group's dead letters by error, one of them with error, handler and payload, its
 * replay, and that it was handled and is gone.
 * @param isReported - the broker reports when a replay has been handled.
 */
export async function operatorsStory(
  browser: ReturnType<typeof useBrowser>,
  scene: Scene,
  options: { readonly isReported: boolean; readonly press?: Press; readonly context?: BrowserContextOptions },
) {
  const { isReported, press = click, context = {} } = options
  const hasScript = context.javaScriptEnabled !== false
  await using page = await browser.open({ baseURL: scene.url, expected: /status of 404/, ...context })
  const sees = async (text: string | RegExp) => {
    if (hasScript)
      return page
        .getByText(text)
        .first()
        .waitFor({ timeout: paced(5000) })
    await waitFor(async () => {
      if (await page.getByText(text).first().isVisible()) return true
      await page.reload()
      return false
    })
  }

  await page.goto('/')
  await sees('mails')
  await press(page, 'Look at the errors')
  await sees('TypeError: no <price> for Order-<n>')
  await press(page, /TypeError: no <price> for/)
  await sees('match; window: all')
  await press(page, 'OrderCreated')
  await sees('All retries failed')
  const aggregate = (await page.locator('h1 .quiet').textContent()) ?? ''
  for (const part of [`TypeError: no <price> for ${aggregate}`, 'invoice', 'billing', 'customerId', '"c-1"'])
    await sees(part)
  scene.state.isBroken = false
  const before = scene.state.ran.length
  const letter = page.url()
  await press(page, 'Replay')
  const startedAt = performance.now()
  await sees('The dead letter is gone')
  await sees(isReported ? 'It was handled.' : 'It has not failed again.')
  expect(performance.now() - startedAt).toBeLessThan(paced(3000))

  await waitFor(() => scene.state.ran.length > before)
  expect(scene.state.ran.slice(before)).toEqual([`invoice ${aggregate}`])
  expect((await page.goto(letter))?.status()).toBe(404)
  await page.goto('/orders/activity')
  await sees(/Replayed OrderCreated to group billing, handler invoice/)
}
