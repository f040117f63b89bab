import { sleep } from '../../kit/time.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import { KafkaCoordinator } from '../client/coordinator.ts'
import { CODE, refusal } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'

/** Between two attempts to delete a group whose killed members have not timed out, in milliseconds. */
const POLL_MS = 500

/** Deletes all topics of the bus and of these groups, and the groups. */
export async function removeTopicsAndGroups(
  { topics, requestTimeoutMs, sessionTimeoutMs }: ResolvedKafkaOptions,
  cluster: KafkaCluster,
  groups: readonly string[],
): Promise<void> {
  const names = [
    ...[topics.stream, topics.deadLetters, topics.types, topics.control, topics.presence],
    ...groups.flatMap((group) => [topics.replays(group), topics.waiting(group)]),
  ]
  const request = names.map((name) => ({ name, topicId: null }))
  const { responses } = await cluster.request(
    undefined,
    'control',
    ({ deleteTopics }) => deleteTopics ?? unsupported(cluster),
    [request, requestTimeoutMs],
  )
  const refused = responses.find(
    ({ errorCode }) => errorCode !== CODE.NONE && errorCode !== CODE.UNKNOWN_TOPIC_OR_PARTITION,
  )
  if (refused !== undefined) {
    throw refusal(cluster.address, `Deleting the topic ${refused.name}`, refused.errorCode)
  }
  const deadline = AbortSignal.timeout(2 * sessionTimeoutMs + requestTimeoutMs)
  for (const group of groups) await removeGroup(cluster, group, deadline)
}

async function removeGroup(cluster: KafkaCluster, group: string, deadline: AbortSignal): Promise<void> {
  const coordinator = new KafkaCoordinator(cluster, group)
  for (;;) {
    const { results } = await coordinator.request(
      'control',
      ({ deleteGroups }) => deleteGroups ?? unsupported(cluster),
      [[group]],
    )
    const code = results[0]?.errorCode ?? CODE.NONE
    if (code === CODE.NONE || code === CODE.GROUP_ID_NOT_FOUND) return
    coordinator.invalidateOn(code)
    if (!(await sleep(POLL_MS, deadline))) throw refusal(cluster.address, `Deleting the group ${group}`, code)
  }
}

function unsupported({ address }: KafkaCluster): never {
  throw refusal(address, 'Deleting topics and groups', CODE.UNSUPPORTED_VERSION)
}
