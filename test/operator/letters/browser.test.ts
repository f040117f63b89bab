import { expect, it } from 'vitest'
import { MemoryBroker, MemoryBrokerEventBus } from '../../../src/testing/index.ts'
import { useBrowser } from '../browser.ts'
import { silentLogger } from '../silent-logger.ts'
import { changesStory } from './changes.ts'
import { brokenBilling, click, operatorsStory, tabTo } from './story.ts'

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

it.each([
  ['by keyboard alone', true, tabTo],
  ['without a script', false, click],
] as const)(
  'edits and replays, and runs bulk jobs, one of which another browser sees and cancels, %s',
  async (_name, javaScriptEnabled, press) => {
    await using scene = await inMemory(120)
    await changesStory(browser, scene, { isReported: true, press, javaScriptEnabled })
    // The handler has handled each order once, with its original or its edited event.
    expect(scene.state.ran.filter((line) => line.startsWith('invoice'))).toHaveLength(120)
  },
)
