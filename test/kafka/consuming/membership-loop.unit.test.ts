import { describe, expect, it, vi } from 'vitest'
import { MembershipLoop, type MembershipProtocol } from '../../../src/kafka/consuming/membership-loop.ts'

const always = () => Promise.resolve(true)

/** A protocol that stays a member until it is interrupted. */
class TestProtocol implements MembershipProtocol {
  readonly failures: number[] = []
  readonly entries: boolean[] = []
  readonly #loop: MembershipLoop
  readonly #outcomes: boolean[]

  /** @param outcomes - whether each `enter` succeeds; once they are used up, all do. */
  constructor(loop: MembershipLoop, outcomes: readonly boolean[]) {
    this.#loop = loop
    this.#outcomes = [...outcomes]
  }

  enter(): Promise<void> {
    const isSuccess = this.#outcomes.shift() ?? true
    this.entries.push(isSuccess)
    return isSuccess ? Promise.resolve() : Promise.reject(new Error('refused'))
  }

  async stay(): Promise<void> {
    await this.#loop.pause(60_000)
  }

  recover(_error: Error, failures: number): number {
    this.failures.push(failures)
    return 0
  }
}

describe('the loop of a membership', () => {
  it('enters again after a failure, counts failures in a row, and again from 1 after a success', async () => {
    const loop = new MembershipLoop(always)
    const protocol = new TestProtocol(loop, [false, false, true, false])
    loop.start(protocol)
    await vi.waitUntil(() => protocol.entries.length === 3)

    loop.interrupt()
    await vi.waitUntil(() => protocol.entries.length === 5)

    expect(protocol.failures).toEqual([1, 2, 1])
    loop.stop()
    await loop.ended
  })

  it('ends while it stays, and settles a first join that still waits', async () => {
    const loop = new MembershipLoop(always)
    const protocol = new TestProtocol(loop, [])
    loop.start(protocol)
    await vi.waitUntil(() => protocol.entries.length === 1)

    loop.stop()

    await loop.ended
    await loop.firstAssignment.promise
    expect(protocol.entries).toHaveLength(1)
  })

  it('does not join if the brokers do not come back', async () => {
    const loop = new MembershipLoop(() => Promise.resolve(false))
    const protocol = new TestProtocol(loop, [])

    loop.start(protocol)

    await loop.ended
    expect(protocol.entries).toEqual([])
  })
})
