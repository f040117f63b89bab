import { mergedPages, type PageSource, readAhead } from '../../kit/merged-pages.ts'
import { partitionOf } from '../../kit/partitioner.ts'
import { checkPlace } from '../../kit/places.ts'
import { sleep } from '../../kit/time.ts'
import type { MessageScan, ScannedMessage, ScanRequest } from '../../transport/admin.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import { type FetchedRange, type FetchRange, fetchRanges } from '../client/fetch.ts'
import { type LogRange, logRanges, offsetsAt } from '../client/log-ranges.ts'
import { partitionKey, partitionsOf, type TopicPartition } from '../client/topic-partition.ts'
import type { KafkaTopic, KafkaTopicDirectory } from '../client/topics.ts'
import { CODE, nameOf } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { RecordMessage } from '../wire/message.ts'
import type { StoredRecord } from '../wire/stored-record.ts'

/** Offsets in the first window that is read from the end of a partition to its start, and in the smallest. */
const MIN_WINDOW = 500
/** Part of a fetch that the records of a window should fill: a second fetch is needed if they do not fit. */
const FILL = 0.9
/** Factor by which a window may exceed the one before, which may have been a gap in the log. */
const MAX_GROWTH = 4
/** Pause after a read that found nothing, in milliseconds. */
const POLL_MS = 100

export interface KafkaScanParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
}

interface ReadRecord {
  readonly record: StoredRecord
  readonly partition: number
}

/** Reads the partitions of the stream without a group, merged by the timestamps of their records. */
export class KafkaScan {
  readonly #parts: KafkaScanParts

  constructor(parts: KafkaScanParts) {
    this.#parts = parts
  }

  async open({ from, direction, aggregateId }: ScanRequest): Promise<MessageScan> {
    checkPlace('browse: from', from, isPosition)
    const isForward = direction === 'forward'
    const { topic, partitions } = await this.#partitions(aggregateId)
    if (topic === undefined) return { total: 0, pages: nothing() }
    const ranges = await this.#rangesFrom(partitions, from, isForward)
    const total = [...ranges.values()].reduce((sum, { start, end }) => sum + Math.max(0, end - start), 0)
    const sources = partitions.map((partition) => {
      const range = ranges.get(partitionKey(partition)) ?? { start: 0, end: 0 }
      return readAhead(
        isForward
          ? this.#forward(topic, partition.index, range)
          : this.#backward(topic, partition.index, range),
      )
    })
    const comesFirst = (a: ReadRecord, b: ReadRecord) => comesBefore(a, b) === isForward
    const vector = new Map(
      partitions.map((partition) => {
        const { start = 0, end = 0 } = ranges.get(partitionKey(partition)) ?? {}
        return [partition.index, isForward ? start : end]
      }),
    )
    return { total, pages: this.#described(topic, mergedPages(sources, comesFirst), vector, isForward) }
  }

  /** Where a group continues that is moved to a place. @returns undefined if the topic does not exist. */
  async rangesAt(
    to: Date | string,
  ): Promise<{ readonly topic: KafkaTopic; readonly ranges: ReadonlyMap<number, LogRange> } | undefined> {
    const { topic, partitions } = await this.#partitions(undefined)
    if (topic === undefined) return undefined
    const ranges = await this.#rangesFrom(partitions, to, true)
    return {
      topic,
      ranges: new Map(
        partitions.map((one) => [one.index, ranges.get(partitionKey(one)) ?? { start: 0, end: 0 }]),
      ),
    }
  }

  /** The records that are written from now on, until the signal aborts. */
  async follow(aggregateId: string | undefined, signal: AbortSignal): Promise<MessageScan> {
    const { topic, partitions } = await this.#partitions(aggregateId)
    if (topic === undefined) return { total: undefined, pages: nothing() }
    const { cluster, topics } = this.#parts
    const ranges = await logRanges(cluster, topics, partitions)
    const vector = new Map(partitions.map((one) => [one.index, ranges.get(partitionKey(one))?.end ?? 0]))
    const pages = this.#newPages(topic, new Map(vector), signal)
    return { total: undefined, pages: this.#described(topic, pages, vector, true) }
  }

  async #partitions(aggregateId: string | undefined) {
    const { topics, options } = this.#parts
    const topic = await topics.find(options.topics.stream)
    const all = partitionsOf(options.topics.stream, topic?.leaders.length ?? 0)
    if (aggregateId === undefined || all.length === 0) return { topic, partitions: all }
    const own = partitionOf(Buffer.from(aggregateId), all.length)
    return { topic, partitions: all.filter(({ index }) => index === own) }
  }

  /** The offsets of each partition that the range has. */
  async #rangesFrom(
    partitions: readonly TopicPartition[],
    from: Date | string,
    isForward: boolean,
  ): Promise<ReadonlyMap<string, LogRange>> {
    const { cluster, topics } = this.#parts
    const whole = await logRanges(cluster, topics, partitions)
    const starts = await this.#startsAt(partitions, from, isForward, whole)
    const ranges = new Map<string, LogRange>()
    for (const [key, { start, end }] of whole) {
      const at = Math.min(Math.max(starts.get(key) ?? (isForward ? start : end), start), end)
      ranges.set(key, isForward ? { start: at, end } : { start, end: at })
    }
    return ranges
  }

  /** Where the range starts in each partition: the first offset of the range, or the one after its last. */
  async #startsAt(
    partitions: readonly TopicPartition[],
    from: Date | string,
    isForward: boolean,
    whole: ReadonlyMap<string, LogRange>,
  ): Promise<ReadonlyMap<string, number>> {
    const { cluster, topics } = this.#parts
    if (from instanceof Date) {
      const time = from.getTime() + (isForward ? 0 : 1)
      const found = await offsetsAt(cluster, topics, partitions, BigInt(time))
      // No record is that late.
      return new Map(
        [...found].map(([key, offset]) => [key, offset < 0 ? (whole.get(key)?.end ?? 0) : offset]),
      )
    }
    if (from === 'first') return new Map([...whole].map(([key, { start }]) => [key, start]))
    if (from === 'last') return new Map([...whole].map(([key, { end }]) => [key, end]))
    const places = new Map(from.split(',').map((place) => place.split(':').map(Number) as [number, number]))
    return new Map(
      partitions.flatMap((one) => {
        const offset = places.get(one.index)
        return offset === undefined ? [] : [[partitionKey(one), offset] as const]
      }),
    )
  }

  #forward(topic: KafkaTopic, partition: number, { start, end }: LogRange): PageSource<ReadRecord> {
    let next = start
    return {
      next: async () => {
        if (next >= end) return undefined
        const { records, nextOffset } = await this.#fetch(topic, {
          index: partition,
          offset: next,
          until: end,
        })
        next = nextOffset > next ? nextOffset : end
        return records.filter(({ offset }) => offset < end).map((record) => ({ record, partition }))
      },
    }
  }

  /** Each window has as many offsets as one fetch can hold: what a fetch returns beyond the window is lost. */
  #backward(topic: KafkaTopic, partition: number, { start, end }: LogRange): PageSource<ReadRecord> {
    let last = end
    let size = MIN_WINDOW
    return {
      next: async () => {
        if (last <= start) return undefined
        const first = Math.max(start, last - size)
        const found: ReadRecord[] = []
        let bytes = 0
        for (let offset = first; offset < last; ) {
          const read = await this.#fetch(topic, { index: partition, offset, until: last })
          for (const record of read.records) if (record.offset < last) found.push({ record, partition })
          bytes += Math.max(read.readBytes, read.contentBytes)
          offset = read.nextOffset > offset ? read.nextOffset : last
        }
        const fitting = Math.floor(
          (FILL * this.#parts.options.fetchMaxBytes * (last - first)) / Math.max(1, bytes),
        )
        size = Math.max(MIN_WINDOW, Math.min(fitting, size * MAX_GROWTH))
        last = first
        return found.reverse()
      },
    }
  }

  async *#newPages(
    topic: KafkaTopic,
    next: Map<number, number>,
    signal: AbortSignal,
  ): AsyncGenerator<readonly ReadRecord[]> {
    while (!signal.aborted) {
      const page: ReadRecord[] = []
      for (const [partition, offset] of next) {
        const { records, nextOffset } = await this.#fetch(topic, { index: partition, offset })
        for (const record of records) page.push({ record, partition })
        next.set(partition, Math.max(offset, nextOffset))
      }
      if (page.length > 0) yield page.toSorted((a, b) => (comesBefore(a, b) ? -1 : 1))
      else if (!(await sleep(POLL_MS, signal))) return
    }
  }

  async #fetch(topic: KafkaTopic, range: Omit<FetchRange, 'topicId'>): Promise<FetchedRange> {
    const { cluster, options } = this.#parts
    const { fetchMaxBytes: maxBytes, requestTimeoutMs: timeoutMs } = options
    const limits = { maxWaitMs: 0, maxBytes, maxAnswerBytes: maxBytes, timeoutMs, options }
    const node = topic.leaders[range.index] ?? -1
    const [answer] = await fetchRanges(cluster, node, [{ topicId: topic.id, ...range }], {
      ...limits,
      use: 'deadLetters',
    })
    if (answer?.errorCode === CODE.NONE && answer.impossible === undefined) return answer
    const fault = answer?.impossible ?? (answer === undefined ? 'no answer' : nameOf(answer.errorCode))
    throw new ConnectionError('CONNECTION_FAILED', `Reading ${topic.name} failed: ${fault}.`)
  }

  async *#described(
    topic: KafkaTopic,
    pages: AsyncIterable<readonly ReadRecord[]>,
    vector: ReadonlyMap<number, number>,
    isForward: boolean,
  ): AsyncGenerator<readonly ScannedMessage[]> {
    const isPartitioned = topic.leaders.length > 1
    const slots = new Map([...vector.keys()].map((partition, slot) => [partition, slot]))
    const partitions = [...vector.keys()]
    const offsets = [...vector.values()]
    for await (const page of pages) {
      yield page.map(({ record, partition }) => {
        offsets[slots.get(partition) ?? 0] = isForward ? record.offset + 1 : record.offset
        return new ScannedRecord(record, partition, isPartitioned, { partitions, offsets: offsets.slice() })
      })
    }
  }
}

/** The next offset of each partition. */
interface ScanPlace {
  readonly partitions: readonly number[]
  readonly offsets: readonly number[]
}

/** A record that is described on access: a search discards most of them. */
class ScannedRecord implements ScannedMessage {
  readonly partition: number | undefined
  readonly message: RecordMessage
  readonly #record: StoredRecord
  readonly #place: ScanPlace

  constructor(record: StoredRecord, partition: number, isPartitioned: boolean, place: ScanPlace) {
    this.message = new RecordMessage({ messageId: (offset) => `${partition}:${offset}` }, record)
    this.partition = isPartitioned ? partition : undefined
    this.#record = record
    this.#place = place
  }

  get position(): string {
    const { partitions, offsets } = this.#place
    return partitions.map((partition, slot) => `${partition}:${offsets[slot]}`).join(',')
  }

  get storedAt(): Date {
    return new Date(this.#record.timestamp)
  }
}

/** True for what `browse` returns as the position of an event: the next offset of each partition. */
export function isPosition(text: string): boolean {
  return /^\d+:\d+(?:,\d+:\d+)*$/.test(text)
}

/** Records of one partition keep their order, whatever their timestamps say. */
function comesBefore(a: ReadRecord, b: ReadRecord): boolean {
  if (a.partition === b.partition) return a.record.offset < b.record.offset
  if (a.record.timestamp !== b.record.timestamp) return a.record.timestamp < b.record.timestamp
  return a.partition < b.partition
}

async function* nothing(): AsyncGenerator<never> {}
