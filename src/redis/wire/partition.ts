import { partitionOf } from '../../kit/partitioner.ts'

/** The partition of the events of an aggregate; the first one for a message without an aggregate. */
export function partitionOfKey(aggregateId: string | undefined, partitions: number): number {
  return partitions === 1 || aggregateId === undefined ? 0 : partitionOf(Buffer.from(aggregateId), partitions)
}
