import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { ConnectionOptions, SecureContext } from 'node:tls'
import { withBroadcast } from '../bus/broadcast.ts'
import { type BrokerOptions, brokerDefaults, brokerRules } from '../bus/broker-options.ts'
import {
  orderingOf,
  type PartitionOptions,
  partitionDefaults,
  partitionRules,
} from '../bus/partition-options.ts'
import { ConfigError } from '../errors.ts'
import {
  booleanOption,
  durationMs,
  nonEmptyText,
  type OptionRule,
  objectWith,
  oneOf,
  optional,
  pemPath,
  positiveInteger,
  resolveOptions,
} from '../kit/options.ts'
import { faultOfNames, namesOf, type RabbitMQNames } from './client/names.ts'
import { type Endpoint, endpointOf, isAmqpUrl, URL_PARAMETERS } from './client/url.ts'

/** The types of exchanges to which the bus can publish. */
export type RabbitMQExchangeType = 'topic' | 'direct' | 'fanout' | 'headers'

/** The headers that an event must have to reach a queue; see `x-match` in RabbitMQ's documentation. */
export interface HeadersMatch {
  /** Whether all headers (default) or any header must match. `-with-x` includes headers that start with `x-`. */
  readonly 'x-match'?: 'all' | 'any' | 'all-with-x' | 'any-with-x'
  readonly [header: string]: string | number | boolean | undefined
}

/**
 * Options of {@link RabbitMQEventBus}. Names and defaults are those of eventsource-py, with durations in milliseconds.
 */
export interface RabbitMQEventBusOptions extends BrokerOptions, PartitionOptions {
  /**
   * URL of the broker with user name, password and virtual host: `amqp://`, or `amqps://` for TLS. For a cluster, an
   * array of the nodes' URLs, which are tried one after the other. Default `amqp://guest:guest@localhost:5672/`.
   */
  readonly rabbitmqUrl?: string | readonly string[]
  /** Exchange that events are published to. A group's queue is `{exchangeName}.{consumerGroup}`. Default `'events'`. */
  readonly exchangeName?: string
  /** Type of the exchange. Default `'topic'`. */
  readonly exchangeType?: RabbitMQExchangeType
  /**
   * Name of this consumer in the broker's list of connections. It is only a label, so consumers may share it. Default:
   * the host name and a random part.
   */
  readonly consumerName?: string
  /**
   * Maximum number of unacknowledged messages that this consumer holds; with `partitions`, of each partition. `maxInFlight`
   * and `maxInFlightBytes` also limit it; with `singleActiveConsumer` or `partitions`, to one message per MiB of
   * `maxInFlightBytes`. Default 10, or `concurrency` if you set it to a larger number.
   */
  readonly prefetchCount?: number
  /**
   * The routing key of the queue's only initial binding. With an empty string, the queue has no initial binding; add
   * bindings with `bindEventType` or `bindRoutingKey`. Default: all events; on a direct exchange, the subscribed event
   * classes (`{aggregateType}.{eventType}`) and the queue's own name.
   */
  readonly routingKeyPattern?: string
  /** The headers of the queue's binding on a headers exchange. Default: all events. */
  readonly headersMatch?: HeadersMatch
  /**
   * Type of the group's queue. `'classic'` is the type that eventsource-py uses; a `'quorum'` queue survives the loss
   * of a node. Default `'classic'`.
   */
  readonly queueType?: 'classic' | 'quorum'
  /** Makes the exchange and the queue survive a restart of the broker. Default true. */
  readonly durable?: boolean
  /**
   * Makes the group's queue deliver to one consumer at a time, and to the next one only after the unacknowledged
   * messages of the previous one have returned. The order per aggregate then holds across the group, even when a
   * connection breaks. The other consumers stand by. `ordering: 'aggregate'` without `partitions` does the same. Default
   * false: the consumers share the work.
   */
  readonly singleActiveConsumer?: boolean
  /**
   * Makes the broker delete the exchange when its last binding is removed, and the queue when its last consumer leaves.
   * Default false.
   */
  readonly autoDelete?: boolean
  /**
   * Rejects the publish of an event if no queue is bound for it. If false, such an event is counted and logged. Default
   * false.
   */
  readonly requireRoute?: boolean
  /**
   * Messages per batch. `batchSize` times `maxConcurrentPublishes` is the maximum number of unconfirmed messages.
   * Default 100.
   */
  readonly batchSize?: number
  /** Maximum number of unconfirmed batches over all publishes. Default 10. */
  readonly maxConcurrentPublishes?: number
  /** Suffix of the exchange for dead letters, `{exchangeName}{dlqExchangeSuffix}`. Default `'_dlq'`. */
  readonly dlqExchangeSuffix?: string
  /** Age at which the broker drops a dead letter, in milliseconds. Default: never. */
  readonly dlqMessageTtlMs?: number
  /** Maximum number of dead letters; beyond it the broker drops the oldest. Default: no limit. */
  readonly dlqMaxLength?: number
  /**
   * Keeps a copy of every published event in the stream queue `{exchangeName}.journal`, so that `bus.admin` can browse past
   * events. Set it in every bus of the exchange. It needs a `durable` exchange of a type other than `'direct'`. Default
   * false.
   */
  readonly journal?: boolean
  /** Age from which the broker removes events from the journal, in milliseconds. Default: no limit. */
  readonly journalMaxAgeMs?: number
  /** Approximate size to which the broker limits the journal, in bytes. Default: no limit. */
  readonly journalMaxBytes?: number
  /** Maximum time to connect to one endpoint, in milliseconds. Default 10,000. */
  readonly connectTimeoutMs?: number
  /** Minimum wait between two attempts to reconnect, before jitter, in milliseconds. Default 1,000. */
  readonly reconnectDelayMs?: number
  /**
   * Maximum wait between two attempts to reconnect, in milliseconds. The wait is a tenth of the outage so far, within
   * these two limits. Default 60,000.
   */
  readonly maxReconnectDelayMs?: number
  /**
   * Heartbeat interval, in milliseconds. A connection that is silent for two intervals counts as lost. Infinity
   * switches heartbeats off. Default 60,000.
   */
  readonly heartbeatMs?: number
  /** The TLS options of Node.js for the connection. With any TLS option, an `amqp://` URL is used as `amqps://`. */
  readonly sslOptions?: ConnectionOptions
  /** A context made by `tls.createSecureContext`. It takes precedence over the files. */
  readonly sslContext?: SecureContext
  /** Refuses a server whose certificate is not trusted or names another host. Default true. */
  readonly verifySsl?: boolean
  /** PEM file with the certificates to trust. */
  readonly caFile?: string
  /** PEM file with the client's certificate. */
  readonly certFile?: string
  /** PEM file with the client's private key. */
  readonly keyFile?: string
}

const ownDefaults = {
  rabbitmqUrl: 'amqp://guest:guest@localhost:5672/' as string | readonly string[],
  exchangeName: 'events',
  exchangeType: 'topic' as RabbitMQExchangeType,
  consumerName: undefined as string | undefined,
  prefetchCount: 10,
  routingKeyPattern: undefined as string | undefined,
  headersMatch: undefined as HeadersMatch | undefined,
  queueType: 'classic' as 'classic' | 'quorum',
  durable: true,
  singleActiveConsumer: false,
  autoDelete: false,
  requireRoute: false,
  batchSize: 100,
  maxConcurrentPublishes: 10,
  dlqExchangeSuffix: '_dlq',
  dlqMessageTtlMs: undefined as number | undefined,
  dlqMaxLength: undefined as number | undefined,
  journal: false,
  journalMaxAgeMs: undefined as number | undefined,
  journalMaxBytes: undefined as number | undefined,
  connectTimeoutMs: 10_000,
  reconnectDelayMs: 1000,
  maxReconnectDelayMs: 60_000,
  heartbeatMs: 60_000,
  sslOptions: undefined as ConnectionOptions | undefined,
  sslContext: undefined as SecureContext | undefined,
  verifySsl: true,
  caFile: undefined as string | undefined,
  certFile: undefined as string | undefined,
  keyFile: undefined as string | undefined,
}

export const rabbitmqDefaults = { ...brokerDefaults, ...partitionDefaults, ...ownDefaults }

/** Largest prefetch that AMQP can encode. */
const MAX_PREFETCH = 65_535

export const rabbitmqRules: Readonly<Record<keyof typeof rabbitmqDefaults, OptionRule>> = {
  ...brokerRules,
  ...partitionRules,
  rabbitmqUrl: {
    rule:
      'a URL that starts with amqp:// or amqps://, or a non-empty array of such URLs; it may have the parameters ' +
      `${URL_PARAMETERS.join(', ')} (heartbeat is the option heartbeatMs)`,
    isValid: (value) =>
      Array.isArray(value) ? value.length > 0 && value.every(isAmqpUrl) : isAmqpUrl(value),
    hasCredentials: true,
  },
  exchangeName: {
    rule: "a non-empty string that does not start with 'amq.'",
    isValid: (value) => nonEmptyText.isValid(value) && !String(value).startsWith('amq.'),
  },
  exchangeType: oneOf('topic', 'direct', 'fanout', 'headers'),
  consumerName: optional(nonEmptyText),
  prefetchCount: {
    rule: `an integer from 1 to ${MAX_PREFETCH}`,
    isValid: (value) => positiveInteger.isValid(value) && Number(value) <= MAX_PREFETCH,
  },
  routingKeyPattern: {
    rule: 'a string of at most 255 bytes',
    isValid: (value) => value === undefined || (typeof value === 'string' && Buffer.byteLength(value) <= 255),
  },
  headersMatch: optional(objectWith('an object of headers to match')),
  queueType: oneOf('classic', 'quorum'),
  durable: booleanOption,
  singleActiveConsumer: booleanOption,
  autoDelete: booleanOption,
  requireRoute: booleanOption,
  batchSize: positiveInteger,
  maxConcurrentPublishes: positiveInteger,
  dlqExchangeSuffix: nonEmptyText,
  dlqMessageTtlMs: optional(durationMs),
  dlqMaxLength: optional(positiveInteger),
  journal: booleanOption,
  journalMaxAgeMs: optional(durationMs),
  journalMaxBytes: optional(positiveInteger),
  connectTimeoutMs: durationMs,
  reconnectDelayMs: durationMs,
  maxReconnectDelayMs: durationMs,
  heartbeatMs: {
    rule: 'whole seconds in milliseconds (1000, 2000 ... 65535000), or Infinity for none',
    isValid: (value) =>
      value === Number.POSITIVE_INFINITY ||
      (positiveInteger.isValid(value) && Number(value) % 1000 === 0 && Number(value) <= 65_535_000),
  },
  sslOptions: { ...optional(objectWith("an object with Node's TLS options")), isSecret: true },
  sslContext: optional(objectWith('a context made by tls.createSecureContext')),
  verifySsl: booleanOption,
  caFile: optional(pemPath),
  certFile: optional(pemPath),
  keyFile: optional(pemPath),
}

/** The options with all defaults, and values that are derived from them. */
export interface ResolvedRabbitMQOptions extends Readonly<typeof rabbitmqDefaults> {
  readonly consumerName: string
  readonly names: RabbitMQNames
  /** True if the group has a queue for each partition. A group that wants no order shares one queue. */
  readonly isPartitioned: boolean
  readonly endpoints: readonly Endpoint[]
  /** The addresses of all endpoints, for log lines and errors. */
  readonly address: string
}

/** @throws ConfigError with every fault. */
export function resolveRabbitMQOptions(given: RabbitMQEventBusOptions): ResolvedRabbitMQOptions {
  const resolved = resolveOptions('RabbitMQEventBus', given, rabbitmqDefaults, rabbitmqRules)
  const options = ofInstance(withBroadcast('RabbitMQEventBus', given, resolved))
  const names = namesOf(options, options.consumerGroup)
  const faults = contradictions(options, names)
  if (faults.length > 0) throw new ConfigError('RabbitMQEventBus', faults)
  const { rabbitmqUrl, partitions } = options
  const keepsOrder = orderingOf(options) === 'aggregate'
  const urls = typeof rabbitmqUrl === 'string' ? [rabbitmqUrl] : rabbitmqUrl
  const endpoints = urls.map((url) => endpointOf(url, options))
  return Object.freeze({
    ...options,
    prefetchCount: prefetchFor(given, options),
    singleActiveConsumer: options.singleActiveConsumer || keepsOrder,
    isPartitioned: keepsOrder && partitions > 1,
    consumerName: options.consumerName ?? `${hostname()}-${randomUUID().slice(0, 8)}`,
    names,
    endpoints,
    address: endpoints.map(({ address }) => address).join(', '),
  })
}

/**
 * The queue of an instance that broadcasts expires, but survives a short loss of the connection. It has one consumer, which
 * keeps the order without partitions.
 */
function ofInstance(options: Readonly<typeof rabbitmqDefaults>): Readonly<typeof rabbitmqDefaults> {
  if (!options.broadcast) return options
  const alone = { singleActiveConsumer: false, partitions: 1, ordering: undefined } as const
  return { ...options, ...alone, queueType: 'classic', autoDelete: false }
}

/** If `prefetchCount` is not set, it is at least `concurrency`, so that all slots can be used. */
function prefetchFor(given: RabbitMQEventBusOptions, options: Readonly<typeof rabbitmqDefaults>): number {
  const { concurrency, prefetchCount } = options
  // A program without types may pass null.
  const isDefault = (given?.prefetchCount ?? undefined) === undefined
  const isRaised = isDefault && (given?.concurrency ?? undefined) !== undefined
  return isRaised ? Math.min(MAX_PREFETCH, Math.max(prefetchCount, concurrency)) : prefetchCount
}

function contradictions(options: Readonly<typeof rabbitmqDefaults>, names: RabbitMQNames): readonly string[] {
  const { exchangeType, headersMatch, queueType, durable, autoDelete, certFile, keyFile } = options
  const faults: string[] = []
  if (headersMatch !== undefined && exchangeType !== 'headers') {
    faults.push(`headersMatch needs exchangeType 'headers', got '${exchangeType}'`)
  }
  if (queueType === 'quorum' && !durable) faults.push("queueType 'quorum' needs durable true")
  if (queueType === 'quorum' && autoDelete) faults.push("queueType 'quorum' needs autoDelete false")
  if (options.partitions > 1 && autoDelete) faults.push('partitions needs autoDelete false')
  if (options.singleActiveConsumer && options.ordering === 'none') {
    faults.push("singleActiveConsumer needs ordering 'aggregate', got 'none'")
  }
  if (options.journal && exchangeType === 'direct') {
    faults.push(
      "journal needs an exchangeType other than 'direct', which passes events only to queues bound to their type",
    )
  }
  if (options.journal && !durable) faults.push('journal needs durable true')
  if (options.journal && autoDelete) faults.push('journal needs autoDelete false')
  if ((certFile === undefined) !== (keyFile === undefined)) {
    faults.push('certFile and keyFile must be given together')
  }
  const nameFault = faultOfNames(names)
  if (nameFault !== undefined) faults.push(`exchangeName, consumerGroup and dlqExchangeSuffix ${nameFault}`)
  return faults
}
