import type { TransportHost } from '../../transport/transport.ts'
import { partitionKey } from '../client/topic-partition.ts'
import { storeReference } from '../dead-letters/store-dead-letter.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaPublisher } from '../publishing/publisher.ts'
import type { UnreadableRange } from '../wire/record-reader.ts'
import type { KafkaAssignedPartition } from './assigned-partition.ts'

interface GiveUpRangesParts {
  readonly publisher: KafkaPublisher
  readonly options: ResolvedKafkaOptions
  readonly host: TransportHost
}

/** Stores a dead letter for each range, by reference, and reports it. @throws Error if one could not be stored. */
export async function giveUpRanges(
  { publisher, options, host }: GiveUpRangesParts,
  partition: KafkaAssignedPartition,
  unreadable: readonly UnreadableRange[],
): Promise<void> {
  for (const range of unreadable) {
    if (options.enableDlq) await storeReference(publisher, options, partition, range)
    const { from, to, sizeBytes, error } = range
    const detail =
      `${partitionKey(partition)}: the records ${from} to ${to} cannot be read from their batch of ${sizeBytes} bytes ` +
      `(${error.message})`
    host.notify({ type: 'eventsLost', detail, count: to - from + 1 })
  }
}
