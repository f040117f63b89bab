import { BrokerEventBus } from '../bus/broker-event-bus.ts'
import type { BrokerEventBusStats } from '../bus/telemetry/bus-counters.ts'
import { ConfigError, describeValue } from '../errors.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import { KAFKA_AVAILABLE, KafkaNotAvailableError } from './client/client.ts'
import { securityWarnings } from './client/security.ts'
import type { LetterRecord } from './dead-letters/dead-letter-index.ts'
import { type KafkaEventBusOptions, type ResolvedKafkaOptions, resolveKafkaOptions } from './options.ts'
import { KafkaTransport } from './transport.ts'

/** Counts of a {@link KafkaEventBus}. */
export interface KafkaEventBusStats extends BrokerEventBusStats {
  /** How often the partitions of the group were shared out anew while this bus consumed. */
  readonly rebalanceCount: number
}

/** A dead letter as it stands in its topic, as eventsource-py's `get_dlq_messages` returns it. */
export interface KafkaDlqMessage {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly key: string | null
  /** When it was dead-lettered. */
  readonly timestamp: Date
  /** The original headers, and `dlq_*` about the failure. */
  readonly headers: Readonly<Record<string, string>>
  /** The original body. */
  readonly payload: Uint8Array
}

/** A place in the dead letter topic. */
export interface KafkaDlqPlace {
  readonly partition: number
  readonly offset: number
}

/** What `getTopicInfo` tells. */
export interface KafkaTopicInfo {
  readonly topic: string
  readonly partitions: number
  readonly consumerGroup: string
  readonly connected: boolean
  readonly consuming: boolean
}

/**
 * The bus over Apache Kafka. At least once: an offset is committed when every event before it was handled by the group or
 * lies in the dead letter topic. Order holds per aggregate, whose events share a partition; consumers of a group share
 * the partitions. Kafka 3.1 or newer.
 *
 * @example
 * await using bus = new KafkaEventBus({ bootstrapServers: 'localhost:9092', consumerGroup: 'billing' })
 * bus.subscribe(OrderCreated, async (event) => invoice(event.customerId))
 * bus.startConsumingInBackground()
 * await bus.publish([new OrderCreated({ aggregateId, customerId })])
 */
export class KafkaEventBus extends BrokerEventBus<KafkaTransport> {
  readonly #options: ResolvedKafkaOptions

  /**
   * @throws ConfigError when an option is unknown, out of range or contradicts another.
   * @throws KafkaNotAvailableError when the npm package `@platformatic/kafka` is not installed.
   */
  constructor(options: KafkaEventBusOptions = {}) {
    if (!KAFKA_AVAILABLE) throw new KafkaNotAvailableError()
    const resolved = resolveKafkaOptions(options)
    const logger = resolveLogger(resolved.logger)
    super({ ...resolved, logger }, (host) => new KafkaTransport(resolved, host))
    this.#options = resolved
    const { address } = resolved
    for (const sentence of securityWarnings(resolved)) logger.warn(sentence, { system: 'kafka', address })
  }

  /** Name of this client at the brokers. */
  get consumerName(): string {
    return this.#options.consumerName
  }

  override getStats(): KafkaEventBusStats {
    return { ...super.getStats(), rebalanceCount: this.transport.rebalances }
  }

  /** The topic and this bus's part in it. */
  async getTopicInfo(): Promise<KafkaTopicInfo> {
    await this.connect()
    const { topics, consumerGroup } = this.#options
    const topic = await this.transport.topics.find(topics.stream)
    return {
      topic: topics.stream,
      partitions: topic?.leaders.length ?? 0,
      consumerGroup,
      connected: this.isConnected,
      consuming: this.isConsuming,
    }
  }

  /** The dead letters with their headers, oldest first; see `deadLetters` for more. */
  async getDlqMessages({
    limit = 100,
  }: {
    readonly limit?: number
  } = {}): Promise<readonly KafkaDlqMessage[]> {
    if (!Number.isSafeInteger(limit) || limit < 1) {
      throw new ConfigError('getDlqMessages', [
        `limit must be a positive integer, got ${describeValue(limit)}`,
      ])
    }
    await this.connect()
    const { records } = await this.transport.deadLetters.page(limit, undefined)
    return records.map((letter) => describeLetter(this.#options.topics.deadLetters, letter))
  }

  /** How many dead letters there are. */
  async getDlqMessageCount(): Promise<number> {
    return this.deadLetters.count()
  }

  /** As `deadLetters.replay`. @returns false when there is none at that place. */
  async replayDlqMessage({ partition, offset }: KafkaDlqPlace): Promise<boolean> {
    return this.deadLetters.replay(`${partition}-${offset}`)
  }
}

function describeLetter(topic: string, { place, record }: LetterRecord): KafkaDlqMessage {
  return {
    topic,
    partition: place.partition,
    offset: place.offset,
    key: record.key?.toString('utf8') ?? null,
    timestamp: new Date(place.timestamp),
    headers: record.headerTexts,
    payload: record.value ?? new Uint8Array(),
  }
}
