import { expect, it, onTestFinished, vi } from 'vitest'
import { StandstillWatch } from '../../../src/rabbitmq/consuming/standstill-watch.ts'

const LIMIT_MS = 1000

function startWatch() {
  const reports: number[] = []
  const watch = new StandstillWatch(LIMIT_MS, (elapsedMs) => reports.push(elapsedMs))
  watch.start()
  onTestFinished(() => {
    watch.stop()
    vi.useRealTimers()
  })
  return { watch, reports }
}

it('reports nothing while the event loop turns', () => {
  vi.useFakeTimers()
  const { watch, reports } = startWatch()

  vi.advanceTimersByTime(20 * LIMIT_MS)

  expect(watch.isStandstill).toBe(false)
  expect(reports).toEqual([])
})

it('reports once that the event loop did not turn for the limit', () => {
  // Only the clock is faked: the interval of the watch gets no turn within this test.
  vi.useFakeTimers({ toFake: ['performance'] })
  const { watch, reports } = startWatch()

  vi.advanceTimersByTime(LIMIT_MS - 1)
  expect(watch.isStandstill).toBe(false)
  vi.advanceTimersByTime(1)
  expect(watch.isStandstill).toBe(true)
  watch.check()
  watch.check()

  expect(reports).toEqual([LIMIT_MS])
  expect(watch.isStandstill).toBe(false)
})
