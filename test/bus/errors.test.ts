import { inspect } from 'node:util'
import { expect, it } from 'vitest'
import { PublishError, PublishTimeoutError } from '../../src/index.ts'

it('is printed in a few lines, even for many events', () => {
  const error = new PublishTimeoutError(100, 'the broker is away')
  const outcomes = Array.from({ length: 1000 }, (_, n) => ({
    eventId: `event-${n}`,
    eventType: 'OrderCreated',
    status: 'unknown' as const,
    error,
  }))

  const thrown = new PublishError('redis', outcomes)

  expect(thrown.outcomes).toHaveLength(1000)
  expect(inspect(thrown)).toContain('Of 1000 events published to redis')
  expect(inspect(thrown)).not.toContain('event-1')
  expect(inspect(thrown).length).toBeLessThan(5000)
})
