import fc from 'fast-check'
import { expect, it } from 'vitest'
import { FinishedPrefix } from '../../src/kit/finished-prefix.ts'

it('passes exactly the longest finished prefix, in any order of finishing', () => {
  const order = fc.integer({ min: 1, max: 3000 }).chain((count) =>
    fc
      .shuffledSubarray(
        Array.from({ length: count }, (_, index) => index),
        { minLength: 0, maxLength: count },
      )
      .map((finished) => ({ count, finished })),
  )
  fc.assert(
    fc.property(order, ({ count, finished }) => {
      const prefix = new FinishedPrefix<{ index: number; isFinished: boolean }>()
      const items = Array.from({ length: count }, (_, index) => ({ index, isFinished: false }))
      for (const item of items) prefix.push(item)
      const passed: number[] = []

      for (const index of finished) {
        const item = items[index]
        if (item !== undefined) item.isFinished = true
        prefix.advance((each) => passed.push(each.index))
      }

      const end = items.findIndex((item) => !item.isFinished)
      const expected = items.slice(0, end < 0 ? count : end).map(({ index }) => index)
      expect(passed).toEqual(expected)
      expect(prefix.first).toBe(items[expected.length])
      expect([...prefix]).toEqual(items.slice(expected.length))
    }),
    { numRuns: 50 },
  )
})

it('replaces an item', () => {
  const prefix = new FinishedPrefix<{ name: string; isFinished: boolean }>()
  const former = { name: 'former', isFinished: false }
  prefix.push({ name: 'first', isFinished: false })
  prefix.push(former)

  prefix.replace(former, { name: 'replacement', isFinished: false })

  expect([...prefix].map(({ name }) => name)).toEqual(['first', 'replacement'])
})
