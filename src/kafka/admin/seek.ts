import { ConnectionError } from '../../transport/errors.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import { KafkaCoordinator } from '../client/coordinator.ts'
import type { KafkaTopic } from '../client/topics.ts'
import { CODE, isPassing, nameOf, refusal } from '../errors.ts'
import { writeProgress } from '../wire/progress.ts'

/** What a broker answers to a commit for a group that has members. */
const IN_USE: ReadonlySet<number> = new Set([
  CODE.UNKNOWN_MEMBER_ID,
  CODE.ILLEGAL_GENERATION,
  CODE.REBALANCE_IN_PROGRESS,
])

/**
 * Commits offsets for a group without members, by partition.
 * @returns false, with nothing committed, if the group has members.
 */
export async function commitFor(
  cluster: KafkaCluster,
  group: string,
  topic: KafkaTopic,
  offsets: ReadonlyMap<number, number>,
): Promise<boolean> {
  const coordinator = new KafkaCoordinator(cluster, group)
  const partitions = Array.from(offsets, ([partitionIndex, offset]) => ({
    partitionIndex,
    committedOffset: BigInt(offset),
    committedLeaderEpoch: -1,
    // Nothing of what the group had finished or started behind its old position counts.
    committedMetadata: writeProgress(offset, {
      openUpTo: offset,
      finished: [],
      attempts: new Map(),
      topicId: topic.id,
    }),
  }))
  const request = [{ name: topic.name, partitions }]
  const { topics } = await coordinator.request('commit', ({ offsetCommit }) => offsetCommit, [
    group,
    -1,
    '',
    null,
    request,
  ])
  const codes = topics.flatMap((one) => one.partitions.map(({ errorCode }) => errorCode))
  const code = codes.find((one) => one !== CODE.NONE)
  if (code === undefined) return true
  if (IN_USE.has(code)) return false
  if (!isPassing(code)) throw refusal(cluster.address, `Committing offsets of ${group}`, code)
  throw new ConnectionError(
    'CONNECTION_FAILED',
    `The offsets of ${group} cannot be committed at present (${nameOf(code)}).`,
  )
}
