import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { readReason } from '../../transport/dead-letter-fields.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import { type FetchedRange, fetchRanges } from '../client/fetch.ts'
import { logRanges } from '../client/log-ranges.ts'
import { partitionKey, partitionsOf } from '../client/topic-partition.ts'
import type { KafkaTopic, KafkaTopicDirectory } from '../client/topics.ts'
import { CODE, nameOf } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { StoredRecord } from '../wire/record-reader.ts'

/** Header of a marker: the dead letter at this offset of the same partition is removed. */
export const REMOVED_OFFSET = 'dlq_removed_offset'

const RETRY_MS = 50

/** The position of a dead letter in its topic. */
export interface DeadLetterPosition {
  readonly partition: number
  readonly offset: number
  /** When the dead letter was stored, in milliseconds since 1970. */
  readonly timestamp: number
  /** The consumer group that gave it up, if the dead letter names it. */
  readonly group: string | undefined
}

/** The record of a dead letter. */
export interface DeadLetterRecord {
  readonly position: DeadLetterPosition
  readonly record: StoredRecord
}

interface PartitionIndex {
  /** The next offset to read. */
  next: number
  readonly letters: Map<number, DeadLetterPosition>
}

export interface KafkaDeadLetterIndexParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
}

/** Finds the dead letters in their topic. Each call reads only the records written since the last one. */
export class KafkaDeadLetterIndex {
  readonly #parts: KafkaDeadLetterIndexParts
  #topicId: string | undefined
  #partitions = new Map<number, PartitionIndex>()
  #reading: Promise<void> = Promise.resolve()

  constructor(parts: KafkaDeadLetterIndexParts) {
    this.#parts = parts
  }

  /** All dead letters, oldest first. @throws ConnectionError */
  async positions(): Promise<readonly DeadLetterPosition[]> {
    // One call at a time: two concurrent ones would read the same records.
    const reading = this.#reading.catch(() => undefined).then(() => this.#retry(() => this.#readNew()))
    this.#reading = reading
    await reading
    const positions = [...this.#partitions.values()].flatMap(({ letters }) => [...letters.values()])
    return positions.sort(
      (a, b) => a.timestamp - b.timestamp || a.partition - b.partition || a.offset - b.offset,
    )
  }

  /** Reads dead letters, in the order of the positions. @throws ConnectionError */
  async read(positions: readonly DeadLetterPosition[]): Promise<readonly DeadLetterRecord[]> {
    return this.#retry(() => this.#readAll(positions))
  }

  async #readAll(positions: readonly DeadLetterPosition[]): Promise<readonly DeadLetterRecord[]> {
    const topic = await this.#topic()
    if (topic === undefined) return []
    const found = new Map<DeadLetterPosition, DeadLetterRecord>()
    for (const [partition, wanted] of Map.groupBy(positions, (position) => position.partition)) {
      const missing = new Map(wanted.map((position) => [position.offset, position]))
      while (missing.size > 0) {
        const answer = await this.#fetch(topic, partition, Math.min(...missing.keys()))
        for (const record of answer.records) {
          const position = missing.get(record.offset)
          if (position !== undefined) found.set(position, { position, record })
        }
        for (const offset of missing.keys()) if (offset < answer.nextOffset) missing.delete(offset)
        if (answer.records.length === 0) break
      }
    }
    return positions.flatMap((position) => found.get(position) ?? [])
  }

  /**
   * Retries for `requestTimeoutMs`, because a new topic has no leader at first and a broker may be down for a moment.
   */
  async #retry<T>(action: () => Promise<T>): Promise<T> {
    let failure: Error | undefined
    const done = await retryUntilDone(action, {
      backoff: { backoff: () => RETRY_MS },
      signal: AbortSignal.timeout(this.#parts.options.requestTimeoutMs),
      onFailure: (error) => {
        if (!(error instanceof ConnectionError && error.retryable)) throw error
        failure = error
      },
    })
    if (done === undefined) throw failure
    return done.value
  }

  async #topic(): Promise<KafkaTopic | undefined> {
    const { topics, options } = this.#parts
    const topic = await topics.find(options.topics.deadLetters)
    if (topic?.id !== this.#topicId) {
      this.#topicId = topic?.id
      this.#partitions = new Map()
    }
    return topic
  }

  async #readNew(): Promise<void> {
    const topic = await this.#topic()
    if (topic === undefined) return
    const { cluster, topics } = this.#parts
    const partitions = partitionsOf(topic.name, topic.leaders.length)
    const ranges = await logRanges(cluster, topics, partitions)
    await Promise.all(
      partitions.map(async (partition) => {
        const { start, end } = ranges.get(partitionKey(partition)) ?? { start: 0, end: 0 }
        const index = this.#partitions.get(partition.index) ?? { next: start, letters: new Map() }
        this.#partitions.set(partition.index, index)
        for (const offset of index.letters.keys()) if (offset < start) index.letters.delete(offset)
        index.next = Math.max(index.next, start)
        while (index.next < end) {
          const { next } = index
          addTo(index, partition.index, await this.#fetch(topic, partition.index, next))
          if (index.next === next) break
        }
      }),
    )
  }

  async #fetch(topic: KafkaTopic, index: number, offset: number): Promise<FetchedRange> {
    const { cluster, options } = this.#parts
    const range = { topicId: topic.id, index, offset }
    const { fetchMaxBytes: maxBytes, requestTimeoutMs: timeoutMs } = options
    const limits = { maxWaitMs: 0, maxBytes, maxAnswerBytes: maxBytes, timeoutMs, options }
    const node = topic.leaders[index] ?? -1
    const [answer] = await fetchRanges(cluster, node, [range], { ...limits, use: 'deadLetters' })
    const fault = answer?.impossible ?? (answer === undefined ? 'no answer' : nameOf(answer.errorCode))
    if (answer?.errorCode === CODE.NONE && answer.impossible === undefined) return answer
    throw new ConnectionError('CONNECTION_FAILED', `Reading ${topic.name} failed: ${fault}.`)
  }
}

function addTo(index: PartitionIndex, partition: number, { records, nextOffset }: FetchedRange): void {
  for (const { offset, timestamp, headers, headerTexts } of records) {
    const marker = headers.find(([name]) => name?.toString('utf8') === REMOVED_OFFSET)
    const { consumerGroup: group } = readReason(headerTexts)
    if (marker === undefined) index.letters.set(offset, { partition, offset, timestamp, group })
    else index.letters.delete(Number(marker[1]?.toString('utf8')))
  }
  index.next = Math.max(index.next, nextOffset)
}
