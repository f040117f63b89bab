import { expect, it } from 'vitest'
import { Rotation } from '../../../src/kafka/consuming/rotation.ts'

it('makes each item the first one in turn, and keeps the order', () => {
  const rotation = new Rotation()
  const lists = Array.from({ length: 3 }, () => rotation.rotate(['a', 'b', 'c']).join(''))
  expect(lists.toSorted()).toEqual(['abc', 'bca', 'cab'])
})

it('rotates lists of changing length, empty ones too', () => {
  const rotation = new Rotation()
  expect(rotation.rotate([])).toEqual([])
  expect([...rotation.rotate([1, 2])].toSorted()).toEqual([1, 2])
})
