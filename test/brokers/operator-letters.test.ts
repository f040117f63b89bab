import { randomUUID } from 'node:crypto'
import { it } from 'vitest'
import { useBrowser } from '../operator/browser.ts'
import { brokenBilling, operatorsStory } from '../operator/letters/story.ts'
import { createBus, systems } from './every-bus.ts'

const browser = useBrowser()

it.each(systems)(
  'an operator finds, understands and replays a dead letter in the page, on %s',
  async (system) => {
    const scope = `letters-${randomUUID().slice(0, 8)}`
    await using scene = await brokenBilling(
      (options) => createBus(system, scope, { maxRetries: 0, ...options }),
      6,
    )

    await operatorsStory(browser, scene, { isReported: system !== 'rabbitmq' })
  },
)
