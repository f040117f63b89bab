import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { MemberSession } from '../../../src/kafka/consuming/member-session.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }))
afterEach(() => void vi.useRealTimers())

const timeoutMs = 1000

it('is live for its timeout after the sending of a confirmed request', () => {
  const session = new MemberSession({ timeoutMs, isMember: () => true, onResumed: () => undefined })
  vi.advanceTimersByTime(5000)
  const sentAt = performance.now()
  vi.advanceTimersByTime(600)

  session.confirm(sentAt)

  vi.advanceTimersByTime(399)
  expect(session.isLive).toBe(true)
  vi.advanceTimersByTime(1)
  expect(session.isLive).toBe(false)
})

it('is not live without a membership', () => {
  const session = new MemberSession({ timeoutMs, isMember: () => false, onResumed: () => undefined })
  session.confirm(performance.now())
  expect(session.isLive).toBe(false)
})

it('reports that it resumed only if it had expired, and only if the confirmation is recent', () => {
  const onResumed = vi.fn()
  const session = new MemberSession({ timeoutMs, isMember: () => true, onResumed })
  session.confirm(performance.now())
  const sentAt = performance.now()
  vi.advanceTimersByTime(5000)

  session.confirm(sentAt)
  expect(onResumed).not.toHaveBeenCalled()

  session.confirm(performance.now())
  session.confirm(performance.now())
  expect(onResumed).toHaveBeenCalledOnce()
})
