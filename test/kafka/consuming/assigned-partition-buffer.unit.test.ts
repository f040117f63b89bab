import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { KafkaAssignedPartition } from '../../../src/kafka/consuming/assigned-partition.ts'
import { readProgress } from '../../../src/kafka/wire/progress.ts'
import type { Delivery } from '../../../src/transport/transport.ts'
import { PARTITION_OWNER, recordAt } from './partition-model.ts'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

/** Delivers up to `count` records, handles and commits them. */
function handle(partition: KafkaAssignedPartition, count: number): void {
  const given: Delivery[] = []
  const intake = {
    get room() {
      return count - given.length
    },
    roomBytes: Number.POSITIVE_INFINITY,
    whenRoom: () => Promise.resolve(),
    deliver: (delivery: Delivery) => given.push(delivery),
  }
  partition.onCommitted(partition.commitState(false))
  partition.deliver(intake, { share: count, allowance: { left: count }, window: 10_000 })
  for (const delivery of given) {
    delivery.begin()
    delivery.ack()
  }
}

it('releases delivered records even if its buffer is never empty', async () => {
  const partition = new KafkaAssignedPartition(
    PARTITION_OWNER,
    { topic: 't', index: 0, topicId: 'id', isReplays: false },
    { offset: 0, progress: readProgress(0, null) },
  )
  const early: WeakRef<object>[] = []
  const fetch = (offset: number) => {
    const record = recordAt(offset)
    if (offset < 100) early.push(new WeakRef(record))
    partition.addFetched([record], offset + 1)
  }
  for (let offset = 0; offset < 50; offset += 1) fetch(offset)

  for (let offset = 50; offset < 1000; offset += 1) {
    fetch(offset)
    handle(partition, 1)
    expect(partition.buffered).toBeGreaterThan(0)
  }
  // A weak reference keeps its target alive until the current task ends.
  await nextTurn()
  collectGarbage()

  expect(partition.buffered).toBeLessThan(100)
  expect(early.filter((record) => record.deref() !== undefined)).toHaveLength(0)
})
