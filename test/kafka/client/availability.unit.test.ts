import { describe, expect, it } from 'vitest'
import { Availability } from '../../../src/kafka/client/availability.ts'

const never = new AbortController().signal

describe('waiting for the brokers', () => {
  it('ends when they can be reached, after a loss again', async () => {
    const availability = new Availability(never)
    const first = availability.whenUp(never)
    availability.setUp()
    expect(await first).toBe(true)

    availability.setDown()
    const second = availability.whenUp(never)
    availability.setUp()

    expect(await second).toBe(true)
    expect(availability.restorations).toBe(2)
  })

  it('returns false if the signal aborts, or the cluster is closed', async () => {
    const closed = new AbortController()
    const caller = new AbortController()
    const availability = new Availability(closed.signal)
    const aborted = availability.whenUp(caller.signal)
    const pending = availability.whenUp(never)

    caller.abort()
    expect(await aborted).toBe(false)
    closed.abort()

    expect(await pending).toBe(false)
    expect(await availability.whenUp(never)).toBe(false)
  })
})
