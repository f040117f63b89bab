import { randomUUID } from 'node:crypto'
import { expect, it, onTestFinished, vi } from 'vitest'
import { OrderShipped, orderShipped } from '../support/order-events.ts'
import { paced } from '../support/pace.ts'
import { waitFor } from '../support/wait-for.ts'
import { createBus, systems } from './every-bus.ts'

const HOUR_MS = 3_600_000

it.each(systems)('does not mistake a clock jump for elapsed time, on %s', async (system) => {
  const now = Date.now
  let shiftMs = 0
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() + shiftMs)
  onTestFinished(() => clock.mockRestore())
  const options = { maxRetries: 1, publishTimeoutMs: 10_000, handlerTimeoutMs: 10_000 }
  const bus = createBus(system, `test-${randomUUID().slice(0, 8)}`, options)
  const notices: string[] = []
  bus.onNotice(({ type }) => notices.push(type))
  const handled: string[] = []
  const attempts: string[] = []
  let gate = Promise.withResolvers<void>()
  bus.subscribe(OrderShipped, async ({ eventId, aggregateId }, { attempt, deliveryCount }) => {
    attempts.push(`${aggregateId} ${attempt} ${deliveryCount}`)
    if (aggregateId.startsWith('held')) await gate.promise
    if (aggregateId.startsWith('twice') && attempt === 1) throw new Error('fails as planned')
    handled.push(eventId)
  })
  bus.startConsumingInBackground()
  await bus.whenConsuming()

  for (const jumpMs of [HOUR_MS, -HOUR_MS, -HOUR_MS]) {
    gate = Promise.withResolvers()
    attempts.length = 0
    handled.length = 0
    // The second event waits behind the first, and has not started when the clock jumps.
    const held = [orderShipped('held'), orderShipped('held')]
    await bus.publish(held)
    await waitFor(() => attempts.length === 1)
    shiftMs += jumpMs
    const during = [orderShipped('twice'), orderShipped('once')]
    await bus.publish(during)
    await waitFor(() => handled.length === 2)
    const { oldestUnsettledMs } = (await bus.health()).checks
    gate.resolve()
    await waitFor(() => handled.length === 4)

    expect(oldestUnsettledMs.value).toBeGreaterThan(0)
    expect(oldestUnsettledMs.value).toBeLessThan(HOUR_MS / 2)
    expect(attempts.toSorted()).toEqual(['held 1 1', 'held 1 1', 'once 1 1', 'twice 1 1', 'twice 2 1'])
    expect(new Set(handled)).toEqual(new Set([...held, ...during].map(({ eventId }) => eventId)))
  }
  const start = performance.now()
  await bus.shutdown({ timeoutMs: paced(5000) })
  expect(performance.now() - start).toBeLessThan(paced(4000))
  expect(notices).toEqual([])
  expect(bus.getStats()).toMatchObject({ messagesSentToDlq: 0, eventsRetried: 3, reconnections: 0 })
})
