import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { useBrowser } from '../operator/browser.ts'
import { changesStory } from '../operator/letters/changes.ts'
import { brokenBilling, click, operatorsStory, tabTo } from '../operator/letters/story.ts'
import { createBus, systems } from './every-bus.ts'

const browser = useBrowser()
/** More than a job replays in the time of the story, at one a second: it is cancelled before its end. */
const ORDERS = 120

const ways = [
  ['with the mouse', true, click],
  ['by keyboard alone', true, tabTo],
  ['without a script', false, click],
] as const

describe.each(systems)('on %s', (system) => {
  it.each(ways)(
    'an operator finds and understands dead letters in the page, replays one, edits one, and replays the others in bulk, %s',
    async (_way, javaScriptEnabled, press) => {
      const scope = `letters-${randomUUID().slice(0, 8)}`
      await using scene = await brokenBilling(
        (options) => createBus(system, scope, { maxRetries: 0, ...options }),
        ORDERS,
      )
      const isReported = system !== 'rabbitmq'

      await operatorsStory(browser, scene, { isReported, press, context: { javaScriptEnabled } })
      await changesStory(browser, scene, { isReported, press, javaScriptEnabled })

      const ran = (handler: string) => scene.state.ran.filter((line) => line.startsWith(handler))
      for (const handler of ['invoice', 'audit', 'welcome']) expect(new Set(ran(handler)).size).toBe(ORDERS)
      for (const handler of ['audit', 'welcome']) expect(ran(handler)).toHaveLength(ORDERS)
    },
  )
})
