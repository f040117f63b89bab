import { readReason } from '../../transport/dead-letter-fields.ts'
import { KafkaTopicLog, type KafkaTopicLogParts, type LogListener } from '../client/topic-log.ts'
import type { StoredRecord } from '../wire/stored-record.ts'

/** Header of a marker: the dead letter at this offset of the same partition is removed. */
export const REMOVED_OFFSET = 'dlq_removed_offset'

/** Header of a dead letter: the places that it holds among the waiting records, as a JSON object by the names of the handlers. */
export const PLACES = 'dlq_places'

/** The position of a dead letter in its topic. */
export interface DeadLetterPosition {
  readonly partition: number
  readonly offset: number
  /** When the dead letter was stored, in milliseconds since 1970. */
  readonly timestamp: number
  /** The consumer group that gave it up, if the dead letter names it. */
  readonly group: string | undefined
  /** The header with its places, if it has any. */
  readonly places: string | undefined
  /** Size of its body. */
  readonly bytes: number
}

/** The record of a dead letter. */
export interface DeadLetterRecord {
  readonly position: DeadLetterPosition
  readonly record: StoredRecord
}

/** Finds the dead letters in their topic. Each call reads only the records written since the last one. */
export class KafkaDeadLetterIndex implements LogListener {
  readonly #log: KafkaTopicLog
  /** By partition and offset. */
  readonly #letters = new Map<number, Map<number, DeadLetterPosition>>()

  constructor(parts: KafkaTopicLogParts) {
    this.#log = new KafkaTopicLog(parts, parts.options.topics.deadLetters, this)
  }

  /** All dead letters, oldest first. @throws ConnectionError */
  async positions(): Promise<readonly DeadLetterPosition[]> {
    await this.#log.readNew()
    const positions = [...this.#letters.values()].flatMap((letters) => [...letters.values()])
    return positions.sort(
      (a, b) => a.timestamp - b.timestamp || a.partition - b.partition || a.offset - b.offset,
    )
  }

  /** Reads dead letters, in the order of the positions. @throws ConnectionError */
  read(positions: readonly DeadLetterPosition[]): Promise<readonly DeadLetterRecord[]> {
    return this.#log.read(positions)
  }

  onTopic(): void {
    this.#letters.clear()
  }

  onStart(partition: number, start: number): void {
    const letters = this.#of(partition)
    for (const offset of letters.keys()) if (offset < start) letters.delete(offset)
  }

  onRecord(partition: number, { offset, timestamp, headers, headerTexts, value }: StoredRecord): void {
    const marker = headers.find(([name]) => name?.toString('utf8') === REMOVED_OFFSET)
    const { consumerGroup: group } = readReason(headerTexts)
    const bytes = value?.length ?? 0
    const letter = { partition, offset, timestamp, group, bytes, places: headerTexts[PLACES] }
    if (marker === undefined) this.#of(partition).set(offset, letter)
    else this.#of(partition).delete(Number(marker[1]?.toString('utf8')))
  }

  #of(partition: number): Map<number, DeadLetterPosition> {
    const letters = this.#letters.get(partition) ?? new Map<number, DeadLetterPosition>()
    this.#letters.set(partition, letters)
    return letters
  }
}
