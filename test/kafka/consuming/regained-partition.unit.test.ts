import { expect, it } from 'vitest'
import { KafkaAssignedPartition } from '../../../src/kafka/consuming/assigned-partition.ts'
import { UncommittedWork } from '../../../src/kafka/consuming/uncommitted-work.ts'
import { readProgress } from '../../../src/kafka/wire/progress.ts'
import type { EpochStart } from '../../../src/kafka/wire/record-reader.ts'
import type { Delivery } from '../../../src/transport/transport.ts'
import { PARTITION_OWNER, recordAt } from './partition-model.ts'

const PLACE = { topic: 't', index: 0, topicId: 'id', isReplays: false }
const EPOCHS: readonly EpochStart[] = [{ from: 10, epoch: 5 }]

function offsetOf({ message }: Delivery): number {
  return Number(message.id.split('-').at(-1))
}

/** A consumer owns a partition, whose log has the records 10 to 14, from an offset on. */
function own(work: UncommittedWork, offset = 10, epochs = EPOCHS) {
  const delivered: Delivery[] = []
  const intake = {
    room: 100,
    roomBytes: Number.POSITIVE_INFINITY,
    whenRoom: () => Promise.resolve(),
    deliver: (delivery: Delivery) => delivered.push(delivery),
  }
  const start = { offset, progress: readProgress(offset, null), epoch: 4 }
  const partition = new KafkaAssignedPartition(PARTITION_OWNER, PLACE, start, work)
  partition.onCommitted(partition.commitState(false))
  const offsets = [10, 11, 12, 13, 14].filter((at) => at >= offset)
  partition.addFetched(offsets.map(recordAt), 15, epochs)
  partition.deliver(intake, { share: 100, window: 100, allowance: { left: 100 } })
  return { partition, delivered, offsets: () => delivered.map(offsetOf) }
}

/** Handles records, and loses the partition before a commit. */
function ownAndLose(work: UncommittedWork, ...finished: readonly number[]) {
  const owned = own(work)
  for (const delivery of owned.delivered) {
    delivery.begin()
    if (finished.includes(offsetOf(delivery))) delivery.ack()
  }
  owned.partition.lose()
  return owned
}

it('does not deliver again what was finished before the partition was lost, and commits it', () => {
  const work = new UncommittedWork()
  ownAndLose(work, 10, 11, 13)

  const { partition, delivered, offsets } = own(work)

  expect(offsets()).toEqual([12, 14])
  expect(partition.commitState(false)).toMatchObject({ offset: 12, progress: { finished: [[13, 14]] } })
  for (const delivery of delivered) {
    expect(delivery.begin()).toBe(true)
    delivery.ack()
  }
  expect(partition.commitState(true)).toMatchObject({ offset: 15, progress: { finished: [] } })
})

it('settles a redelivery whose first delivery finishes after the partition was lost', () => {
  const work = new UncommittedWork()
  const former = ownAndLose(work)
  const { partition, delivered } = own(work)

  former.delivered[0]?.ack()

  expect(delivered[0]?.begin()).toBe(false)
  expect(partition.commitState(false).offset).toBe(11)
  expect(delivered[1]?.begin()).toBe(true)
})

it('keeps what it finished through several losses, until the group has committed it', () => {
  const work = new UncommittedWork()
  ownAndLose(work, 10)
  ownAndLose(work, 11)
  expect(own(work).offsets()).toEqual([12, 13, 14])

  const { partition } = own(work, 12)
  partition.lose()
  expect(own(work, 12).offsets()).toEqual([12, 13, 14])
})

it('delivers everything again after an operator has reset the offsets', () => {
  const work = new UncommittedWork()
  const { partition, delivered } = own(work, 12)
  for (const delivery of delivered) {
    delivery.begin()
    delivery.ack()
  }
  partition.lose()
  expect(own(work, 12).offsets()).toEqual([])

  expect(own(work, 10).offsets()).toEqual([10, 11, 12, 13, 14])
})

it('delivers records that replaced the finished ones in a log that was cut', () => {
  const work = new UncommittedWork()
  ownAndLose(work, 10, 11, 12)

  const { offsets } = own(work, 10, [
    { from: 10, epoch: 5 },
    { from: 11, epoch: 6 },
  ])

  expect(offsets()).toEqual([11, 12, 13, 14])
})
