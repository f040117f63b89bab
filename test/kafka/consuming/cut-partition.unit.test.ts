import { expect, it } from 'vitest'
import { KafkaAssignedPartition } from '../../../src/kafka/consuming/assigned-partition.ts'
import { readProgress } from '../../../src/kafka/wire/progress.ts'
import type { Delivery } from '../../../src/transport/transport.ts'
import { PARTITION_OWNER, recordAt } from './partition-model.ts'

const PLACE = { topic: 't', index: 0, topicId: 'id', isReplays: false }
const LIMITS = { share: 100, window: 100 }

function partitionAt(offset: number, metadata: string | null = null) {
  const delivered: Delivery[] = []
  const intake = {
    room: 100,
    roomBytes: Number.POSITIVE_INFINITY,
    whenRoom: () => Promise.resolve(),
    deliver: (delivery: Delivery) => delivered.push(delivery),
  }
  const start = { offset, progress: readProgress(offset, metadata), epoch: 4 }
  const partition = new KafkaAssignedPartition(PARTITION_OWNER, PLACE, start)
  const commit = () => partition.onCommitted(partition.commitState(false))
  const deliver = (count: number) => {
    commit()
    partition.deliver({ ...intake }, { ...LIMITS, allowance: { left: count } })
  }
  const offsets = () => delivered.splice(0).map(({ message }) => Number(message.id.split('-').at(-1)))
  return { partition, delivered, deliver, commit, offsets }
}

it('commits the epoch of the record before the committed offset', () => {
  const { partition, delivered, deliver, commit } = partitionAt(10)
  expect(partition).toMatchObject({ position: 10, lastEpoch: 4 })
  partition.addFetched([recordAt(10), recordAt(11)], 12, [{ from: 10, epoch: 5 }])
  partition.addFetched([recordAt(12)], 13, [{ from: 12, epoch: 7 }])
  deliver(3)
  const state = () => partition.commitState(false)

  expect(state()).toMatchObject({ offset: 10, epoch: 4 })
  for (const delivery of delivered) delivery.begin()
  delivered[0]?.ack()
  expect(state()).toMatchObject({ offset: 11, epoch: 5 })
  delivered[1]?.ack()
  commit()
  expect(state()).toMatchObject({ offset: 12, epoch: 5 })
  delivered[2]?.ack()
  expect(state()).toMatchObject({ offset: 13, epoch: 7 })
  expect(partition.lastEpoch).toBe(7)
})

it('delivers what it had fetched before the offset at which its log was cut', () => {
  const { partition, deliver, offsets } = partitionAt(10)
  partition.addFetched([10, 11, 12, 13].map(recordAt), 14)
  deliver(1)
  expect(offsets()).toEqual([10])

  partition.cut(12)

  expect(partition.position).toBe(12)
  partition.addFetched([12, 13].map(recordAt), 14)
  deliver(100)
  expect(offsets()).toEqual([11, 12, 13])
})

it('settles no record that its log has lost, and handles those that replace it', () => {
  const { partition, delivered, deliver } = partitionAt(10)
  partition.addFetched([10, 11, 12].map(recordAt), 13)
  deliver(3)
  const [first, second, lost] = delivered.splice(0)
  first?.begin()
  second?.begin()
  lost?.begin()
  second?.ack()

  partition.cut(11)
  partition.addFetched([11, 12].map(recordAt), 13)
  deliver(2)
  lost?.ack()
  first?.ack()

  // Neither of the two new records is finished.
  expect(partition.commitState(false)).toMatchObject({ offset: 11, progress: { finished: [] } })
  for (const delivery of delivered) {
    expect(delivery.begin()).toBe(true)
    delivery.ack()
  }
  expect(partition.commitState(true)).toMatchObject({ offset: 13, progress: { finished: [], openUpTo: 13 } })
})

it('applies the progress of its former owner to no record behind the cut', () => {
  const finished = '{"v":1,"o":5,"a":[[3,2,"h"]],"d":[1,2]}'
  const { partition, delivered, deliver, offsets } = partitionAt(10, finished)
  partition.cut(12)
  partition.addFetched([10, 11, 12, 13].map(recordAt), 14)

  deliver(100)

  expect(delivered.map(({ deliveryCount }) => deliveryCount)).toEqual([2, 1, 1])
  expect(offsets()).toEqual([10, 12, 13])
})
