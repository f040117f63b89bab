import { readReason, writeReason } from '../../transport/dead-letter-fields.ts'
import { MessageRefusedError } from '../../transport/errors.ts'
import { replayDestination } from '../../transport/replay-destination.ts'
import { REPLAY_HANDLERS, readPlaces, replayHeader } from '../../transport/replay-headers.ts'
import type {
  DeadLetterPage,
  DeadLetterReason,
  DeadLetterStore,
  ReplayRequest,
  StoredDeadLetter,
} from '../../transport/transport.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import type { TopicPartition } from '../client/topic-partition.ts'
import type { KafkaTopicDirectory } from '../client/topics.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaPublisher } from '../publishing/publisher.ts'
import type { RecordToWrite } from '../wire/record-batch.ts'
import type { StoredRecord, UnreadableRange } from '../wire/record-reader.ts'
import {
  type DeadLetterPosition,
  type DeadLetterRecord,
  KafkaDeadLetterIndex,
  PLACES,
  REMOVED_OFFSET,
} from './dead-letter-index.ts'

/** For the dead letter topic and the replay topics. */
const PROFILE = { isBusOwned: true } as const

/** Headers that a replay or a removal needs. */
const REPLAY_FIELDS: ReadonlySet<string> = new Set([
  'dlq_reason',
  'dlq_consumer_group',
  'dlq_handlers',
  'dlq_settled_handlers',
  'dlq_original_topic',
  'dlq_original_partition',
  'dlq_original_offset',
  'dlq_parked_for',
  PLACES,
])

/** A record to dead-letter, and its partition. */
export interface FailedRecord {
  readonly record: StoredRecord
  readonly partition: TopicPartition
}

/**
 * Stores a record with the reason as a dead letter. Resolves when the brokers have confirmed it. If the topic does not
 * accept that size, the headers that a replay does not need are omitted. The record itself is never changed.
 *
 * @throws MessageRefusedError if the record without these headers is too large.
 */
export async function storeDeadLetter(
  publisher: KafkaPublisher,
  { topics }: ResolvedKafkaOptions,
  { record, partition }: FailedRecord,
  { places, ...reason }: DeadLetterReason & { readonly places: ReadonlyMap<string, string> },
): Promise<void> {
  const fields = {
    ...writeReason(reason),
    ...(places.size > 0 && { [PLACES]: JSON.stringify(Object.fromEntries(places)) }),
    dlq_original_topic: partition.topic,
    dlq_original_partition: String(partition.index),
    dlq_original_offset: String(record.offset),
  }
  const store = (about: readonly (readonly [string, string])[]) =>
    publisher.store(
      { key: record.key, value: record.value, headers: [...originalHeaders(record), ...about] },
      { topic: topics.deadLetters, profile: PROFILE },
    )
  try {
    await store(Object.entries(fields))
  } catch (error) {
    if (!(error instanceof MessageRefusedError)) throw error
    await store(Object.entries(fields).filter(([name]) => REPLAY_FIELDS.has(name)))
  }
}

/** Header of a dead letter that only refers to its records: the last offset of the batch that cannot be read. */
const LAST_OFFSET = 'dlq_original_last_offset'
/** Header of such a dead letter: the size of the batch in the log. */
const SIZE_BYTES = 'dlq_original_bytes'

/**
 * Stores one dead letter that refers to the records of a batch that cannot be read. Resolves when the brokers have
 * confirmed it.
 */
export async function storeReference(
  publisher: KafkaPublisher,
  { topics, consumerGroup }: ResolvedKafkaOptions,
  { topic, index }: TopicPartition,
  { from, to, sizeBytes, error }: UnreadableRange,
): Promise<void> {
  const now = new Date()
  const fields = {
    ...writeReason({
      kind: 'deserialization_error',
      errorName: error.name,
      errorMessage: `The records ${from} to ${to} cannot be read from their batch of ${sizeBytes} bytes: ${error.message}.`,
      handlerNames: [],
      settledHandlers: [],
      consumerGroup,
      attempts: 0,
      firstFailedAt: now,
      failedAt: now,
    }),
    dlq_original_topic: topic,
    dlq_original_partition: String(index),
    dlq_original_offset: String(from),
    [LAST_OFFSET]: String(to),
    [SIZE_BYTES]: String(sizeBytes),
  }
  const record = { key: null, value: null, headers: Object.entries(fields) }
  await publisher.store(record, { topic: topics.deadLetters, profile: PROFILE })
}

/** The original headers: without those that an earlier dead letter or replay added. */
export function originalHeaders({ headers }: StoredRecord): RecordToWrite['headers'] {
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
  /** Called after a replay to the topic of a group. */
  readonly onReplay: (group: string) => void
  /** Lets the records follow that wait behind a dead letter of the group. */
  readonly endPlaces: (places: ReadonlyMap<string, string>, group: string) => Promise<void>
}

/**
 * The dead letter topic. Kafka cannot delete single records. Instead, a marker record in the same partition removes a
 * replayed or purged dead letter from the list.
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
      cursor: isMore && last !== undefined ? cursorOf(last.position) : undefined,
    }
  }

  /** The records of dead letters, oldest first. */
  async page(
    limit: number,
    cursor: string | undefined,
  ): Promise<{ readonly records: readonly DeadLetterRecord[]; readonly isMore: boolean }> {
    const positions = await this.#index.positions()
    const from = cursor === undefined ? 0 : positions.findIndex((position) => isAfter(position, cursor))
    const chosen = from < 0 ? [] : positions.slice(from, from + limit)
    const records = await this.#index.read(chosen)
    return { records, isMore: from >= 0 && positions.length > from + limit }
  }

  async get(id: string): Promise<StoredDeadLetter | undefined> {
    const letter = await this.#find(id)
    return letter === undefined ? undefined : readLetter(letter)
  }

  async count(ofGroup?: string): Promise<number> {
    const positions = await this.#index.positions()
    if (ofGroup === undefined) return positions.length
    return positions.filter(({ group = ofGroup }) => group === ofGroup).length
  }

  async replay(id: string, request: ReplayRequest): Promise<boolean> {
    const letter = await this.#find(id)
    if (letter === undefined) return false
    const { publisher, options, onReplay } = this.#parts
    const { reason, source } = readLetter(letter)
    if (letter.record.headerTexts[LAST_OFFSET] !== undefined) {
      throw new MessageRefusedError(
        `the dead letter ${id} only refers to records of ${source}, and does not contain them`,
      )
    }
    const destination = replayDestination(reason, request)
    const { consumerGroup } = destination
    const { key, value } = letter.record
    // The records behind it wait in the group that failed.
    const staysThere = consumerGroup === letter.position.group
    const places = staysThere ? placesIn(letter.position.places) : undefined
    const target = replayHeader({ ...destination, places })
    const headers = [...originalHeaders(letter.record), [REPLAY_HANDLERS, target] as const]
    const topic = options.topics.replays(consumerGroup)
    // Store the copy first: a crash between the two steps can duplicate the message, but not lose it.
    await publisher.store({ key, value, headers }, { topic, profile: { ...PROFILE, partitions: 1 } })
    if (staysThere) await this.#mark(letter.position)
    else await this.#remove(letter.position)
    onReplay(consumerGroup)
    return true
  }

  async remove(ids: readonly string[]): Promise<number> {
    const positions = new Map((await this.#index.positions()).map((position) => [idOf(position), position]))
    let removed = 0
    for (const id of new Set(ids)) {
      const position = positions.get(id)
      if (position === undefined) continue
      await this.#remove(position)
      removed += 1
    }
    return removed
  }

  /** The records behind it follow before it is removed: a crash in between leaves a dead letter, and not a line without one. */
  async #remove(position: DeadLetterPosition): Promise<void> {
    const places = placesIn(position.places)
    if (places !== undefined && position.group !== undefined) {
      await this.#parts.endPlaces(places, position.group)
    }
    await this.#mark(position)
  }

  async #mark({ partition, offset }: DeadLetterPosition): Promise<void> {
    const { publisher, options } = this.#parts
    await publisher.store(
      { key: null, value: null, headers: [[REMOVED_OFFSET, String(offset)]] },
      { topic: options.topics.deadLetters, partition, profile: PROFILE },
    )
  }

  async #find(id: string): Promise<DeadLetterRecord | undefined> {
    const position = (await this.#index.positions()).find((candidate) => idOf(candidate) === id)
    if (position === undefined) return undefined
    const [letter] = await this.#index.read([position])
    return letter
  }
}

function placesIn(text: string | undefined): ReadonlyMap<string, string> | undefined {
  try {
    return readPlaces(text === undefined ? undefined : JSON.parse(text))
  } catch {
    return undefined // other programs may write to the topic, too
  }
}

function idOf({ partition, offset }: DeadLetterPosition): string {
  return `${partition}-${offset}`
}

function cursorOf({ timestamp, partition, offset }: DeadLetterPosition): string {
  return `${timestamp}-${partition}-${offset}`
}

function isAfter({ timestamp, partition, offset }: DeadLetterPosition, cursor: string): boolean {
  const [time = 0, part = 0, at = 0] = cursor.split('-').map(Number)
  return (
    timestamp - time > 0 || (timestamp === time && (partition > part || (partition === part && offset > at)))
  )
}

function readLetter({ position, record }: DeadLetterRecord): StoredDeadLetter {
  const headers = record.headerTexts
  const {
    dlq_original_topic: topic,
    dlq_original_partition: partition,
    dlq_original_offset: offset,
  } = headers
  const source = topic === undefined ? undefined : `${topic} ${partition ?? '?'} ${offset ?? '?'}`
  return {
    id: idOf(position),
    message: { headers, body: record.value ?? '' },
    reason: readReason(headers),
    source,
  }
}
