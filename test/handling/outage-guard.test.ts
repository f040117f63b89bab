import { expect, it } from 'vitest'
import { type GuardChange, guardOptions, OutageGuard } from '../../src/handling/outage-guard.ts'
import { type OrderShipped, orderShipped } from '../support/order-events.ts'

const DOWN = new RangeError('the database does not answer')

function guard() {
  const changes: GuardChange[] = []
  const options = guardOptions('test', { failures: 5, withinMs: 60_000, probeDelayMs: 60_000 }, Infinity)
  if (options === undefined) throw new Error('no options')
  return { guard: new OutageGuard(options, (change) => changes.push(change)), changes }
}

const event = () => orderShipped('Order-1')

it('pauses after as many failures, however many events have succeeded before', () => {
  const { guard: busy, changes } = guard()
  for (let n = 0; n < 1000; n += 1) busy.succeeded()

  const counts = Array.from({ length: 5 }, event).map((failing) => !busy.failed(failing, DOWN))

  expect(counts).toEqual([true, true, true, true, false])
  expect(changes).toEqual([{ isPaused: true, error: DOWN }])
})

it('does not pause while more events succeed than fail', () => {
  const { guard: mixed, changes } = guard()
  for (let n = 0; n < 100; n += 1) {
    expect(mixed.failed(event(), DOWN)).toBe(false)
    mixed.succeeded()
    mixed.succeeded()
  }

  expect(changes).toEqual([])
})

it('counts an event once, however often it fails', () => {
  const { guard: single, changes } = guard()
  const failing: OrderShipped = event()
  for (let n = 0; n < 100; n += 1) single.failed(failing, DOWN)

  expect(changes).toEqual([])
})

it.each([
  [100, 10],
  [4, 4],
  [1, 2],
])('of a process that holds at most %d events pauses after %d failures', (maxHeld, failures) => {
  expect(guardOptions('test', true, maxHeld)?.failures).toBe(failures)
})
