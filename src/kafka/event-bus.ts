import { BrokerEventBus } from '../bus/broker-event-bus.ts'
import type { BrokerEventBusStats } from '../bus/telemetry/bus-counters.ts'
import { positiveInteger, resolveOptions } from '../kit/options.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import { KAFKA_AVAILABLE, KafkaNotAvailableError } from './client/client.ts'
import { securityWarnings } from './client/security.ts'
import type { DeadLetterRecord } from './dead-letters/dead-letter-index.ts'
import { type KafkaEventBusOptions, type ResolvedKafkaOptions, resolveKafkaOptions } from './options.ts'
import { KafkaTransport } from './transport.ts'

/** Counters of a {@link KafkaEventBus}. */
export interface KafkaEventBusStats extends BrokerEventBusStats {
  /** Rebalances of the group in which this bus took part as a consumer. */
  readonly rebalanceCount: number
}

/** The record of a dead letter, as eventsource-py's `get_dlq_messages` returns it. */
export interface KafkaDlqMessage {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly key: string | null
  /** When the message was dead-lettered. */
  readonly timestamp: Date
  /** The original headers, and the `dlq_*` headers that describe the failure. */
  readonly headers: Readonly<Record<string, string>>
  /** The original body. */
  readonly payload: Uint8Array
}

/** The position of a dead letter in its topic. */
export interface KafkaDlqPlace {
  readonly partition: number
  readonly offset: number
}

/** The topic, and whether this bus is connected to it. */
export interface KafkaTopicInfo {
  readonly topic: string
  readonly partitions: number
  readonly consumerGroup: string
  readonly connected: boolean
  readonly consuming: boolean
}

/**
 * The bus over Apache Kafka 3.1 or newer. It delivers at least once: it commits an offset when the group has handled
 * every event before it, or has stored it in the dead letter topic. The events of an aggregate are in one partition, in
 * order. The consumers of a group share the partitions.
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
   * @throws ConfigError if an option is unknown, out of range or contradicts another.
   * @throws KafkaNotAvailableError if the npm package `@platformatic/kafka` is not installed; in a bundle, `connect` throws it.
   */
  constructor(options: KafkaEventBusOptions = {}) {
    if (!KAFKA_AVAILABLE) throw new KafkaNotAvailableError()
    const resolved = resolveKafkaOptions(options)
    const logger = resolveLogger(resolved.logger)
    super({ ...resolved, logger }, (host) => new KafkaTransport(resolved, host))
    this.#options = resolved
    const { address } = resolved
    for (const warning of securityWarnings(resolved)) logger.warn(warning, { system: 'kafka', address })
  }

  /** The name of this client in the brokers' logs and group listings. */
  get consumerName(): string {
    return this.#options.consumerName
  }

  override getStats(): KafkaEventBusStats {
    return { ...super.getStats(), rebalanceCount: this.transport.rebalances }
  }

  /** Describes the stream's topic. Connects first if necessary. @throws ConnectionError */
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

  /**
   * The dead letters with their headers, oldest first. `deadLetters` offers pages and filters. @throws ConnectionError
   */
  async getDlqMessages(options: { readonly limit?: number } = {}): Promise<readonly KafkaDlqMessage[]> {
    const { limit } = resolveOptions('getDlqMessages', options, { limit: 100 }, { limit: positiveInteger })
    await this.connect()
    const { records } = await this.transport.deadLetters.page(limit, undefined)
    return records.map((letter) => describeLetter(this.#options.topics.deadLetters, letter))
  }

  /** The number of dead letters. @throws ConnectionError */
  async getDlqMessageCount(): Promise<number> {
    return this.deadLetters.count()
  }

  /**
   * Replays a dead letter, as `deadLetters.replay` does. @returns false if there is no dead letter at that position.
   */
  async replayDlqMessage({ partition, offset }: KafkaDlqPlace): Promise<boolean> {
    return this.deadLetters.replay(`${partition}-${offset}`)
  }
}

function describeLetter(topic: string, { position, record }: DeadLetterRecord): KafkaDlqMessage {
  return {
    topic,
    partition: position.partition,
    offset: position.offset,
    key: record.key?.toString('utf8') ?? null,
    timestamp: new Date(position.timestamp),
    headers: record.headerTexts,
    payload: record.value ?? new Uint8Array(),
  }
}
