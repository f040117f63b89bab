import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { SendSchedule } from '../../../src/kafka/publishing/send-schedule.ts'

function scene(lingerMs: number) {
  const send = vi.fn()
  return { send, schedule: new SendSchedule({ lingerMs, send }) }
}

describe('records that arrive one after the other', () => {
  it('are sent together after the first turn that adds none', async () => {
    const { send, schedule } = scene(60_000)
    schedule.added()
    for (let record = 0; record < 5; record += 1) {
      schedule.added()
      await nextTurn()
    }
    expect(send).not.toHaveBeenCalled()

    await nextTurn()

    expect(send).toHaveBeenCalledOnce()
  })

  it('are not gathered without lingerMs', async () => {
    const { send, schedule } = scene(0)
    schedule.added()
    schedule.added()
    await nextTurn()
    expect(send).toHaveBeenCalledOnce()
  })
})

describe('a delayed attempt', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('keeps the earliest of several times', () => {
    const { send, schedule } = scene(5)
    schedule.sendIn(500)
    schedule.sendIn(100)
    schedule.sendIn(300)

    vi.advanceTimersByTime(99)
    expect(send).not.toHaveBeenCalled()
    vi.advanceTimersByTime(10)
    expect(send).toHaveBeenCalledOnce()
  })

  it('does not happen after close', () => {
    const { send, schedule } = scene(5)
    schedule.sendIn(100)
    schedule.close()
    schedule.sendIn(100)
    schedule.sendSoon()
    vi.advanceTimersByTime(1000)
    expect(send).not.toHaveBeenCalled()
  })
})
