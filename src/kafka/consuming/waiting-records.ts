import { REPLAY_HANDLERS, waitHeader } from '../../transport/replay-headers.ts'
import type { Wait, WaitingStore } from '../../transport/waiting.ts'
import { KafkaTopicLog, type KafkaTopicLogParts, type LogListener } from '../client/topic-log.ts'
import type { KafkaTopicDirectory, TopicProfile } from '../client/topics.ts'
import { originalHeaders } from '../dead-letters/store-dead-letter.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaPublisher } from '../publishing/publisher.ts'
import type { StoredRecord } from '../wire/record-reader.ts'
import type { HeldRecord } from './held-record.ts'

/** When the wait of a record is over, in milliseconds since 1970. */
const DUE = 'waiting_due'
/** The key of the original record. The key of the copy identifies the wait, so that compaction can remove it. */
const KEY = 'waiting_key'

const REPLAYS = { isBusOwned: true, partitions: 1 } as const
/** How the topic is created. */
export const WAITING_PROFILE: TopicProfile = {
  isBusOwned: true,
  partitions: 1,
  configs: [{ name: 'cleanup.policy', value: 'compact' }],
}
/** Records that are delivered at the same time. */
const PAGE = 100

export interface KafkaWaitingRecordsParts extends KafkaTopicLogParts {
  readonly options: ResolvedKafkaOptions
  readonly topics: KafkaTopicDirectory
  readonly publisher: KafkaPublisher
  /** True while this process owns the replay topic of the group. Only the owner delivers, so that nothing comes twice. */
  readonly isOwner: () => boolean
  /** Called when the replay topic may have been created. */
  readonly onTopics: () => void
}

/** A record that waits. */
interface WaitingRecord {
  readonly partition: number
  readonly offset: number
  readonly dueAt: number
  /** True once it is stored in the replay topic. */
  isReleased: boolean
}

/**
 * Records that wait for an attempt of one handler, in a compacted topic of the group. Their keys identify the waits; a
 * tombstone ends one. The owner of the group's replay topic copies due records there.
 */
export class KafkaWaitingRecords implements WaitingStore, LogListener {
  readonly parkProblem =
    'the dead letters of a Kafka topic hold no place for later events: omit it and retry without a limit ' +
    '(maxRetries: Infinity), which holds back the later events of the aggregate, or use the Redis bus'
  readonly orderProblem = 'the members of a Kafka group do not share which aggregates wait'
  onReady: (() => void) | undefined
  readonly #parts: KafkaWaitingRecordsParts
  readonly #log: KafkaTopicLog
  readonly #topic: string
  /** By the key of the wait. */
  readonly #waiting = new Map<string, WaitingRecord>()

  constructor(parts: KafkaWaitingRecordsParts) {
    this.#parts = parts
    this.#topic = parts.options.topics.waiting(parts.options.consumerGroup)
    this.#log = new KafkaTopicLog(parts, this.#topic, this)
  }

  async prepare(): Promise<void> {
    const { topics, options, onTopics } = this.#parts
    await topics.ensure(this.#topic, WAITING_PROFILE)
    await topics.ensure(options.topics.replays(options.consumerGroup), REPLAYS)
    onTopics()
  }

  async count(): Promise<number> {
    await this.#log.readNew()
    return this.#waiting.size
  }

  /** Resolves when a copy of the record is stored. It replaces the copy of an earlier try. */
  async add({ record, message }: HeldRecord, { delayMs, ...wait }: Wait): Promise<void> {
    const { publisher } = this.#parts
    const headers = [
      ...originalHeaders(record),
      [REPLAY_HANDLERS, waitHeader(wait)] as const,
      [DUE, String(Math.ceil(Date.now() + delayMs))] as const,
      ...(record.key === null ? [] : [[KEY, record.key] as const]),
    ]
    const copy = { key: `${message.id} ${wait.handlerName}`, value: record.value, headers }
    await publisher.store(copy, { topic: this.#topic, partition: 0, profile: WAITING_PROFILE })
  }

  async release(): Promise<number | undefined> {
    if (!this.#parts.isOwner()) return undefined
    await this.#log.readNew()
    const now = Date.now()
    const due = [...this.#waiting].filter(([, { dueAt }]) => dueAt <= now)
    due.sort(([, a], [, b]) => a.dueAt - b.dueAt)
    for (let start = 0; start < due.length && this.#parts.isOwner(); start += PAGE) {
      await this.#releaseAll(new Map(due.slice(start, start + PAGE)))
    }
    const next = Math.min(...[...this.#waiting.values()].map(({ dueAt }) => dueAt))
    return next === Number.POSITIVE_INFINITY ? undefined : Math.max(0, next - Date.now())
  }

  /** Stores the copies in the replay topic before it ends their waits: a crash in between can only duplicate them. */
  async #releaseAll(due: ReadonlyMap<string, WaitingRecord>): Promise<void> {
    const { publisher, options } = this.#parts
    const target = { topic: options.topics.replays(options.consumerGroup), profile: REPLAYS }
    const unreleased = [...due.values()].filter(({ isReleased }) => !isReleased)
    await Promise.all(
      (await this.#log.read(unreleased)).map(async ({ position, record }) => {
        await publisher.store(originalOf(record), target)
        position.isReleased = true
      }),
    )
    await Promise.all(
      [...due].map(async ([key, waiting]) => {
        const tombstone = { key, value: null, headers: [] }
        await publisher.store(tombstone, { topic: this.#topic, partition: 0, profile: WAITING_PROFILE })
        if (this.#waiting.get(key) === waiting) this.#waiting.delete(key)
      }),
    )
  }

  onTopic(): void {
    this.#waiting.clear()
  }

  onStart(): void {
    // Compaction removes only records whose waits are over, or were stored again.
  }

  onRecord(partition: number, { offset, key, value, headerTexts }: StoredRecord): void {
    const id = key?.toString('utf8') ?? ''
    const dueAt = Number(headerTexts[DUE] ?? 0)
    if (value === null) this.#waiting.delete(id)
    else
      this.#waiting.set(id, {
        partition,
        offset,
        dueAt: Number.isFinite(dueAt) ? dueAt : 0,
        isReleased: false,
      })
  }
}

/** The record to deliver: the original with the header of a replay. */
function originalOf({ headers, value }: StoredRecord) {
  const nameOf = (name: Buffer | null) => name?.toString('utf8') ?? ''
  const key = headers.find(([name]) => nameOf(name) === KEY)?.[1] ?? null
  const kept = headers.filter(([name]) => nameOf(name) !== KEY && nameOf(name) !== DUE)
  return { key, value, headers: kept.map(([name, text]) => [name ?? '', text] as const) }
}
