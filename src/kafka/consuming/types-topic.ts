import { ConnectionError } from '../../transport/errors.ts'
import type { GroupTypeStore } from '../../transport/transport.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import { type FetchedRange, fetchRanges } from '../client/fetch.ts'
import { logRanges } from '../client/log-ranges.ts'
import { partitionKey, partitionsOf } from '../client/topic-partition.ts'
import type { KafkaTopic, KafkaTopicDirectory, TopicProfile } from '../client/topics.ts'
import { CODE, nameOf } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaPublisher } from '../publishing/publisher.ts'
import { ANNOUNCED_MS, readTypes, writeTypes } from './announced-types.ts'

/** Announcements are written every minute and soon out of date. The brokers' clock decides on their age. */
export const TYPES_PROFILE: TopicProfile = {
  partitions: 1,
  configs: [
    { name: 'message.timestamp.type', value: 'LogAppendTime' },
    { name: 'retention.ms', value: String(2 * ANNOUNCED_MS) },
    { name: 'segment.ms', value: String(ANNOUNCED_MS) },
  ],
}

/** Maximum number of names that are kept: any producer can write to the topic. */
const MAX_NAMES = 10_000

export interface KafkaTypesTopicParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
  readonly publisher: KafkaPublisher
}

/**
 * The event types of a group, in a topic with one partition: each member writes its own, and reads to the end of the log
 * before it decides. For the protocol of KIP-848, in which members know nothing of each other.
 */
export class KafkaTypesTopic implements GroupTypeStore {
  readonly freshMs = 100
  readonly #parts: KafkaTypesTopicParts
  #topicId: string | undefined
  /** The next offset to read. */
  #next = 0
  /** When each name was announced last, by the clock of the brokers. */
  readonly #announcedAt = new Map<string, number>()
  /** Time of the last record. This member writes one every minute, so that no clock of its own is needed. */
  #latest = 0
  #reading: Promise<void> | undefined

  constructor(parts: KafkaTypesTopicParts) {
    this.#parts = parts
  }

  async announce(names: readonly string[]): Promise<boolean> {
    const { options, publisher } = this.#parts
    await this.#read()
    const known = this.#announced(names)
    const hasOthers = [...this.#announcedAt.values()].some((at) => this.#isValid(at))
    const record = { key: options.consumerGroup, value: writeTypes(names), headers: [] }
    await publisher.store(record, { topic: options.topics.types, partition: 0, profile: TYPES_PROFILE })
    return hasOthers && known.size < names.length
  }

  async handled(names: readonly string[]): Promise<ReadonlySet<string>> {
    await this.#read()
    return this.#announced(names)
  }

  #announced(names: readonly string[]): ReadonlySet<string> {
    return new Set(names.filter((name) => this.#isValid(this.#announcedAt.get(name))))
  }

  #isValid(announcedAt: number | undefined): boolean {
    return announcedAt !== undefined && announcedAt > this.#latest - ANNOUNCED_MS
  }

  /** Reads to the end of the log. A call during another one waits for it, then reads once more. */
  async #read(): Promise<void> {
    while (this.#reading !== undefined) await this.#reading.catch(() => undefined)
    this.#reading = this.#readNew().finally(() => {
      this.#reading = undefined
    })
    await this.#reading
  }

  async #readNew(): Promise<void> {
    const { cluster, topics, options } = this.#parts
    const topic = await topics.find(options.topics.types)
    if (topic?.id !== this.#topicId) {
      this.#topicId = topic?.id
      this.#next = 0
      this.#announcedAt.clear()
    }
    const [partition] = topic === undefined ? [] : partitionsOf(topic.name, 1)
    if (topic === undefined || partition === undefined) return
    const range = (await logRanges(cluster, topics, [partition])).get(partitionKey(partition))
    const { start = 0, end = 0 } = range ?? {}
    this.#next = Math.max(this.#next, start)
    while (this.#next < end) {
      const before = this.#next
      this.#add(await this.#fetch(topic))
      if (this.#next === before) return
    }
  }

  async #fetch(topic: KafkaTopic): Promise<FetchedRange> {
    const { cluster, options } = this.#parts
    const range = { topicId: topic.id, index: 0, offset: this.#next }
    const { fetchMaxBytes: maxBytes, requestTimeoutMs: timeoutMs } = options
    const limits = { maxWaitMs: 0, maxBytes, maxAnswerBytes: maxBytes, timeoutMs, options }
    const [answer] = await fetchRanges(cluster, topic.leaders[0] ?? -1, [range], {
      ...limits,
      use: 'control',
    })
    if (answer?.errorCode === CODE.NONE) return answer
    const fault = answer === undefined ? 'no answer' : nameOf(answer.errorCode)
    throw new ConnectionError('CONNECTION_FAILED', `Reading ${topic.name} failed: ${fault}.`)
  }

  #add({ records, nextOffset }: FetchedRange): void {
    const group = this.#parts.options.consumerGroup
    for (const { key, value, timestamp } of records) {
      this.#latest = Math.max(this.#latest, timestamp)
      if (key?.toString() !== group) continue
      for (const name of readTypes(value).slice(0, MAX_NAMES)) this.#announcedAt.set(name, timestamp)
    }
    this.#next = Math.max(this.#next, nextOffset)
    for (const [name, announcedAt] of this.#announcedAt) {
      if (this.#announcedAt.size <= MAX_NAMES) return
      if (!this.#isValid(announcedAt)) this.#announcedAt.delete(name)
    }
  }
}
