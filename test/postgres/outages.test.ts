import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import {
  handlerFor,
  StoreOutcomeUnknownError,
  StoreUnavailableError,
  SubscriptionManager,
} from '../../src/index.ts'
import { Noted, noted } from '../../src/testing/conformance/events.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { openStores } from './postgres-scene.ts'

it.each(['stop', 'kill'] as const)(
  'continues by itself within two seconds after the server is back, and logs few lines: %s',
  {
    timeout: paced(120_000),
  },
  async (end) => {
    await using server = await launchBroker('postgres')
    const logger = new RecordingLogger()
    await using stores = openStores({ postgresUrl: server.url, logger })
    const { events: eventStore, checkpoints, leases } = stores
    await using manager = new SubscriptionManager({ eventStore, checkpoints, leases, logger })
    const handled = new Set<string>()
    const names = Array.from({ length: 12 }, (_, index) => `s${index}`)
    for (const name of names) {
      const handler = handlerFor(Noted, ({ eventId }) => void handled.add(`${name} ${eventId}`))
      manager.subscribe({ name, handlers: [handler] })
    }
    manager.start()
    const append = async () => {
      const event = noted('a')
      await eventStore.appendEvents({ ...event, events: [event], expectedVersion: 'any' })
      return event.eventId
    }
    await append()
    await expect.poll(() => handled.size, { timeout: paced(10_000) }).toBe(names.length)
    const before = logger.lines.length
    await server[end]()
    const errors: unknown[] = []
    for (let n = 0; n < 10; n += 1) {
      errors.push(await append().catch((error: unknown) => error))
      await delay(200)
    }
    await server.start()
    const upAt = performance.now()
    let last: string | undefined
    await expect
      .poll(
        async () => {
          last = await append().catch(() => undefined)
          return last
        },
        { timeout: paced(10_000) },
      )
      .toBeDefined()
    await expect
      .poll(() => names.filter((name) => handled.has(`${name} ${last}`)).length, {
        timeout: paced(10_000),
        interval: 5,
      })
      .toBe(names.length)
    const recoveredMs = performance.now() - upAt
    const lines = logger.lines.slice(before).filter(({ level }) => level !== 'debug')
    const counts = [...Map.groupBy(lines, ({ message }) => message).values()].map(({ length }) => length)

    for (const error of errors) {
      expect([StoreOutcomeUnknownError, StoreUnavailableError]).toContain(Object(error).constructor)
    }
    expect(recoveredMs).toBeLessThan(paced(2000))
    // Ten lines with the same sentence in ten seconds, for any number of subscriptions.
    expect(Math.max(...counts), lines.map(({ message }) => message).join('\n')).toBeLessThanOrEqual(11)
  },
)
