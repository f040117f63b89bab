import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { useBrowser } from '../operator/browser.ts'
import { changesStory } from '../operator/letters/changes.ts'
import { brokenBilling, click, operatorsStory } from '../operator/letters/story.ts'
import { createBus, systems } from './every-bus.ts'

const browser = useBrowser()
const ORDERS = 40

it.each(systems)(
  'an operator finds and understands dead letters in the page, replays one, edits one, and replays the others in bulk, on %s',
  async (system) => {
    const scope = `letters-${randomUUID().slice(0, 8)}`
    await using scene = await brokenBilling(
      (options) => createBus(system, scope, { maxRetries: 0, ...options }),
      ORDERS,
    )
    const isReported = system !== 'rabbitmq'

    await operatorsStory(browser, scene, { isReported })
    await changesStory(browser, scene, { isReported, press: click })

    const ran = (handler: string) => scene.state.ran.filter((line) => line.startsWith(handler))
    for (const handler of ['invoice', 'audit', 'welcome']) expect(new Set(ran(handler)).size).toBe(ORDERS)
    for (const handler of ['audit', 'welcome']) expect(ran(handler)).toHaveLength(ORDERS)
  },
)
