import type { GroupLoad } from '../../transport/admin.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import { fetchRanges } from '../client/fetch.ts'
import type { LogRange } from '../client/log-ranges.ts'
import type { KafkaTopic } from '../client/topics.ts'
import { type CommittedOffset, unsettledIn } from '../consuming/offsets.ts'
import type { ResolvedKafkaOptions } from '../options.ts'

/** Bytes to request for one record. The broker returns a whole batch in any case. */
const ONE_RECORD_BYTES = 1

export interface PartitionToMeasure {
  readonly topic: KafkaTopic
  readonly index: number
  readonly range: LogRange
  readonly committed: CommittedOffset | undefined
}

/** What a group has left to do in a partition. */
export async function loadOf(
  cluster: KafkaCluster,
  options: ResolvedKafkaOptions,
  { topic, index, range, committed }: PartitionToMeasure,
): Promise<GroupLoad> {
  const { count, first } = unsettledIn(range, committed)
  const oldestUnsettledAt =
    count === 0 ? undefined : await timeOf(cluster, options, { topic, index, offset: first })
  return { lag: count, inFlight: undefined, oldestUnsettledAt }
}

async function timeOf(
  cluster: KafkaCluster,
  options: ResolvedKafkaOptions,
  { topic, index, offset }: { readonly topic: KafkaTopic; readonly index: number; readonly offset: number },
): Promise<Date | undefined> {
  const { requestTimeoutMs: timeoutMs, fetchMaxBytes: maxAnswerBytes } = options
  const [answer] = await fetchRanges(
    cluster,
    topic.leaders[index] ?? -1,
    [{ topicId: topic.id, index, offset }],
    { maxWaitMs: 0, maxBytes: ONE_RECORD_BYTES, maxAnswerBytes, timeoutMs, options, use: 'deadLetters' },
  )
  const record = answer?.records.find((candidate) => candidate.offset >= offset)
  return record === undefined ? undefined : new Date(record.timestamp)
}
