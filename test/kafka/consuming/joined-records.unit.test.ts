import { expect, it } from 'vitest'
import { JoinedRecords } from '../../../src/kafka/consuming/joined-records.ts'

it('counts a record once, whether a reading has found it or not', () => {
  const joined = new JoinedRecords()
  joined.add('a', '1')
  joined.add('a', '2')
  joined.add('b', '3')
  expect(joined.countWith('a', [])).toBe(2)
  expect(joined.countWith('a', ['0', '1'])).toBe(3)
  expect(joined.countWith('c', ['4'])).toBe(1)
})

it('forgets the records that a reading covers, and keeps those that were stored meanwhile', () => {
  const joined = new JoinedRecords()
  joined.add('a', '1')
  const covered = joined.all()
  joined.add('a', '2')
  joined.remove(covered)
  expect(joined.all()).toEqual([['a', '2']])
  joined.remove(joined.all())
  expect(joined.countWith('a', ['1'])).toBe(1)
})
