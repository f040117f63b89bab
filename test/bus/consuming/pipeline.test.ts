import fc from 'fast-check'
import { expect, it } from 'vitest'
import { defineEvent } from '../../../src/index.ts'
import { RetryPolicy } from '../../../src/kit/retry-policy.ts'
import { MemoryBrokerEventBus } from '../../../src/testing/index.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { waitFor } from '../../support/wait-for.ts'

class Noted extends defineEvent<{ n: number; failures: number }>()({
  type: 'Noted',
  aggregateType: 'Note',
}) {}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

it('handles any mix of aggregates and failures in order, one event at a time, with exactly the attempts needed', async () => {
  const plan = fc.array(
    fc.record({ key: fc.integer({ min: 0, max: 5 }), failures: fc.integer({ min: 0, max: 2 }) }),
    {
      maxLength: 40,
    },
  )
  await fc.assert(
    fc.asyncProperty(
      plan,
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 50 }),
      async (steps, concurrency, maxInFlight) => {
        const logger = new RecordingLogger()
        await using bus = new MemoryBrokerEventBus({
          concurrency,
          maxInFlight,
          maxRetries: 2,
          retryBaseDelayMs: 0,
          logger,
        })
        const events = steps.map(({ key, failures }, n) => new Noted({ aggregateId: `k${key}`, n, failures }))
        const attempts = new Map<number, number>()
        const done: Noted[] = []
        const running = new Map<string, number>()
        let most = 0
        bus.subscribe(Noted, async (event) => {
          const ofKey = (running.get(event.aggregateId) ?? 0) + 1
          running.set(event.aggregateId, ofKey)
          most = Math.max(
            most,
            [...running.values()].reduce((sum, count) => sum + count, 0),
          )
          expect(ofKey).toBe(1)
          await nextTurn()
          running.set(event.aggregateId, 0)
          const attempt = (attempts.get(event.n) ?? 0) + 1
          attempts.set(event.n, attempt)
          if (attempt <= event.failures) throw new Error('planned')
          done.push(event)
        })
        bus.startConsumingInBackground()
        await bus.whenConsuming()

        await bus.publish(events)
        await waitFor(() => done.length === events.length)

        for (const ofKey of Map.groupBy(done, ({ aggregateId }) => aggregateId).values()) {
          const numbers = ofKey.map(({ n }) => n)
          expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
        }
        for (const { n, failures } of events) expect(attempts.get(n)).toBe(failures + 1)
        expect(most).toBeLessThanOrEqual(concurrency)
      },
    ),
    { numRuns: 60 },
  )
})

it('waits between attempts according to the policy, within its jitter and maximum', () => {
  const options = fc.record({
    maxRetries: fc.integer({ min: 0, max: 10 }),
    retryBaseDelayMs: fc.integer({ min: 0, max: 5000 }),
    retryMaxDelayMs: fc.integer({ min: 0, max: 60_000 }),
    retryJitter: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  fc.assert(
    fc.property(
      options,
      fc.integer({ min: 1, max: 12 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (given, attempt, chance) => {
        const delay = new RetryPolicy(given, () => chance).delayAfter(attempt)

        if (attempt > given.maxRetries) expect(delay).toBeUndefined()
        else {
          const plain = Math.min(given.retryMaxDelayMs, given.retryBaseDelayMs * 2 ** (attempt - 1))
          expect(delay).toBeGreaterThanOrEqual(plain * (1 - given.retryJitter) - 1e-6)
          expect(delay).toBeLessThanOrEqual(plain * (1 + given.retryJitter) + 1e-6)
        }
      },
    ),
  )
})
