import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { partitionKey, type TopicPartition } from '../../../src/kafka/client/topic-partition.ts'
import type { CommittedOffset } from '../../../src/kafka/consuming/offsets.ts'
import { PartitionStarts } from '../../../src/kafka/consuming/partition-starts.ts'
import { readProgress } from '../../../src/kafka/wire/progress.ts'
import { ConnectionError } from '../../../src/transport/errors.ts'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

const place = (index: number): TopicPartition => ({ topic: 'orders.stream', index })
const ALL = [0, 1, 2, 3].map(place)
const START: CommittedOffset = { offset: 0, progress: readProgress(0, null) }

/** Partitions with an even index are led by broker 0. */
function startsOf(read: (partitions: readonly TopicPartition[]) => Promise<void>) {
  const owned: number[] = []
  const failures: string[] = []
  const late: number[] = []
  const starts = new PartitionStarts({
    leaderOf: ({ index }) => index % 2,
    read: async (partitions) => {
      await read(partitions)
      return new Map(partitions.map((partition) => [partitionKey(partition), START]))
    },
    own: ({ index }) => void owned.push(index),
    onLate: () => void late.push(owned.length),
    onFailure: ({ message }) => void failures.push(message),
    released: new AbortController().signal,
  })
  return { starts, owned, failures, late }
}

it('owns the partitions of the leaders that answer, and those of a silent one when it answers', async () => {
  const answer = Promise.withResolvers<void>()
  const { starts, owned, late } = startsOf((partitions) =>
    partitions.some(({ index }) => index % 2 === 1) ? answer.promise : Promise.resolve(),
  )

  const taken = starts.take(ALL)
  await vi.advanceTimersByTimeAsync(5000)
  await taken

  expect(owned).toEqual([0, 2])
  expect(starts.pending).toEqual([place(1), place(3)])
  answer.resolve()
  await vi.advanceTimersByTimeAsync(0)
  expect(owned).toEqual([0, 2, 1, 3])
  expect(late).toEqual([4])
  expect(starts.pending).toEqual([])
})

it('owns no partition that was lost before its leader answers, even if it is assigned again', async () => {
  const answers = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let asked = 0
  const { starts, owned } = startsOf(() => answers[asked++]?.promise ?? Promise.resolve())
  const taken = starts.take([place(1)])
  await vi.advanceTimersByTimeAsync(5000)
  await taken

  starts.dropAll()
  const again = starts.take([place(1)])
  answers[0]?.resolve()
  await vi.advanceTimersByTimeAsync(0)
  expect(owned).toEqual([])
  answers[1]?.resolve()
  await again

  expect(owned).toEqual([1])
})

it('reads the other partitions of a leader although one of them is refused', async () => {
  const refused = new ConnectionError('CONNECTION_FAILED', 'planned')
  const { starts, owned, failures } = startsOf((partitions) =>
    partitions.some(({ index }) => index === 2) ? Promise.reject(refused) : Promise.resolve(),
  )

  const taken = starts.take(ALL)
  await vi.advanceTimersByTimeAsync(5000)
  await taken

  expect(owned.toSorted()).toEqual([0, 1, 3])
  expect(starts.has(partitionKey(place(2)))).toBe(true)
  expect(failures).toContain('planned')
})

it('fails if the brokers refuse a partition in a way that no retry can fix', async () => {
  const { starts } = startsOf(() => Promise.reject(new ConnectionError('AUTHENTICATION_FAILED', 'no right')))

  await expect(starts.take(ALL)).rejects.toThrow('no right')
})
