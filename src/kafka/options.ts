import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { withBroadcast } from '../bus/broadcast.ts'
import { type BrokerOptions, brokerDefaults, brokerRules } from '../bus/broker-options.ts'
import { ConfigError } from '../errors.ts'
import {
  booleanOption,
  delayMs,
  durationMs,
  nonEmptyText,
  type OptionRule,
  oneOf,
  optional,
  positiveInteger,
  resolveOptions,
} from '../kit/options.ts'
import type { ServerAddress } from '../transport/transport.ts'
import {
  type KafkaSecurityOptions,
  securityDefaults,
  securityFaults,
  securityRules,
} from './client/security.ts'
import { type KafkaTopics, MAX_TOPIC_NAME, topicNames } from './topic-names.ts'

/** Options of {@link KafkaEventBus}. Names and defaults are those of eventsource-py, with durations in milliseconds. */
export interface KafkaEventBusOptions extends BrokerOptions, KafkaSecurityOptions {
  /** Brokers for the first connection, as `host:port` separated by commas. Default `localhost:9092`. */
  readonly bootstrapServers?: string
  /** Prefix of all topics. The events are in `{topicPrefix}.stream`. Default `'events'`. */
  readonly topicPrefix?: string
  /**
   * Name of this client in the brokers' logs and group listings. It is only a label, so consumers may share it.
   * Default: the host name and a random part.
   */
  readonly consumerName?: string
  /**
   * Brokers that must have stored an event before its publish is confirmed: none (`'0'`), the leader (`'1'`) or all
   * in-sync replicas (`'all'`). Default `'all'`.
   */
  readonly acks?: '0' | '1' | 'all'
  /** Compression of the requests. Default `'gzip'`. */
  readonly compressionType?: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
  /**
   * Approximate size of a batch for one partition, in bytes before compression. The events of one `publish` stay
   * together, up to `maxMessageBytes` or 1,000 events. Default 16,384.
   */
  readonly batchSizeBytes?: number
  /**
   * Maximum time to collect events for a request while further events keep arriving, in milliseconds. A single event is
   * sent at once. Default 5.
   */
  readonly lingerMs?: number
  /**
   * Lets the broker recognize a batch that is sent again, so that retries cause no duplicates. Requires acks `'all'`.
   * Default: true with acks `'all'`, otherwise false.
   */
  readonly idempotent?: boolean
  /**
   * Maximum size of an event in bytes, including its headers. A larger event is refused before it is sent. Default
   * 1,000,000.
   */
  readonly maxMessageBytes?: number
  /** Whether to create missing topics. Default true. */
  readonly createTopics?: boolean
  /** Partitions of a topic that the bus creates. Default 3. */
  readonly topicPartitions?: number
  /** Replicas of a topic that the bus creates. -1 stands for the brokers' default. Default -1. */
  readonly replicationFactor?: number
  /**
   * Where a new consumer group starts: at the earliest event that the topic still has, or with the events that are
   * published after `whenConsuming` has resolved. An existing group continues at its committed offset. Default:
   * `autoOffsetReset`, which is `'earliest'` by default.
   */
  readonly startFrom?: 'earliest' | 'latest'
  /**
   * Where a group continues if the log no longer has its offset; the lost events are reported. It is also the default of
   * `startFrom`. Default `'earliest'`.
   */
  readonly autoOffsetReset?: 'earliest' | 'latest'
  /**
   * Time without a heartbeat after which the group removes a member, in milliseconds. With groupProtocol `'consumer'`,
   * the broker sets that time (`group.consumer.session.timeout.ms`, 45,000). This option must then be less than that,
   * because the member starts no further events after it. Default 30,000.
   */
  readonly sessionTimeoutMs?: number
  /**
   * Interval of the heartbeats, in milliseconds. A member learns of a rebalance with its next heartbeat, so each start
   * and stop of another member takes up to two intervals. With groupProtocol `'consumer'` the broker sets it
   * (`group.consumer.heartbeat.interval.ms`). Default 1,000.
   */
  readonly heartbeatIntervalMs?: number
  /**
   * Maximum time for which running handlers may delay the handover of a partition to another member, in milliseconds.
   * Heartbeats continue meanwhile, so this option does not limit the duration of a handler. Default 300,000.
   */
  readonly maxPollIntervalMs?: number
  /**
   * Makes this consumer a static member with this name. It may restart within `sessionTimeoutMs` without a rebalance.
   * Default: none.
   */
  readonly groupInstanceId?: string
  /** The group protocol: `'classic'`, or `'consumer'` for KIP-848 (Kafka 4.0). Default `'classic'`. */
  readonly groupProtocol?: 'classic' | 'consumer'
  /**
   * How the classic protocol assigns partitions. `'cooperative-sticky'` moves as few partitions as possible.
   * eventsource-py's consumers use `'roundrobin'`. All members of a group must use the same assignor. Default
   * `'cooperative-sticky'`.
   */
  readonly partitionAssignor?: 'cooperative-sticky' | 'roundrobin'
  /** Maximum time until a handled event is committed, in milliseconds. Default 100. */
  readonly commitIntervalMs?: number
  /**
   * Number of handled events of a partition after which its offset is committed, even before `commitIntervalMs` has
   * passed. Default 500.
   */
  readonly commitCount?: number
  /**
   * Maximum number of records that are delivered after the first unfinished record of a partition. At this limit, a
   * stuck aggregate pauses its own partition, but no other. Default 10,000.
   */
  readonly partitionWindow?: number
  /** Maximum time that a fetch waits for events at the broker, in milliseconds. Default 500. */
  readonly fetchMaxWaitMs?: number
  /** Maximum number of bytes that one fetch reads from a partition. Default 1,048,576. */
  readonly fetchMaxBytes?: number
  /**
   * Maximum size of the content of a record batch, in bytes after decompression. A batch that exceeds it is not
   * decompressed further; a dead letter refers to its records. Default 33,554,432.
   */
  readonly maxBatchBytes?: number
  /**
   * Maximum number of records in a record batch. If a batch has more, a dead letter refers to its records. Default
   * 100,000.
   */
  readonly maxBatchRecords?: number
  /**
   * Maximum size of a response from a broker, in bytes. The bus closes the connection before it receives a larger
   * response. It must exceed the largest record batch in the topics. Default 67,108,864.
   */
  readonly maxResponseBytes?: number
  /** Interval at which the bus looks for new partitions and topics, in milliseconds. Default 5,000. */
  readonly metadataMaxAgeMs?: number
  /** Maximum time to connect to a broker, in milliseconds. Default 5,000. */
  readonly connectTimeoutMs?: number
  /**
   * Maximum time to wait for a response, in milliseconds. After that, the connection counts as lost. Default 10,000.
   */
  readonly requestTimeoutMs?: number
  /** Suffix of the dead letter topic, `{topicPrefix}.stream{dlqTopicSuffix}`. Default `'.dlq'`. */
  readonly dlqTopicSuffix?: string
  /**
   * Maximum number of messages that are held, or handled and not committed. Default 2,000, which is more than on other
   * brokers, because a commit takes about 5 ms.
   */
  readonly maxInFlight?: number
}

const ownDefaults = {
  maxInFlight: 2000,
  bootstrapServers: 'localhost:9092',
  topicPrefix: 'events',
  consumerName: undefined as string | undefined,
  acks: 'all',
  compressionType: 'gzip',
  batchSizeBytes: 16_384,
  lingerMs: 5,
  idempotent: undefined as boolean | undefined,
  maxMessageBytes: 1_000_000,
  createTopics: true,
  topicPartitions: 3,
  replicationFactor: -1,
  startFrom: undefined as 'earliest' | 'latest' | undefined,
  autoOffsetReset: 'earliest' as 'earliest' | 'latest',
  sessionTimeoutMs: 30_000,
  heartbeatIntervalMs: 1000,
  maxPollIntervalMs: 300_000,
  groupInstanceId: undefined as string | undefined,
  groupProtocol: 'classic',
  partitionAssignor: 'cooperative-sticky',
  commitIntervalMs: 100,
  commitCount: 500,
  partitionWindow: 10_000,
  fetchMaxWaitMs: 500,
  fetchMaxBytes: 1_048_576,
  maxBatchBytes: 33_554_432,
  maxBatchRecords: 100_000,
  maxResponseBytes: 67_108_864,
  metadataMaxAgeMs: 5000,
  connectTimeoutMs: 5000,
  requestTimeoutMs: 10_000,
  dlqTopicSuffix: '.dlq',
}

export const kafkaDefaults = { ...brokerDefaults, ...securityDefaults, ...ownDefaults }

const SERVER = /^(?:\[[0-9a-fA-F:]+\]|[^\s:,[\]@/]+)(?::\d{1,5})?$/

const bootstrapServers: OptionRule = {
  rule: 'host:port, or several separated by commas',
  isValid: (value) =>
    typeof value === 'string' && value.split(',').every((server) => isServer(server.trim())),
}

function isServer(server: string): boolean {
  const port = SERVER.test(server) ? addressOf(server).port : 0
  return port >= 1 && port <= 65_535
}

const topicName: OptionRule = {
  rule: 'at most 200 letters, digits, dots, dashes and underscores',
  isValid: (value) => typeof value === 'string' && /^[A-Za-z0-9._-]{1,200}$/.test(value),
}

export const kafkaRules: Readonly<Record<keyof typeof kafkaDefaults, OptionRule>> = {
  ...brokerRules,
  ...securityRules,
  bootstrapServers,
  topicPrefix: topicName,
  consumerName: optional(nonEmptyText),
  acks: oneOf('0', '1', 'all'),
  compressionType: oneOf('none', 'gzip', 'snappy', 'lz4', 'zstd'),
  batchSizeBytes: positiveInteger,
  lingerMs: delayMs,
  idempotent: optional(booleanOption),
  maxMessageBytes: positiveInteger,
  createTopics: booleanOption,
  topicPartitions: positiveInteger,
  replicationFactor: {
    rule: "a positive integer, or -1 for the broker's default",
    isValid: (value) => value === -1 || positiveInteger.isValid(value),
  },
  startFrom: optional(oneOf('earliest', 'latest')),
  autoOffsetReset: oneOf('earliest', 'latest'),
  sessionTimeoutMs: durationMs,
  heartbeatIntervalMs: durationMs,
  maxPollIntervalMs: durationMs,
  groupInstanceId: optional(nonEmptyText),
  groupProtocol: oneOf('classic', 'consumer'),
  partitionAssignor: oneOf('cooperative-sticky', 'roundrobin'),
  commitIntervalMs: durationMs,
  commitCount: positiveInteger,
  partitionWindow: positiveInteger,
  fetchMaxWaitMs: durationMs,
  fetchMaxBytes: positiveInteger,
  maxBatchBytes: positiveInteger,
  maxBatchRecords: positiveInteger,
  maxResponseBytes: positiveInteger,
  metadataMaxAgeMs: durationMs,
  connectTimeoutMs: durationMs,
  requestTimeoutMs: durationMs,
  dlqTopicSuffix: topicName,
}

/** The options with all defaults, a consumer name and the names of all topics. */
export interface ResolvedKafkaOptions extends Readonly<typeof kafkaDefaults> {
  readonly consumerName: string
  readonly idempotent: boolean
  readonly startFrom: 'earliest' | 'latest'
  readonly topics: KafkaTopics
  readonly servers: readonly ServerAddress[]
  /** The bootstrap servers, for messages. */
  readonly address: string
}

/** Completes and validates the options. @throws ConfigError with every fault. */
export function resolveKafkaOptions(given: KafkaEventBusOptions): ResolvedKafkaOptions {
  const resolved = resolveOptions('KafkaEventBus', given, kafkaDefaults, kafkaRules)
  const options = withBroadcast('KafkaEventBus', given, resolved)
  const faults = [...securityFaults(options), ...contradictions(options)]
  if (faults.length > 0) throw new ConfigError('KafkaEventBus', faults)
  return Object.freeze({
    ...options,
    consumerName: options.consumerName ?? `${hostname()}-${randomUUID().slice(0, 8)}`,
    idempotent: options.idempotent ?? options.acks === 'all',
    startFrom: options.broadcast ? 'latest' : (options.startFrom ?? options.autoOffsetReset),
    topics: topicNames(options),
    servers: options.bootstrapServers.split(',').map((server) => addressOf(server.trim())),
    address: options.bootstrapServers,
  })
}

function contradictions(options: Readonly<typeof kafkaDefaults>): readonly string[] {
  const faults: string[] = []
  if (options.idempotent === true && options.acks !== 'all') {
    faults.push(`idempotent needs acks 'all', got '${options.acks}'`)
  }
  if (options.heartbeatIntervalMs >= options.sessionTimeoutMs) {
    faults.push('heartbeatIntervalMs must be less than sessionTimeoutMs, preferably a third of it')
  }
  if (options.consumerGroup.trim() !== options.consumerGroup || /\s/.test(options.consumerGroup)) {
    faults.push('consumerGroup must not contain white space')
  }
  const { deadLetters } = topicNames(options)
  if (deadLetters.length > MAX_TOPIC_NAME) {
    faults.push(
      `topicPrefix and dlqTopicSuffix make a topic name of ${deadLetters.length} characters, and Kafka accepts ${MAX_TOPIC_NAME}`,
    )
  }
  return faults
}

function addressOf(server: string): ServerAddress {
  const colon = /:\d+$/.exec(server)
  const host = server.slice(0, colon?.index).replace(/^\[|\]$/g, '')
  return { host, port: colon === null ? 9092 : Number(colon[0].slice(1)) }
}
