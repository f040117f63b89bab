import { ConnectionError } from '../../transport/errors.ts'
import type { PresenceRecord, PresenceReport, PresenceStore } from '../../transport/presence.ts'
import { fetchRanges } from '../client/fetch.ts'
import { logRanges, offsetsAt } from '../client/log-ranges.ts'
import type { KafkaTopicLogParts } from '../client/topic-log.ts'
import { partitionKey, partitionsOf } from '../client/topic-partition.ts'
import type { KafkaTopic } from '../client/topics.ts'
import { TYPES_PROFILE } from '../consuming/types-topic.ts'
import { CODE, nameOf } from '../errors.ts'
import type { KafkaPublisher } from '../publishing/publisher.ts'
import type { StoredRecord } from '../wire/stored-record.ts'

/** How far back reports are read, in milliseconds. They are valid for at most this time. */
const LOOKBACK_MS = 600_000

export interface KafkaPresenceParts extends KafkaTopicLogParts {
  readonly publisher: KafkaPublisher
}

/** The reports of the processes, in a topic that keeps them for some minutes. The brokers' clock decides on their age. */
export class KafkaPresence implements PresenceStore {
  readonly #parts: KafkaPresenceParts

  constructor(parts: KafkaPresenceParts) {
    this.#parts = parts
  }

  async write({ id, text, ttlMs }: PresenceReport): Promise<void> {
    await this.#store(id, Buffer.from(JSON.stringify({ ttlMs, text })))
  }

  async remove(id: string): Promise<void> {
    await this.#store(id, null)
  }

  async list(): Promise<readonly PresenceRecord[]> {
    const topic = await this.#parts.topics.find(this.#parts.options.topics.presence)
    if (topic === undefined) return []
    const latest = new Map<string, StoredRecord>()
    let now = Date.now()
    for await (const record of this.#records(topic)) {
      latest.set(record.key?.toString() ?? '', record)
      // The clock of this process may be behind.
      now = Math.max(now, record.timestamp)
    }
    return [...latest.values()].flatMap(({ value, timestamp }) => {
      const { ttlMs, text } = readValue(value)
      return text === undefined || timestamp + ttlMs <= now ? [] : [{ text, seenAt: new Date(timestamp) }]
    })
  }

  async #store(id: string, value: Buffer | null): Promise<void> {
    const { publisher, options } = this.#parts
    await publisher.store(
      { key: id, value, headers: [] },
      { topic: options.topics.presence, partition: 0, profile: TYPES_PROFILE },
    )
  }

  async *#records(topic: KafkaTopic): AsyncGenerator<StoredRecord> {
    const { cluster, topics, options } = this.#parts
    const partitions = partitionsOf(topic.name, 1)
    const [only] = partitions
    if (only === undefined) return
    const [ranges, since] = await Promise.all([
      logRanges(cluster, topics, partitions),
      offsetsAt(cluster, topics, partitions, BigInt(Date.now() - LOOKBACK_MS)),
    ])
    const { start = 0, end = 0 } = ranges.get(partitionKey(only)) ?? {}
    const found = since.get(partitionKey(only)) ?? -1
    let next = found < 0 ? end : Math.max(start, found)
    const { fetchMaxBytes: maxBytes, requestTimeoutMs: timeoutMs } = options
    const limits = { maxWaitMs: 0, maxBytes, maxAnswerBytes: maxBytes, timeoutMs, options }
    while (next < end) {
      const range = { topicId: topic.id, index: 0, offset: next }
      const [answer] = await fetchRanges(cluster, topic.leaders[0] ?? -1, [range], {
        ...limits,
        use: 'control',
      })
      if (answer?.errorCode !== CODE.NONE) {
        const fault = answer === undefined ? 'no answer' : nameOf(answer.errorCode)
        throw new ConnectionError('CONNECTION_FAILED', `Reading ${topic.name} failed: ${fault}.`)
      }
      yield* answer.records
      if (answer.nextOffset <= next) return
      next = answer.nextOffset
    }
  }
}

/** Any client can write to the topic. */
function readValue(value: Buffer | null): { readonly ttlMs: number; readonly text: string | undefined } {
  try {
    const { ttlMs, text }: { ttlMs?: unknown; text?: unknown } = JSON.parse(value?.toString() ?? '{}') ?? {}
    const isReport = typeof ttlMs === 'number' && typeof text === 'string'
    return isReport ? { ttlMs, text } : { ttlMs: 0, text: undefined }
  } catch {
    return { ttlMs: 0, text: undefined }
  }
}
