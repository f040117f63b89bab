import { expect, it } from 'vitest'
import { MemoryBroker, MemoryBrokerEventBus } from '../../../src/testing/index.ts'
import { waitFor } from '../../support/wait-for.ts'
import { useBrowser } from '../browser.ts'
import { silentLogger } from '../silent-logger.ts'
import { brokenBilling, operatorsStory, tabTo } from './story.ts'

const browser = useBrowser()

function inMemory(orders: number) {
  const broker = new MemoryBroker()
  return brokenBilling(
    (options) => new MemoryBrokerEventBus({ broker, logger: silentLogger, maxRetries: 0, ...options }),
    orders,
  )
}

it('lets an operator find, understand and replay a dead letter, with the mouse', async () => {
  await using scene = await inMemory(6)
  await operatorsStory(browser, scene, { isReported: true })
})

it('lets an operator do it without a script', async () => {
  await using scene = await inMemory(6)
  await operatorsStory(browser, scene, { isReported: true, context: { javaScriptEnabled: false } })
})

it('lets an operator do it with the keyboard alone', async () => {
  await using scene = await inMemory(6)
  await operatorsStory(browser, scene, { isReported: true, press: tabTo })
})

it('edits and replays, and runs a bulk job that another browser sees and cancels, with and without a script', async () => {
  for (const javaScriptEnabled of [true, false]) {
    await using scene = await inMemory(120)
    scene.state.isBroken = false
    const page = await browser.open({ baseURL: scene.url, javaScriptEnabled, expected: /status of 409/ })
    const other = await browser.open({ baseURL: scene.url, javaScriptEnabled })
    const shows = (where: typeof page, text: string | RegExp) =>
      waitFor(async () => {
        if (await where.getByText(text).first().isVisible()) return true
        if (!javaScriptEnabled) await where.reload()
        return false
      })

    await page.goto('/orders/dead-letters')
    await page.getByRole('link', { name: 'OrderCreated' }).first().click()
    await page.getByRole('link', { name: 'Edit and replay…' }).click()
    await page.getByLabel('Payload').fill('{"customerId": 7}')
    await page.getByRole('button', { name: 'Check and show changes' }).click()
    expect(await page.getByRole('alert').textContent()).toMatch(/customerId: .*expected string/)
    await page.getByLabel('Payload').fill('{"customerId": "c-2"}')
    await page.getByRole('button', { name: 'Check and show changes' }).click()
    expect(await page.locator('.diff').textContent()).toBe('- customerId: "c-1"+ customerId: "c-2"')
    await page.getByRole('button', { name: 'Replay the edited event' }).click()
    await shows(page, 'It was handled.')

    await page.goto('/orders/dead-letters')
    await page.getByRole('link', { name: 'Replay all 59…' }).click()
    await page.getByLabel(/^Rate/).fill('1')
    await page.getByRole('button', { name: 'Replay 59' }).click()
    await shows(page, /replayed [1-9]\d? of 59/)
    await other.goto('/orders/dead-letters')
    await other.getByRole('link', { name: 'Replay of all dead letters' }).click()
    await shows(other, /replayed [1-9]\d? of 59/)
    await other.getByRole('button', { name: 'Cancel the job' }).click()
    await shows(page, /The others are still dead letters/)
    const left = await scene.page.deadLetters.count()
    expect(left).toBeGreaterThan(0)
    await waitFor(() => scene.state.ran.filter((line) => line.startsWith('invoice')).length === 120 - left)
    await page.context().close()
    await other.context().close()
  }
})
