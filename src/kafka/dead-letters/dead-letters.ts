import { readReason, writeReason } from '../../transport/dead-letter-fields.ts'
import { MessageRefusedError } from '../../transport/errors.ts'
import { REPLAY_HANDLERS, replayHeader } from '../../transport/replay-headers.ts'
import type {
  DeadLetterPage,
  DeadLetterReason,
  DeadLetterStore,
  StoredDeadLetter,
} from '../../transport/transport.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import type { TopicPartition } from '../client/topic-partition.ts'
import type { KafkaTopicDirectory } from '../client/topics.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaPublisher } from '../publishing/publisher.ts'
import type { RecordToWrite } from '../wire/record-batch.ts'
import type { StoredRecord } from '../wire/record-reader.ts'
import {
  KafkaDeadLetterIndex,
  type LetterPlace,
  type LetterRecord,
  REMOVED_OFFSET,
} from './dead-letter-index.ts'

/** The topics of our own keep what is in them until it is removed. */
const PROFILE = { isOurs: true } as const

/** What replaying needs to know. */
const ESSENTIAL: ReadonlySet<string> = new Set([
  'dlq_reason',
  'dlq_consumer_group',
  'dlq_handlers',
  'dlq_settled_handlers',
  'dlq_original_topic',
  'dlq_original_partition',
  'dlq_original_offset',
])

/** A record to dead-letter, and the partition that it came from. */
export interface FailedRecord {
  readonly record: StoredRecord
  readonly partition: TopicPartition
}

/**
 * Stores a record with the reason; resolves when the brokers have it. Where the topic takes no record of that size, the
 * reason is cut short, never the record. @throws MessageRefusedError where that does not help
 */
export async function storeDeadLetter(
  publisher: KafkaPublisher,
  { topics }: ResolvedKafkaOptions,
  { record, partition }: FailedRecord,
  reason: DeadLetterReason,
): Promise<void> {
  const fields = {
    ...writeReason(reason),
    dlq_original_topic: partition.topic,
    dlq_original_partition: String(partition.index),
    dlq_original_offset: String(record.offset),
  }
  const store = (about: readonly (readonly [string, string])[]) =>
    publisher.store(
      { key: record.key, value: record.value, headers: [...original(record), ...about] },
      { topic: topics.deadLetters, profile: PROFILE },
    )
  try {
    await store(Object.entries(fields))
  } catch (error) {
    if (!(error instanceof MessageRefusedError)) throw error
    await store(Object.entries(fields).filter(([name]) => ESSENTIAL.has(name)))
  }
}

/** The record's own headers, without what an earlier dead letter or replay added. */
function original({ headers }: StoredRecord): RecordToWrite['headers'] {
  return headers.flatMap(([name, value]) => {
    const text = name?.toString('utf8') ?? ''
    return text.startsWith('dlq_') || text === REPLAY_HANDLERS ? [] : [[name ?? '', value] as const]
  })
}

export interface KafkaDeadLettersParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
  readonly publisher: KafkaPublisher
  /** Called when there is something to replay for a group. */
  readonly onReplay: (group: string) => void
}

/**
 * The dead letter topic. A log has no single records to delete: what is replayed or purged is marked by a record in the
 * same partition, and no longer listed.
 */
export class KafkaDeadLetters implements DeadLetterStore {
  readonly #parts: KafkaDeadLettersParts
  readonly #index: KafkaDeadLetterIndex

  constructor(parts: KafkaDeadLettersParts) {
    this.#parts = parts
    this.#index = new KafkaDeadLetterIndex(parts)
  }

  async list(limit: number, cursor: string | undefined): Promise<DeadLetterPage> {
    const { records, isMore } = await this.page(limit, cursor)
    const last = records.at(-1)
    return {
      letters: records.map(readLetter),
      cursor: isMore && last !== undefined ? cursorOf(last.place) : undefined,
    }
  }

  /** Dead letters as they stand in the log, oldest first. */
  async page(
    limit: number,
    cursor: string | undefined,
  ): Promise<{ readonly records: readonly LetterRecord[]; readonly isMore: boolean }> {
    const places = await this.#index.places()
    const from = cursor === undefined ? 0 : places.findIndex((place) => isAfter(place, cursor))
    const chosen = from < 0 ? [] : places.slice(from, from + limit)
    const records = await this.#index.read(chosen)
    return { records, isMore: from >= 0 && places.length > from + limit }
  }

  async get(id: string): Promise<StoredDeadLetter | undefined> {
    const letter = await this.#find(id)
    return letter === undefined ? undefined : readLetter(letter)
  }

  async count(): Promise<number> {
    return (await this.#index.places()).length
  }

  async replay(id: string, fallbackGroup: string): Promise<boolean> {
    const letter = await this.#find(id)
    if (letter === undefined) return false
    const { publisher, options, onReplay } = this.#parts
    const { reason } = readLetter(letter)
    const { consumerGroup = fallbackGroup } = reason
    const { key, value } = letter.record
    const headers = [...original(letter.record), [REPLAY_HANDLERS, replayHeader(reason)] as const]
    const topic = options.topics.replays(consumerGroup)
    // The copy first, so that a crash in between can only duplicate it.
    await publisher.store({ key, value, headers }, { topic, profile: { ...PROFILE, partitions: 1 } })
    await this.#remove(letter.place)
    onReplay(consumerGroup)
    return true
  }

  async remove(ids: readonly string[]): Promise<number> {
    const places = new Map((await this.#index.places()).map((place) => [idOf(place), place]))
    let removed = 0
    for (const id of new Set(ids)) {
      const place = places.get(id)
      if (place === undefined) continue
      await this.#remove(place)
      removed += 1
    }
    return removed
  }

  async #remove({ partition, offset }: LetterPlace): Promise<void> {
    const { publisher, options } = this.#parts
    await publisher.store(
      { key: null, value: null, headers: [[REMOVED_OFFSET, String(offset)]] },
      { topic: options.topics.deadLetters, partition, profile: PROFILE },
    )
  }

  async #find(id: string): Promise<LetterRecord | undefined> {
    const place = (await this.#index.places()).find((candidate) => idOf(candidate) === id)
    if (place === undefined) return undefined
    const [letter] = await this.#index.read([place])
    return letter
  }
}

function idOf({ partition, offset }: LetterPlace): string {
  return `${partition}-${offset}`
}

function cursorOf({ timestamp, partition, offset }: LetterPlace): string {
  return `${timestamp}-${partition}-${offset}`
}

function isAfter({ timestamp, partition, offset }: LetterPlace, cursor: string): boolean {
  const [time = 0, part = 0, at = 0] = cursor.split('-').map(Number)
  return (
    timestamp - time > 0 || (timestamp === time && (partition > part || (partition === part && offset > at)))
  )
}

function readLetter({ place, record }: LetterRecord): StoredDeadLetter {
  const headers = record.headerTexts
  const {
    dlq_original_topic: topic,
    dlq_original_partition: partition,
    dlq_original_offset: offset,
  } = headers
  const source = topic === undefined ? undefined : `${topic} ${partition ?? '?'} ${offset ?? '?'}`
  return {
    id: idOf(place),
    message: { headers, body: record.value ?? '' },
    reason: readReason(headers),
    source,
  }
}
