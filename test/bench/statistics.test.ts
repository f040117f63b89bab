import { expect, test } from 'vitest'
import { median, quantile, rounded, spreadOf } from '../../bench/statistics.ts'

test('the median is the middle value, whatever the order', () => {
  expect(median([5, 1, 3])).toBe(3)
})

test('the median of an even number of values lies between the middle two', () => {
  expect(median([4, 1, 3, 2])).toBe(2.5)
})

test('the median does not reorder what it is given', () => {
  const values = [3, 1, 2]

  median(values)

  expect(values).toEqual([3, 1, 2])
})

test('a quantile between two values is in proportion', () => {
  expect(quantile([0, 10, 20, 30, 40], 0.99)).toBeCloseTo(39.6)
  expect(quantile([7], 0.999)).toBe(7)
})

test('there is no median of nothing', () => {
  expect(median([])).toBeNaN()
})

test('the spread is from the smallest to the largest', () => {
  expect(spreadOf([0.9, 1.104, 0.85])).toEqual([0.85, 1.1])
})

test('figures keep three digits, and every digit before the point', () => {
  expect([0.012345, 1.005, 99.94, 123456.7].map(rounded)).toEqual([0.0123, 1, 99.9, 123457])
})
