import { sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import { type FetchedRange, fetchRanges } from '../client/fetch.ts'
import { logRanges } from '../client/log-ranges.ts'
import { partitionKey } from '../client/topic-partition.ts'
import type { KafkaTopic, KafkaTopicDirectory } from '../client/topics.ts'
import { CODE, nameOf } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { StoredRecord } from '../wire/record-reader.ts'

/** Header of a record that says that the dead letter of that offset, in the same partition, is gone. */
export const REMOVED_OFFSET = 'dlq_removed_offset'

const TRY_AGAIN_MS = 50

/** Where a dead letter stands. */
export interface LetterPlace {
  readonly partition: number
  readonly offset: number
  /** When it was stored, in milliseconds since 1970. */
  readonly timestamp: number
}

/** A dead letter as it stands in the log. */
export interface LetterRecord {
  readonly place: LetterPlace
  readonly record: StoredRecord
}

interface PartitionIndex {
  next: number
  readonly letters: Map<number, LetterPlace>
}

export interface KafkaDeadLetterIndexParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
}

/** Which records of the dead letter topic are dead letters. Each look reads only what is new since the last one. */
export class KafkaDeadLetterIndex {
  readonly #parts: KafkaDeadLetterIndexParts
  #topicId: string | undefined
  #partitions = new Map<number, PartitionIndex>()
  #reading: Promise<void> = Promise.resolve()

  constructor(parts: KafkaDeadLetterIndexParts) {
    this.#parts = parts
  }

  /** All dead letters there are now, oldest first. */
  async places(): Promise<readonly LetterPlace[]> {
    // One after the other: two readers of the same part would count it twice.
    const reading = this.#reading.catch(() => undefined).then(() => this.#patiently(() => this.#readNew()))
    this.#reading = reading
    await reading
    const places = [...this.#partitions.values()].flatMap(({ letters }) => [...letters.values()])
    return places.sort(
      (a, b) => a.timestamp - b.timestamp || a.partition - b.partition || a.offset - b.offset,
    )
  }

  /** Reads dead letters, in the order asked for. */
  async read(places: readonly LetterPlace[]): Promise<readonly LetterRecord[]> {
    return this.#patiently(() => this.#readPlaces(places))
  }

  async #readPlaces(places: readonly LetterPlace[]): Promise<readonly LetterRecord[]> {
    const topic = await this.#topic()
    if (topic === undefined) return []
    const found = new Map<LetterPlace, LetterRecord>()
    for (const [partition, wanted] of Map.groupBy(places, (place) => place.partition)) {
      const missing = new Map(wanted.map((place) => [place.offset, place]))
      while (missing.size > 0) {
        const answer = await this.#fetch(topic, partition, Math.min(...missing.keys()))
        for (const record of answer.records) {
          const place = missing.get(record.offset)
          if (place !== undefined) found.set(place, { place, record })
        }
        for (const offset of missing.keys()) if (offset < answer.nextOffset) missing.delete(offset)
        if (answer.records.length === 0) break
      }
    }
    return places.flatMap((place) => found.get(place) ?? [])
  }

  /** A topic that was just created has no leader for a moment, and a broker may be away for one. */
  async #patiently<T>(action: () => Promise<T>): Promise<T> {
    const deadline = AbortSignal.timeout(this.#parts.options.requestTimeoutMs)
    for (;;) {
      try {
        return await action()
      } catch (thrown) {
        const mayHelp = thrown instanceof ConnectionError && thrown.retryable
        if (!mayHelp || !(await sleep(TRY_AGAIN_MS, deadline))) throw thrown
      }
    }
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
    const places = topic.leaders.map((_leader, index) => ({ topic: topic.name, index }))
    const ranges = await logRanges(cluster, topics, places)
    await Promise.all(
      places.map(async (place) => {
        const { start, end } = ranges.get(partitionKey(place)) ?? { start: 0, end: 0 }
        const index = this.#partitions.get(place.index) ?? { next: start, letters: new Map() }
        this.#partitions.set(place.index, index)
        for (const offset of index.letters.keys()) if (offset < start) index.letters.delete(offset)
        index.next = Math.max(index.next, start)
        while (index.next < end) {
          const { next } = index
          note(index, place.index, await this.#fetch(topic, place.index, next))
          if (index.next === next) break
        }
      }),
    )
  }

  async #fetch(topic: KafkaTopic, index: number, offset: number): Promise<FetchedRange> {
    const { cluster, options } = this.#parts
    const range = { topicId: topic.id, index, offset }
    const limits = { maxWaitMs: 0, maxBytes: options.fetchMaxBytes, timeoutMs: options.requestTimeoutMs }
    const node = topic.leaders[index] ?? -1
    const [answer] = await fetchRanges(cluster, node, [range], { ...limits, use: 'deadLetters' })
    if (answer?.errorCode === CODE.NONE) return answer
    throw new ConnectionError(
      'CONNECTION_FAILED',
      `Reading ${topic.name} failed: ${answer === undefined ? 'no answer' : nameOf(answer.errorCode)}.`,
    )
  }
}

function note(index: PartitionIndex, partition: number, { records, nextOffset }: FetchedRange): void {
  for (const { offset, timestamp, headers } of records) {
    const marker = headers.find(([name]) => name?.toString('utf8') === REMOVED_OFFSET)
    if (marker === undefined) index.letters.set(offset, { partition, offset, timestamp })
    else index.letters.delete(Number(marker[1]?.toString('utf8')))
  }
  index.next = Math.max(index.next, nextOffset)
}
