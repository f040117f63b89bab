import { expect, it, onTestFinished, vi } from 'vitest'
import { PartitionBackoff } from '../../../src/kafka/consuming/partition-backoff.ts'

it('never leaves a partition out, whenever it becomes due', () => {
  let now = 1000
  // Each reading of the clock is later than the one before.
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => {
    now += 0.25
    return now
  })
  onTestFinished(() => clock.mockRestore())
  const backoff = new PartitionBackoff<object>()
  const partition = {}
  backoff.onFailure(partition)
  let waits = 0
  for (let division = backoff.divide([partition]); division.due.length === 0; ) {
    expect(division.nextDueMs).toBeLessThan(200)
    waits += 1
    division = backoff.divide([partition])
  }
  expect(waits).toBeGreaterThan(10)
})

it('divides partitions that failed from those that did not', () => {
  const backoff = new PartitionBackoff<object>()
  const [failed, sound] = [{}, {}]
  backoff.onFailure(failed)
  expect(backoff.divide([failed, sound]).due).toEqual([sound])
  backoff.onSuccess(failed)
  expect(backoff.divide([failed, sound])).toEqual({
    due: [failed, sound],
    nextDueMs: Number.POSITIVE_INFINITY,
  })
})
