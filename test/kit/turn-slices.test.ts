import { expect, it } from 'vitest'
import { TurnSlices } from '../../src/kit/turn-slices.ts'
import { SteppedClock } from '../support/stepped-clock.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** Runs work that takes 1 ms for many callers. @returns their order, and the longest turn of the event loop. */
async function burst(callers: number) {
  const clock = new SteppedClock()
  const slices = new TurnSlices()
  const order: number[] = []
  const work = async (caller: number) => {
    const later = slices.enter()
    if (later !== undefined) await later
    clock.advance(1)
    order.push(caller)
  }
  const all = Promise.all(Array.from({ length: callers }, (_, caller) => work(caller)))
  let isDone = false
  void all.finally(() => {
    isDone = true
  })
  let longestMs = 0
  for (let startMs = 0; !isDone; startMs = clock.nowMs) {
    await turn()
    longestMs = Math.max(longestMs, clock.nowMs - startMs)
  }
  return { order, longestMs }
}

it('spreads the work of many callers over several turns, in the order of their calls', async () => {
  const { order, longestMs } = await burst(1000)

  expect(order).toEqual(Array.from({ length: 1000 }, (_, caller) => caller))
  expect(longestMs).toBeLessThanOrEqual(40)
})

it('lets the event loop run while one caller after the other works in microtasks', async () => {
  const clock = new SteppedClock()
  const slices = new TurnSlices()
  let rounds = 0
  let isOver = false
  const working = (async () => {
    for (; !isOver; rounds += 1) {
      await slices.enter()
      clock.advance(1)
    }
  })()

  for (let n = 0; n < 5; n += 1) await turn()
  isOver = true
  await working

  expect(rounds).toBeGreaterThan(20)
})

it('starts the work of a single caller at once', () => {
  expect(new TurnSlices().enter()).toBeUndefined()
})
