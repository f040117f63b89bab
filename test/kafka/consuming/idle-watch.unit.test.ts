import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { BusNotice } from '../../../src/index.ts'
import { IdleWatch } from '../../../src/kafka/consuming/idle-watch.ts'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

function watch() {
  const notices: BusNotice[] = []
  const host = { notify: (notice: BusNotice) => void notices.push(notice) }
  return { notices, idle: new IdleWatch({ group: 'billing', stream: 'orders.stream', host }) }
}

const OWN = [{ topic: 'orders.stream', index: 0 }]
const REPLAYS = [{ topic: 'orders.stream.replay.billing', index: 0 }]

it('reports once that a member has no partition of its stream while the group is stable', () => {
  const { notices, idle } = watch()

  idle.onAssigned(REPLAYS)
  vi.advanceTimersByTime(4000)
  expect(idle.reason).toBeUndefined()
  idle.onAssigned([])
  vi.advanceTimersByTime(4000)
  expect(notices).toEqual([])
  vi.advanceTimersByTime(1000)
  idle.onAssigned([])
  vi.advanceTimersByTime(60_000)

  expect(idle.reason).toContain('group billing assigned no partition of orders.stream')
  expect(notices).toEqual([{ type: 'unassigned', detail: idle.reason }])
})

it('forgets it when the member gets a partition, loses its membership or stops', () => {
  const { notices, idle } = watch()
  idle.onAssigned([])
  vi.advanceTimersByTime(5000)

  idle.onAssigned(OWN)
  expect(idle.reason).toBeUndefined()
  idle.onAssigned([])
  idle.stop()
  vi.advanceTimersByTime(60_000)

  expect(notices).toHaveLength(1)
})

it('reports a join that takes long until the member has joined', () => {
  const { notices, idle } = watch()

  idle.onAssigned([])
  idle.onWaiting('joining the group waits for another member')
  vi.advanceTimersByTime(60_000)

  expect(idle.reason).toBe('joining the group waits for another member')
  expect(notices).toEqual([{ type: 'unassigned', detail: idle.reason }])
  idle.onAssigned([])
  expect(idle.reason).toBeUndefined()
  vi.advanceTimersByTime(5000)
  expect(idle.reason).toContain('assigned no partition')
})
