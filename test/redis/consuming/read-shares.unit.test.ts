import { expect, it } from 'vitest'
import { ReadShares } from '../../../src/redis/consuming/read-shares.ts'

it('gives the room to the busy streams by turns, and one entry to each of the others', () => {
  const shares = new ReadShares<string>()
  for (const stream of ['c', 'd']) shares.note(stream, 3, 10)
  const all = ['a', 'b', 'c', 'd']
  expect(shares.split(all, 100)).toEqual([
    { count: 98, streams: ['a'] },
    { count: 1, streams: ['c', 'd'] },
  ])
  shares.note('a', 98, 98)
  expect(shares.split(all, 100)).toMatchObject([{ streams: ['b'] }, {}])
  shares.note('b', 98, 98)
  expect(shares.split(all, 100)).toMatchObject([{ streams: ['a'] }, {}])

  // A stream that had what it was asked for may have more.
  shares.note('c', 1, 1)
  expect(shares.split(all, 100)).toEqual([
    { count: 99, streams: ['c'] },
    { count: 1, streams: ['d'] },
  ])
  expect(new Set(Array.from({ length: 3 }, () => shares.split(all, 100)[0]?.streams[0]))).toEqual(
    new Set(['a', 'b', 'c']),
  )
})

it('shares the room equally if no stream is busy', () => {
  const shares = new ReadShares<string>()
  for (const stream of ['a', 'b', 'c']) shares.note(stream, 0, 1)
  expect(shares.split(['a', 'b', 'c'], 100)).toEqual([{ count: 33, streams: ['a', 'b', 'c'] }])
})

it('never asks for more entries than there is room for', () => {
  const shares = new ReadShares<number>()
  const all = Array.from({ length: 16 }, (_, index) => index)
  for (let round = 0; round < 2000; round += 1) {
    const room = 1 + Math.floor(Math.random() * 40)
    const asked = shares.split(all, room)
    const total = asked.reduce((sum, { count, streams }) => sum + count * streams.length, 0)
    expect(total).toBeGreaterThan(0)
    expect(total).toBeLessThanOrEqual(room)
    for (const { count, streams } of asked) {
      expect(count).toBeGreaterThan(0)
      for (const stream of streams) shares.note(stream, Math.random() < 0.5 ? count : 0, count)
    }
  }
})
