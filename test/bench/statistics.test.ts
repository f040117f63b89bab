import { expect, test } from 'vitest'
import { median, quantile, rounded, spreadOf } from '../../bench/statistics.ts'

test('the median is the middle value, whatever the order', () => {
  expect(median([5, 1, 3])).toBe(3)
})

test('the median of an even number of values is the mean of the middle two', () => {
  expect(median([4, 1, 3, 2])).toBe(2.5)
})

test('the median does not reorder its input', () => {
  const values = [3, 1, 2]

  median(values)

  expect(values).toEqual([3, 1, 2])
})

test('a quantile between two values is interpolated', () => {
  expect(quantile([0, 10, 20, 30, 40], 0.99)).toBeCloseTo(39.6)
  expect(quantile([7], 0.999)).toBe(7)
})

test('the median of no values is NaN', () => {
  expect(median([])).toBeNaN()
})

test('the spread is the smallest and the largest value', () => {
  expect(spreadOf([0.9, 1.104, 0.85])).toEqual([0.85, 1.1])
})

test('figures keep three digits, and every digit before the decimal point', () => {
  expect([0.012345, 1.005, 99.94, 123456.7].map(rounded)).toEqual([0.0123, 1, 99.9, 123457])
})
