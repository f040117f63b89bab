import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import { CODE, nameOf } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { StoredRecord } from '../wire/stored-record.ts'
import type { KafkaCluster } from './cluster.ts'
import { type FetchedRange, fetchRanges } from './fetch.ts'
import { logRanges } from './log-ranges.ts'
import { partitionKey, partitionsOf } from './topic-partition.ts'
import type { KafkaTopic, KafkaTopicDirectory } from './topics.ts'

const RETRY_MS = 50

export interface KafkaTopicLogParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
}

/** Receives what a log holds. */
export interface LogListener {
  /** The topic was created or recreated: nothing that was read before is valid. */
  onTopic(): void
  /** The first offset of a partition. Records before it are gone. */
  onStart(partition: number, start: number): void
  onRecord(partition: number, record: StoredRecord): void
}

/** The position of a record in the topic. */
export interface LogPosition {
  readonly partition: number
  readonly offset: number
}

/** Reads one of the bus's own topics, in which the records of all partitions are small in number. Joins no group. */
export class KafkaTopicLog {
  readonly #parts: KafkaTopicLogParts
  readonly #name: string
  readonly #listener: LogListener
  #topicId: string | undefined
  /** The next offset to read of each partition. */
  #next = new Map<number, number>()
  #reading: Promise<void> = Promise.resolve()
  /** The reading that starts when the present one ends. */
  #queued: Promise<void> | undefined

  constructor(parts: KafkaTopicLogParts, name: string, listener: LogListener) {
    this.#parts = parts
    this.#name = name
    this.#listener = listener
  }

  /** Passes the records that were written since the last call to the listener. @throws ConnectionError */
  readNew(): Promise<void> {
    // One reading at a time: two concurrent ones would read the same records. Callers share one that has not started.
    this.#queued ??= this.#reading
      .catch(() => undefined)
      .then(() => {
        this.#queued = undefined
        return this.#retry(() => this.#readNew())
      })
    this.#reading = this.#queued
    return this.#queued
  }

  /** Reads records, in the order of the positions, without those that are gone. @throws ConnectionError */
  read<P extends LogPosition>(
    positions: readonly P[],
  ): Promise<readonly { readonly position: P; readonly record: StoredRecord }[]> {
    return this.#retry(() => this.#readAll(positions))
  }

  async #readAll<P extends LogPosition>(positions: readonly P[]) {
    const topic = await this.#topic()
    if (topic === undefined) return []
    const found = new Map<P, { readonly position: P; readonly record: StoredRecord }>()
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
   * Retries for `requestTimeoutMs`, because a new topic has no leader at first and a broker may be down for a moment. Ends when
   * the bus is closed.
   */
  async #retry<T>(action: () => Promise<T>): Promise<T> {
    const { cluster, options } = this.#parts
    const signal = AbortSignal.timeout(options.requestTimeoutMs)
    let failure: Error | undefined
    const done = await retryUntilDone(action, {
      backoff: { backoff: () => RETRY_MS },
      signal,
      sleep: (ms) => sleep(ms, signal, cluster.closed),
      onFailure: (error) => {
        if (!(error instanceof ConnectionError && error.retryable)) throw error
        failure = error
      },
    })
    if (done === undefined) throw failure
    return done.value
  }

  async #topic(): Promise<KafkaTopic | undefined> {
    const topic = await this.#parts.topics.find(this.#name)
    if (topic?.id !== this.#topicId) {
      this.#topicId = topic?.id
      this.#next = new Map()
      this.#listener.onTopic()
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
        this.#listener.onStart(partition.index, start)
        await this.#readPartition(topic, partition.index, { start, end })
      }),
    )
  }

  async #readPartition(
    topic: KafkaTopic,
    index: number,
    { start, end }: { readonly start: number; readonly end: number },
  ): Promise<void> {
    let next = Math.max(this.#next.get(index) ?? start, start)
    while (next < end) {
      const { records, nextOffset } = await this.#fetch(topic, index, next)
      for (const record of records) this.#listener.onRecord(index, record)
      if (nextOffset <= next) break
      next = nextOffset
      this.#next.set(index, next)
    }
    this.#next.set(index, next)
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
