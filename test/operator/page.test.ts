import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createOperatorHandler, operatorListener, type Verb } from '../../src/operator/index.ts'
import { MemoryBrokerEventBus, waitFor } from '../../src/testing/index.ts'
import { paced } from '../support/pace.ts'
import { REBOUND, useBrowser } from './browser.ts'
import { demoSystem } from './demo-system.ts'
import { serve } from './serve.ts'
import { silentLogger } from './silent-logger.ts'

const browser = useBrowser()
const timeout = paced(5000)

let system: Awaited<ReturnType<typeof demoSystem>>
let server: Awaited<ReturnType<typeof serve>>
let handler: ReturnType<typeof createOperatorHandler>
let home: string

beforeAll(async () => {
  system = await demoSystem(12)
  handler = createOperatorHandler({
    buses: { orders: system.bus },
    environment: 'production',
    authorize: () => ({ name: 'anna', roles: ['see', 'read', 'operate', 'change'] satisfies Verb[] }),
    logger: silentLogger,
  })
  server = await serve(operatorListener(handler))
  home = `${server.url}/orders`
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  await handler.close()
  await system.close()
})

describe.each([
  ['with', true],
  ['without', false],
])('%s script', (_name, javaScriptEnabled) => {
  test('an operator pauses a group with a reason, sees who did it, and resumes it', async () => {
    await using page = await browser.open({ javaScriptEnabled })
    await page.goto(home)
    await page
      .getByRole('table', { name: 'Consumer groups' })
      .getByRole('link', { name: 'billing', exact: true })
      .click()
    await page.getByText('Pause', { exact: true }).click()
    await page.getByLabel('Reason').first().fill('OPS-12')
    await page.getByRole('button', { name: 'Pause the group' }).click()
    await page.getByText('Paused billing.').waitFor({ timeout })
    await page.getByText('OPS-12').first().waitFor({ timeout })
    expect((await system.bus.admin.group('billing')).paused).toMatchObject({ by: 'anna', why: 'OPS-12' })
    await page.getByRole('button', { name: 'Resume the group' }).click()
    await page.getByText('Resumed billing.').waitFor({ timeout })
    await page.getByRole('link', { name: 'Activity' }).click()
    await page.getByText('groups.pause').first().waitFor({ timeout })
    expect((await system.bus.admin.group('billing')).paused).toBeUndefined()
  })
})

test('a group is moved and deleted by its forms: counted first, named to confirm', async () => {
  await using page = await browser.open({ expected: /400/ })
  await page.goto(`${home}/groups/shipping`)
  await page.getByText('Move to another place').click()
  await page.getByLabel('Place').fill('last')
  await page.getByRole('button', { name: 'Move the group' }).click()
  await page.getByText('0 events are behind this place. Nothing was changed.').waitFor({ timeout })
  expect((await system.bus.admin.group('shipping')).lag).toBeGreaterThan(0)
  await page.getByText('Delete', { exact: true }).click()
  await page.getByLabel('Name of the group').fill('other')
  await page.getByRole('button', { name: 'Delete the group' }).click()
  await page.getByText('enter its name').waitFor({ timeout })
  await page.goBack()
  await page.getByText('Delete', { exact: true }).click()
  await page.getByLabel('Name of the group').fill('shipping')
  await page.getByRole('button', { name: 'Delete the group' }).click()
  await page.getByText('Deleted shipping.').waitFor({ timeout })
  expect((await system.bus.admin.groups()).map(({ name }) => name)).toEqual(['billing', 'mails'])
})

test('by keyboard alone: sections, rows, help; a refresh keeps the focus, what is typed and what is open', async () => {
  await using page = await browser.open()
  await page.goto(home)
  await page.keyboard.press('g')
  await page.keyboard.press('g')
  await page.waitForURL(`${home}/groups`)
  await page.keyboard.press('?')
  await page.getByRole('dialog').waitFor({ timeout })
  await page.keyboard.press('Escape')
  await page.keyboard.press('j')
  await page.keyboard.press('j')
  await page.keyboard.press('k')
  expect(await page.evaluate('document.activeElement.textContent')).toBe('billing')
  await page.keyboard.press('Enter')
  await page.waitForURL(`${home}/groups/billing`)
  await page.getByText('Pause', { exact: true }).focus()
  await page.keyboard.press('Enter')
  await page.getByLabel('Reason').first().fill('half a rea')
  await page.evaluate(
    "window.refreshed = new Promise((done) => document.addEventListener('refreshed', done, { once: true })).then(() => 1)",
  )
  await system.bus.admin.pause('mails', { by: 'ben' })
  await page.evaluate('window.refreshed')
  expect(await page.evaluate('document.activeElement.value')).toBe('half a rea')
  expect(await page.locator('details#pause').getAttribute('open')).toBe('')
  await system.bus.admin.resume('mails')
})

test('numbers change without a click, a broker that is away is named within seconds, and the page heals by itself', async () => {
  const { broker } = system
  await using page = await browser.open()
  await page.goto(home)
  await page.locator('#health.ok').waitFor({ timeout })
  broker.goDown()
  await page.getByText('The broker does not answer').waitFor({ timeout: paced(8000) })
  await page
    .getByRole('table', { name: 'Consumer groups' })
    .getByText('billing', { exact: true })
    .waitFor({ timeout })
  broker.comeUp()
  await page.locator('#health.ok').waitFor({ timeout: paced(15_000) })
  expect(await page.getByText('The broker does not answer').count()).toBe(0)
})

test('a page whose program has ended says so, and goes on when it is back', async () => {
  let isAway = false
  const listener = operatorListener(handler)
  await using other = await serve((request, response) => {
    if (isAway) request.socket.destroy()
    else listener(request, response)
  })
  await using page = await browser.open({ expected: /ERR_EMPTY_RESPONSE/ })
  await page.goto(`${other.url}/orders`)
  isAway = true
  await page.getByText('This page is not reachable').waitFor({ timeout: paced(8000) })
  isAway = false
  await page.getByText('This page is not reachable').waitFor({ state: 'detached', timeout: paced(8000) })
})

test('another site can neither frame the page nor send its forms', async () => {
  await using evil = await serve((_request, response) => {
    response.setHeader('content-type', 'text/html')
    response.end(`<iframe src="${home}"></iframe><img src="${home}/groups/mails/pause">
<form method="post" action="${home}/groups/mails/pause"><input name="why" value="x"><button>Win</button></form>`)
  })
  await using page = await browser.open({
    expected: /frame-ancestors|X-Frame-Options|Refused|403|405|ERR_BLOCKED|violates/,
  })
  await page.goto(evil.url.replace('127.0.0.1', 'localhost'))
  await page.getByRole('button', { name: 'Win' }).click()
  await page.getByText('A change must come from a form of this page.').waitFor({ timeout })
  expect((await system.bus.admin.group('mails')).paused).toBeUndefined()
})

test('another site that points its own name to this machine gets 421 for pages, streams and forms', async () => {
  let isRebound = false
  const asked: [string, string][] = []
  const listener = operatorListener(handler)
  await using site = await serve((request, response) => {
    const { method = '', url = '' } = request
    if (isRebound) {
      if (url.startsWith('/orders'))
        response.once('finish', () => asked.push([`${method} ${url}`, String(response.statusCode)]))
      listener(request, response)
      return
    }
    response.setHeader('content-type', 'text/html')
    response.end(
      '<h1>Win</h1><form method="post" action="/orders/groups/mails/pause"><input name="why" value="x"><button>Go</button></form>',
    )
  })
  await using page = await browser.open({ expected: /status of 421|MIME type|Cross-Origin-Opener-Policy/ })
  await page.goto(`http://${REBOUND}:${site.port}/`)
  // The name now leads to the page: its requests have the same origin as those of the site.
  isRebound = true
  const answers = await page.evaluate<number[]>(`Promise.all([
    fetch('/orders'), fetch('/orders/export/dead-letters'), fetch('/orders/live/stream'),
    fetch('/orders/groups/mails/pause', { method: 'POST', body: new URLSearchParams({ why: 'x' }) }),
  ].map(async (answer) => (await answer).status))`)
  expect(answers).toEqual([421, 421, 421, 421])
  await page.getByRole('button', { name: 'Go' }).click()
  await page.getByText('not served under this host name').waitFor({ timeout })
  // Chromium sends a request that was answered with 421 again, over another connection.
  expect(asked.length).toBeGreaterThanOrEqual(5)
  expect(asked.map(([what]) => what)).toContain('POST /orders/groups/mails/pause')
  expect(new Set(asked.map(([, status]) => status))).toEqual(new Set(['421']))
  expect((await system.bus.admin.group('mails')).paused).toBeUndefined()
})

test('the first page is at most 60 kB in all, its module at most 15 kB, compressed', async () => {
  const text = await (await fetch(home)).text()
  const assets = [...text.matchAll(/(?:href|src)="(\/_\/[^"]+)"/g)].map(([, path = '']) => path)
  const bodies = await Promise.all(assets.map(async (path) => (await fetch(server.url + path)).text()))
  const [script = ''] = bodies.filter((_, index) => assets[index]?.endsWith('.js'))
  expect(gzipSync(script).length).toBeLessThan(15_000)
  expect([text, ...bodies].reduce((bytes, body) => bytes + gzipSync(body).length, 0)).toBeLessThan(60_000)
})

test('a viewer whose bus has just started sees its groups as soon as they appear', async () => {
  const bus = new MemoryBrokerEventBus({ logger: silentLogger, consumerGroup: 'late' })
  const empty = createOperatorHandler({
    buses: { fresh: bus },
    authorize: () => ({ name: 'anna', roles: ['see'] }),
  })
  await using other = await serve(operatorListener(empty))
  await using page = await browser.open()
  await page.goto(`${other.url}/fresh`)
  await page.getByText('No consumer group yet').waitFor({ timeout })
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  await page.getByRole('link', { name: 'late', exact: true }).waitFor({ timeout: paced(8000) })
  await empty.close()
  await bus.shutdown()
  await waitFor(() => bus.isShutdown)
})
