/** A partition of a topic. */
export interface TopicPartition {
  readonly topic: string
  readonly index: number
}

/** A string that identifies a partition within the cluster. */
export function partitionKey({ topic, index }: TopicPartition): string {
  return `${topic} ${index}`
}

/** The first `count` partitions of a topic. */
export function partitionsOf(topic: string, count: number): readonly TopicPartition[] {
  return Array.from({ length: count }, (_, index) => ({ topic, index }))
}

/** The partitions that are not among `others`. */
export function without(
  partitions: readonly TopicPartition[],
  others: readonly TopicPartition[],
): readonly TopicPartition[] {
  const keys = new Set(others.map(partitionKey))
  return partitions.filter((partition) => !keys.has(partitionKey(partition)))
}
