import { writeReason } from '../../transport/dead-letter-fields.ts'
import { MessageRefusedError } from '../../transport/errors.ts'
import { REPLAY_HANDLERS } from '../../transport/replay-headers.ts'
import type { DeadLetterReason } from '../../transport/transport.ts'
import type { TopicPartition } from '../client/topic-partition.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaPublisher } from '../publishing/publisher.ts'
import type { RecordToWrite } from '../wire/record-batch.ts'
import type { UnreadableRange } from '../wire/record-reader.ts'
import type { StoredRecord } from '../wire/stored-record.ts'
import { PLACES } from './dead-letter-index.ts'

/** For the dead letter topic and the replay topics. */
export const PROFILE = { isBusOwned: true } as const

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
    ...replayHistory(record),
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
export const LAST_OFFSET = 'dlq_original_last_offset'
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

/** The headers with which a replay has recorded itself. */
function replayHistory({ headerTexts }: StoredRecord): Record<string, string> {
  const names = ['dlq_replay_count', 'dlq_replayed_at']
  return Object.fromEntries(
    names.flatMap((name) => (headerTexts[name] === undefined ? [] : [[name, headerTexts[name]]])),
  )
}

/** The original headers: without those that an earlier dead letter or replay added. */
export function originalHeaders({ headers }: StoredRecord): RecordToWrite['headers'] {
  return headers.flatMap(([name, value]) => {
    const text = name?.toString('utf8') ?? ''
    return text.startsWith('dlq_') || text === REPLAY_HANDLERS ? [] : [[name ?? '', value] as const]
  })
}
