import { expect, it } from 'vitest'
import { type Seats, shareOut } from '../../../src/rabbitmq/consuming/shares.ts'

const ownersOf = (partitions: number, seats: Seats) => shareOut(partitions, seats).map(({ owner }) => owner)

/** All non-empty sets of the seats up to a number. */
function setsOf(size: number): readonly Seats[] {
  return Array.from({ length: 2 ** size - 1 }, (_, index) =>
    Array.from({ length: size }, (_, seat) => seat).filter((seat) => ((index + 1) >> seat) % 2 === 1),
  )
}

it('gives each partition to a worker, and shares that differ by at most one', () => {
  for (const partitions of [1, 2, 7, 8, 16]) {
    for (const seats of setsOf(Math.min(partitions, 6))) {
      const counts = Map.groupBy(ownersOf(partitions, seats), (owner) => owner)
      const shares = seats.map((seat) => counts.get(seat)?.length ?? 0)
      expect(shares.reduce((sum, share) => sum + share, 0)).toBe(partitions)
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1)
    }
  }
})

it('names as standby the worker that gets the partition if the owner leaves', () => {
  for (const seats of setsOf(5).filter(({ length }) => length > 1)) {
    for (const [partition, { owner, standby }] of shareOut(8, seats).entries()) {
      const others = seats.filter((seat) => seat !== owner)
      expect(standby).toBe(ownersOf(8, others)[partition])
    }
  }
})

it('moves only the partitions of the worker that leaves, or as many as a new worker gets', () => {
  const before = ownersOf(8, [0, 1, 2, 3])
  const after = ownersOf(8, [0, 2, 3])
  expect(before.filter((owner, partition) => owner !== after[partition])).toEqual([1, 1])
  const grown = ownersOf(12, [0, 1, 2, 3])
  expect(ownersOf(12, [0, 1, 2]).filter((owner, partition) => owner !== grown[partition])).toHaveLength(3)
})

it('has no standby for a single worker', () => {
  expect(shareOut(2, [1])).toEqual([
    { owner: 1, standby: undefined },
    { owner: 1, standby: undefined },
  ])
})
