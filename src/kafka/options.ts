import { createHash, randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
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

/** Options of {@link KafkaEventBus}. Names and defaults are eventsource-py's, durations in milliseconds. */
export interface KafkaEventBusOptions extends BrokerOptions, KafkaSecurityOptions {
  /** Brokers to begin with, `host:port` separated by commas. Default `localhost:9092`. */
  readonly bootstrapServers?: string
  /** The topic is `{topicPrefix}.stream`. Default `'events'`. */
  readonly topicPrefix?: string
  /** Name of this client in the broker's logs and group listings. Default: host name and a random part. */
  readonly consumerName?: string
  /** How many brokers must have an event before a publish is confirmed: `'0'`, `'1'` or `'all'`. Default `'all'`. */
  readonly acks?: '0' | '1' | 'all'
  /** Default `'gzip'`. */
  readonly compressionType?: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
  /**
   * What waits for the same partition leaves in requests of about so many bytes, uncompressed; the events of one
   * `publish` stay together up to `maxMessageBytes`. Default 16,384.
   */
  readonly batchSizeBytes?: number
  /**
   * Longest time that publishing waits for company while more keeps coming, in milliseconds. An event that comes alone
   * leaves at once. Default 5.
   */
  readonly lingerMs?: number
  /**
   * Lets the broker recognize a request that is sent again, so that retries make no duplicates. Default: true with
   * acks `'all'`, which it needs.
   */
  readonly idempotent?: boolean
  /** Largest event in bytes, headers included; a larger one is refused before it is sent. Default 1,000,000. */
  readonly maxMessageBytes?: number
  /** Create topics that are missing. Default true. */
  readonly createTopics?: boolean
  /** Partitions of topics that are created. Default 3. */
  readonly topicPartitions?: number
  /** Replicas of topics that are created; -1 is the broker's default. Default -1. */
  readonly replicationFactor?: number
  /** Where a group begins that has no committed offset, or whose offset is gone. Default `'earliest'`. */
  readonly autoOffsetReset?: 'earliest' | 'latest'
  /**
   * A member silent for so long is put out of the group, in milliseconds. With groupProtocol `'consumer'` the broker sets
   * that time (`group.consumer.session.timeout.ms`, 45,000), and this, which must be less, is when the member gives up
   * its partitions by itself. Default 30,000.
   */
  readonly sessionTimeoutMs?: number
  /**
   * How often a member says that it lives, in milliseconds; also how fast it learns of a rebalance. With groupProtocol
   * `'consumer'` the broker sets it (`group.consumer.heartbeat.interval.ms`). Default 10,000.
   */
  readonly heartbeatIntervalMs?: number
  /**
   * Longest time that running handlers may hold back a partition that goes to another member, in milliseconds.
   * Heartbeats go on meanwhile, so it is no limit on a handler. Default 300,000.
   */
  readonly maxPollIntervalMs?: number
  /** Name of a static member: it may restart within the session timeout without a rebalance. Default: none. */
  readonly groupInstanceId?: string
  /** `'classic'`, or `'consumer'` for the protocol of KIP-848 (Kafka 4.0). Default `'classic'`. */
  readonly groupProtocol?: 'classic' | 'consumer'
  /**
   * How the classic protocol shares out partitions. `'cooperative-sticky'` moves only what has to move; `'roundrobin'`
   * is what eventsource-py's consumers use. All members of a group need the same. Default `'cooperative-sticky'`.
   */
  readonly partitionAssignor?: 'cooperative-sticky' | 'roundrobin'
  /** Longest time until what was handled is committed, in milliseconds. Default 100. */
  readonly commitIntervalMs?: number
  /** Events handled after which offsets are committed without waiting for `commitIntervalMs`. Default 500. */
  readonly commitCount?: number
  /**
   * How far a partition may be read past its first unfinished event. A stuck aggregate pauses its partition there, and
   * no other. Default 10,000.
   */
  readonly partitionWindow?: number
  /** Longest time a fetch waits for events at the broker, in milliseconds. Default 500. */
  readonly fetchMaxWaitMs?: number
  /** Bytes fetched of one partition at a time. Default 1,048,576. */
  readonly fetchMaxBytes?: number
  /** How often the brokers are asked for new partitions and topics, in milliseconds. Default 5,000. */
  readonly metadataMaxAgeMs?: number
  /** Longest time to connect, in milliseconds. Default 5,000. */
  readonly connectTimeoutMs?: number
  /** A broker that owes an answer for so long, in milliseconds, counts as gone. Default 10,000. */
  readonly requestTimeoutMs?: number
  /** Dead letters are in `{topicPrefix}.stream{dlqTopicSuffix}`. Default `'.dlq'`. */
  readonly dlqTopicSuffix?: string
  /**
   * Messages held, or handled and not committed, at most. Default 2,000: a commit takes a broker some 5 ms, so more
   * than on other brokers is on its way.
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
  autoOffsetReset: 'earliest',
  sessionTimeoutMs: 30_000,
  heartbeatIntervalMs: 10_000,
  maxPollIntervalMs: 300_000,
  groupInstanceId: undefined as string | undefined,
  groupProtocol: 'classic',
  partitionAssignor: 'cooperative-sticky',
  commitIntervalMs: 100,
  commitCount: 500,
  partitionWindow: 10_000,
  fetchMaxWaitMs: 500,
  fetchMaxBytes: 1_048_576,
  metadataMaxAgeMs: 5000,
  connectTimeoutMs: 5000,
  requestTimeoutMs: 10_000,
  dlqTopicSuffix: '.dlq',
}

const defaults = { ...brokerDefaults, ...securityDefaults, ...ownDefaults }

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

/** Characters of a topic's name at most. */
const MAX_TOPIC_NAME = 249

const topicName: OptionRule = {
  rule: 'at most 200 letters, digits, dots, dashes and underscores',
  isValid: (value) => typeof value === 'string' && /^[A-Za-z0-9._-]{1,200}$/.test(value),
}

const rules: Readonly<Record<keyof typeof defaults, OptionRule>> = {
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
  metadataMaxAgeMs: durationMs,
  connectTimeoutMs: durationMs,
  requestTimeoutMs: durationMs,
  dlqTopicSuffix: topicName,
}

/** Names of the topics. */
export interface KafkaTopics {
  readonly stream: string
  readonly deadLetters: string
  /** The topic of replays of one group. */
  replays(group: string): string
}

/** The options, complete: with a consumer name and the names of all topics. */
export interface ResolvedKafkaOptions extends Readonly<typeof defaults> {
  readonly consumerName: string
  readonly idempotent: boolean
  readonly topics: KafkaTopics
  readonly servers: readonly ServerAddress[]
  /** The bootstrap servers, for messages. */
  readonly address: string
}

/** @throws ConfigError with every fault. */
export function resolveKafkaOptions(given: KafkaEventBusOptions): ResolvedKafkaOptions {
  const options = resolveOptions('KafkaEventBus', given, defaults, rules)
  const faults = [...securityFaults(options), ...contradictions(options)]
  if (faults.length > 0) throw new ConfigError('KafkaEventBus', faults)
  return Object.freeze({
    ...options,
    consumerName: options.consumerName ?? `${hostname()}-${randomUUID().slice(0, 8)}`,
    idempotent: options.idempotent ?? options.acks === 'all',
    topics: topicsOf(options),
    servers: options.bootstrapServers.split(',').map((server) => addressOf(server.trim())),
    address: options.bootstrapServers,
  })
}

function contradictions(options: Readonly<typeof defaults>): readonly string[] {
  const faults: string[] = []
  if (options.idempotent === true && options.acks !== 'all') {
    faults.push(`idempotent needs acks 'all', got '${options.acks}'`)
  }
  if (options.heartbeatIntervalMs >= options.sessionTimeoutMs) {
    faults.push('heartbeatIntervalMs must be less than sessionTimeoutMs, at best a third of it')
  }
  if (options.consumerGroup.trim() !== options.consumerGroup || /\s/.test(options.consumerGroup)) {
    faults.push('consumerGroup must hold no white space')
  }
  const { deadLetters } = topicsOf(options)
  if (deadLetters.length > MAX_TOPIC_NAME) {
    faults.push(
      `topicPrefix and dlqTopicSuffix make a topic name of ${deadLetters.length} characters, and Kafka takes ${MAX_TOPIC_NAME}`,
    )
  }
  return faults
}

function addressOf(server: string): ServerAddress {
  const colon = /:\d+$/.exec(server)
  const host = server.slice(0, colon?.index).replace(/^\[|\]$/g, '')
  return { host, port: colon === null ? 9092 : Number(colon[0].slice(1)) }
}

function topicsOf({ topicPrefix, dlqTopicSuffix }: Readonly<typeof defaults>): KafkaTopics {
  const stream = `${topicPrefix}.stream`
  return {
    stream,
    deadLetters: `${stream}${dlqTopicSuffix}`,
    replays: (group) => `${stream}.replay.${asTopicName(group, MAX_TOPIC_NAME - stream.length - 8)}`,
  }
}

/**
 * A group's name may be longer than a topic's, and of other characters; a hash tells apart what looks alike then. To Kafka
 * a dot and an underscore look alike.
 */
function asTopicName(group: string, maxLength: number): string {
  if (/^[A-Za-z0-9_-]+$/.test(group) && group.length <= maxLength) return group
  const hash = createHash('sha256').update(group).digest('hex').slice(0, 16)
  return `${group.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, maxLength - hash.length - 1)}_${hash}`
}
