/** A partition of a topic. */
export interface TopicPartition {
  readonly topic: string
  readonly index: number
}

/** A string that identifies a partition within the cluster. */
export function partitionKey({ topic, index }: TopicPartition): string {
  return `${topic} ${index}`
}

/** Those of the first that are not among the second. */
export function without(
  places: readonly TopicPartition[],
  others: readonly TopicPartition[],
): readonly TopicPartition[] {
  const keys = new Set(others.map(partitionKey))
  return places.filter((place) => !keys.has(partitionKey(place)))
}
