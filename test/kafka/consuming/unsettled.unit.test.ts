import { expect, it } from 'vitest'
import { type CommittedOffset, unsettledIn } from '../../../src/kafka/consuming/offsets.ts'

function committed(offset: number, ...finished: (readonly [number, number])[]): CommittedOffset {
  return { offset, progress: { openUpTo: offset, finished, attempts: new Map() } }
}

it('counts the records after the committed offset', () => {
  expect(unsettledIn({ start: 0, end: 10 }, committed(4))).toEqual({ count: 6, first: 4 })
  expect(unsettledIn({ start: 0, end: 10 }, committed(10))).toEqual({ count: 0, first: 10 })
})

it('counts all records if nothing is committed', () => {
  expect(unsettledIn({ start: 3, end: 10 }, undefined)).toEqual({ count: 7, first: 3 })
})

it('counts no record that retention has removed', () => {
  expect(unsettledIn({ start: 8, end: 10 }, committed(4))).toEqual({ count: 2, first: 8 })
  expect(unsettledIn({ start: 10, end: 10 }, committed(4))).toEqual({ count: 0, first: 10 })
})

it('counts no record that is finished after the committed offset', () => {
  expect(unsettledIn({ start: 0, end: 10 }, committed(4, [5, 7], [9, 10]))).toEqual({ count: 3, first: 4 })
  expect(unsettledIn({ start: 6, end: 10 }, committed(4, [5, 7]))).toEqual({ count: 3, first: 7 })
})

it('counts nothing after a topic was recreated with fewer records', () => {
  expect(unsettledIn({ start: 0, end: 2 }, committed(4)).count).toBe(0)
})
