import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { AmqpChannel } from '../../../src/rabbitmq/client/client.ts'
import { KeptWalk } from '../../../src/rabbitmq/dead-letters/kept-walk.ts'
import { LetterWalk } from '../../../src/rabbitmq/dead-letters/letter-walk.ts'
import {
  type HeldLock,
  MAX_HOLD_MS,
  type ReaderLock,
} from '../../../src/rabbitmq/dead-letters/reader-lock.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** A walk under a lock that another reader can want. */
function scene() {
  const wanted = Promise.withResolvers<void>()
  const held: HeldLock = { isWanted: false, wanted: wanted.promise }
  const state = { isReleased: false }
  // No command reaches it: the reads of this test have no letters.
  const channel = {} as AmqpChannel
  const lock: Pick<ReaderLock, 'run'> = {
    run: async (work) => {
      const result = await work(channel, held)
      state.isReleased = true
      return result
    },
  }
  const walk = new KeptWalk(lock, () => new LetterWalk(channel, 'q.dlq', 2), false)
  const page = (ms = 0) =>
    walk.read(async () => {
      vi.advanceTimersByTime(ms)
      return 'page'
    })
  return { state, page, want: wanted.resolve }
}

it('is kept for ten seconds after each page', async () => {
  const { state, page } = scene()
  for (let read = 0; read < 3; read += 1) {
    expect(await page()).toBe('page')
    await vi.advanceTimersByTimeAsync(9000)
  }
  expect(state.isReleased).toBe(false)
  await vi.advanceTimersByTimeAsync(1000)
  expect(state.isReleased).toBe(true)
  expect(await page()).toBeUndefined()
})

it('ends before the broker would close a channel that holds messages for too long', async () => {
  const { state, page } = scene()
  let pages = 0
  for (; (await page()) !== undefined; pages += 1) await vi.advanceTimersByTimeAsync(9000)
  expect(pages * 9000).toBeGreaterThan(MAX_HOLD_MS)
  expect(pages * 9000).toBeLessThan(MAX_HOLD_MS + 20_000)
  await vi.advanceTimersByTimeAsync(0)
  expect(state.isReleased).toBe(true)
})

it.each([
  ['at once if no page was requested for a tenth of a second', 4000, 100, false],
  ['after a second if pages are requested all the time', 4000, 1000, true],
  ['after the time of the first page if that was shorter', 300, 300, true],
])('gives way to another reader: %s', async (_, firstMs, releasedAfterMs, isPaging) => {
  const { state, page, want } = scene()
  await page(firstMs)
  want()
  let ms = 0
  for (; !state.isReleased; ms += 20) {
    await vi.advanceTimersByTimeAsync(20)
    if (isPaging && !state.isReleased) await page()
  }
  expect(ms).toBeGreaterThanOrEqual(releasedAfterMs - 20)
  expect(ms).toBeLessThanOrEqual(releasedAfterMs + 40)
})
