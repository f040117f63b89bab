import type { GroupControlStore } from '../../transport/control.ts'
import { KafkaTopicLog, type KafkaTopicLogParts, type LogListener } from '../client/topic-log.ts'
import type { KafkaPublisher } from '../publishing/publisher.ts'
import type { StoredRecord } from '../wire/stored-record.ts'
import { WAITING_PROFILE } from './waiting-records.ts'

export interface KafkaGroupControlParts extends KafkaTopicLogParts {
  readonly publisher: KafkaPublisher
}

/** The texts of the groups, in a compacted topic whose keys are their names. It is created with the first text. */
export class KafkaGroupControl implements GroupControlStore, LogListener {
  /** The brokers forget the offsets of a group without members after some days. */
  readonly staysInGroup = true
  readonly #parts: KafkaGroupControlParts
  readonly #log: KafkaTopicLog
  readonly #texts = new Map<string, string>()

  constructor(parts: KafkaGroupControlParts) {
    this.#parts = parts
    this.#log = new KafkaTopicLog(parts, parts.options.topics.control, this)
  }

  poll(): Promise<string | undefined> {
    return this.read(this.#parts.options.consumerGroup)
  }

  async read(group: string): Promise<string | undefined> {
    await this.#log.readNew()
    return this.#texts.get(group)
  }

  async write(group: string, text: string | undefined): Promise<void> {
    const { publisher, options } = this.#parts
    const record = { key: group, value: text === undefined ? null : Buffer.from(text), headers: [] }
    await publisher.store(record, {
      topic: options.topics.control,
      partition: 0,
      profile: WAITING_PROFILE,
    })
  }

  onTopic(): void {
    this.#texts.clear()
  }

  onStart(): void {
    // Compaction removes only texts that were replaced.
  }

  onRecord(_partition: number, { key, value }: StoredRecord): void {
    const group = key?.toString() ?? ''
    if (value === null) this.#texts.delete(group)
    else this.#texts.set(group, value.toString())
  }
}
