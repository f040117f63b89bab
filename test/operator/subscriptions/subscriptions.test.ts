import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { InMemoryEventBus, SubscriptionManager } from '../../../src/index.ts'
import {
  createOperatorHandler,
  type OperatorAuditEntry,
  operatorListener,
} from '../../../src/operator/index.ts'
import { SqliteStores } from '../../../src/sqlite/index.ts'
import { fill, Noted, quick } from '../../subscriptions/subscription-scene.ts'
import { paced } from '../../support/pace.ts'
import { waitFor } from '../../support/wait-for.ts'
import { axeFaults, sidewaysScroll, useBrowser } from '../browser.ts'
import { serve } from '../serve.ts'
import { silentLogger } from '../silent-logger.ts'
import { authorizeByHeader, visitor } from '../visitor.ts'

const browser = useBrowser()

/** A manager over a SQLite file, with a projection that can be held up. */
async function projections(events: number) {
  const folder = mkdtempSync(join(tmpdir(), 'eventspine-page-'))
  const stores = new SqliteStores({ file: join(folder, 'events.db'), events: [Noted], logger: silentLogger })
  await fill(stores.events, 0, events)
  const manager = new SubscriptionManager({
    ...{ eventStore: stores.events, checkpoints: stores.checkpoints, logger: silentLogger },
  })
  const state = { count: 0, gate: undefined as PromiseWithResolvers<void> | undefined }
  const totals = {
    name: 'totals',
    handle: async (_event: Noted) => {
      if (state.count === Math.floor(events / 2)) await state.gate?.promise
      state.count += 1
    },
    reset: () => {
      state.count = 0
    },
  }
  manager.subscribe(totals, { ...quick, eventClasses: [Noted] })
  manager.subscribe(
    { name: 'fixed', handle: (_event: Noted) => undefined },
    { ...quick, eventClasses: [Noted] },
  )
  manager.start()
  for (const name of ['totals', 'fixed']) await manager.whenCaughtUp(name)
  const bus = new InMemoryEventBus({ logger: silentLogger })
  const audited: OperatorAuditEntry[] = []
  const handler = createOperatorHandler({
    ...{ buses: { orders: bus }, authorize: authorizeByHeader, logger: silentLogger },
    ...{ subscriptions: { shop: manager }, stores: { shop: stores } },
    audit: (entry) => void audited.push(entry),
  })
  const close = async () => {
    state.gate?.resolve()
    await handler.close()
    await manager.stop({ timeoutMs: 1000 })
    await stores[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  }
  return { handler, manager, stores, state, audited, [Symbol.asyncDispose]: close }
}

const PATH = '/orders/subscriptions'

it('shows position and lag, pauses, resumes and rebuilds with progress, and records each change', async () => {
  await using scene = await projections(200)
  const anna = visitor(scene.handler, 'anna', 'see operate change')
  const shows = (text: string) => waitFor(async () => (await anna.get(PATH)).text.includes(text))

  const first = (await anna.get(PATH)).text
  expect(first).toContain('200 of 200')
  expect(first).toContain('Checkpoints of shop')
  expect((await anna.post(`${PATH}/shop/totals/pause`, { why: 'OPS-1' })).text).toContain('Paused totals.')
  await shows('badge warn">paused')
  await fill(scene.stores.events, 1000, 1010)
  await shows('200 of 210')
  expect((await anna.post(`${PATH}/shop/totals/resume`)).text).toContain('Resumed totals.')
  await shows('210 of 210')

  scene.state.gate = Promise.withResolvers()
  const started = await anna.post(`${PATH}/shop/totals/rebuild`, { why: 'wrong totals' })
  expect(started.text).toContain('The rebuild of totals has started.')
  await shows('its read model is incomplete')
  expect((await anna.post(`${PATH}/shop/totals/rebuild`, { why: 'again' })).status).toBe(409)
  await waitFor(() => scene.state.count === 100)
  await shows('<progress max="210"')
  scene.state.gate.resolve()
  await shows('Rebuilt by <bdi>anna</bdi>')
  expect(scene.state.count).toBe(210)
  const refused = await anna.post(`${PATH}/shop/fixed/rebuild`, { why: 'x' })
  expect(refused.status).toBe(409)
  expect(refused.text).toContain('it has no reset()')
  expect((await anna.post(`${PATH}/shop/totals/rebuild`)).text).toContain('The field why is empty')
  expect((await anna.post(`${PATH}/shop/none/pause`)).status).toBe(404)
  await waitFor(() => scene.audited.some(({ action }) => action === 'subscriptions.rebuilt'))
  expect(
    scene.audited
      .filter(({ target }) => target['subscription'] === 'totals')
      .map(({ action, state, why }) => [action, state, why]),
  ).toEqual([
    ['subscriptions.pause', 'started', 'OPS-1'],
    ['subscriptions.pause', 'done', 'OPS-1'],
    ['subscriptions.resume', 'started', undefined],
    ['subscriptions.resume', 'done', undefined],
    ['subscriptions.rebuild', 'started', 'wrong totals'],
    ['subscriptions.rebuild', 'done', 'wrong totals'],
    ['subscriptions.rebuild', 'started', 'again'],
    ['subscriptions.rebuild', 'failed', 'again'],
    ['subscriptions.rebuilt', 'done', 'wrong totals'],
    ['subscriptions.rebuild', 'started', undefined],
    ['subscriptions.rebuild', 'failed', undefined],
  ])
})

it('offers and allows only what the viewer may do', async () => {
  await using scene = await projections(10)
  const see = visitor(scene.handler, 'ben', 'see')
  expect((await see.get(PATH)).text).not.toContain('method="post"')
  const operate = visitor(scene.handler, 'ben', 'see operate')
  expect((await operate.get(PATH)).text).not.toContain('Rebuild')
  expect((await see.post(`${PATH}/shop/totals/pause`)).status).toBe(403)
  expect((await operate.post(`${PATH}/shop/totals/rebuild`, { why: 'x' })).status).toBe(403)
  expect(scene.audited.map(({ state }) => state)).toEqual(['refused', 'refused'])
  expect((await scene.manager.status())['totals']?.state).toBe('live')
})

it('is used in a browser, without a fault of accessibility, on a large screen and a small one', async () => {
  await using scene = await projections(10)
  await using server = await serve(operatorListener(scene.handler))
  const options = { extraHTTPHeaders: { 'x-name': 'anna', 'x-roles': 'see operate change' } }
  for (const colorScheme of ['light', 'dark'] as const) {
    const width = colorScheme === 'light' ? 1280 : 390
    const viewport = { width, height: 800 }
    await using page = await browser.open({ ...options, colorScheme, bypassCSP: true, viewport })
    await page.goto(`${server.url}${PATH}`)
    expect(await axeFaults(page)).toEqual([])
    expect(await sidewaysScroll(page)).toBe(0)
    const card = page.locator('#subscription-shop-totals')
    await card.getByText('Pause', { exact: true }).click()
    await card.getByRole('button', { name: 'Pause the subscription' }).click()
    await page.getByText('Paused totals.').waitFor({ timeout: paced(5000) })
    await card.getByRole('button', { name: 'Resume totals' }).click()
    await page.getByText('Resumed totals.').waitFor({ timeout: paced(5000) })
  }
})
