import { createHash } from 'node:crypto'

/** Longest name of a topic that Kafka accepts. */
export const MAX_TOPIC_NAME = 249

/** Names of the topics of a bus. */
export interface KafkaTopics {
  readonly stream: string
  readonly deadLetters: string
  /** The topic in which members announce their event types, with groupProtocol 'consumer'. */
  readonly types: string
  /** The topic that says which groups are paused. */
  readonly control: string
  /** The topic with the reports of all processes. */
  readonly presence: string
  /** The topic with the replays of one group. */
  replays(group: string): string
  /** The topic with the records of one group that wait for an attempt of a handler. */
  waiting(group: string): string
}

export function topicNames(options: {
  readonly topicPrefix: string
  readonly dlqTopicSuffix: string
}): KafkaTopics {
  const stream = `${options.topicPrefix}.stream`
  const replayPrefix = `${stream}.replay.`
  const waitingPrefix = `${stream}.waiting.`
  return {
    stream,
    deadLetters: `${stream}${options.dlqTopicSuffix}`,
    types: `${stream}.types`,
    control: `${stream}.control`,
    presence: `${stream}.presence`,
    replays: (group) => `${replayPrefix}${asTopicName(group, MAX_TOPIC_NAME - replayPrefix.length)}`,
    waiting: (group) => `${waitingPrefix}${asTopicName(group, MAX_TOPIC_NAME - waitingPrefix.length)}`,
  }
}

/**
 * A group name that fits into a topic name. A group name may be longer, and have other characters; then a hash keeps
 * similar names apart. Dots count as other characters, because Kafka's metrics do not distinguish them from underscores.
 */
function asTopicName(group: string, maxLength: number): string {
  if (/^[A-Za-z0-9_-]+$/.test(group) && group.length <= maxLength) return group
  const hash = createHash('sha256').update(group).digest('hex').slice(0, 16)
  return `${group.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, maxLength - hash.length - 1)}_${hash}`
}
