import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { ConnectionOptions, SecureContext } from 'node:tls'
import { type BrokerOptions, brokerDefaults, brokerRules } from '../bus/broker-options.ts'
import { ConfigError } from '../errors.ts'
import {
  booleanOption,
  durationMs,
  nonEmptyText,
  type OptionRule,
  objectWith,
  oneOf,
  optional,
  positiveInteger,
  resolveOptions,
} from '../kit/options.ts'
import { type Endpoint, endpointOf, isAmqpUrl } from './client/url.ts'

export type RabbitMQExchangeType = 'topic' | 'direct' | 'fanout' | 'headers'

/** What the headers of a message must be to reach a queue; see `x-match` in the broker's documentation. */
export interface HeadersMatch {
  /** Whether all (default) or any of the headers must match; `-with-x` counts those that begin with `x-` too. */
  readonly 'x-match'?: 'all' | 'any' | 'all-with-x' | 'any-with-x'
  readonly [header: string]: string | number | boolean | undefined
}

/** Options of {@link RabbitMQEventBus}. Names and defaults are eventsource-py's, durations in milliseconds. */
export interface RabbitMQEventBusOptions extends BrokerOptions {
  /**
   * `amqp://` or, with TLS, `amqps://`, with user name, password and virtual host; several for the nodes of a
   * cluster, tried in turn. Default `amqp://guest:guest@localhost:5672/`.
   */
  readonly rabbitmqUrl?: string | readonly string[]
  /** Events go to this exchange; the queue of a group is `{exchangeName}.{consumerGroup}`. Default `'events'`. */
  readonly exchangeName?: string
  /** Default `'topic'`. */
  readonly exchangeType?: RabbitMQExchangeType
  /** Name of this consumer on its connections. Default: host name and a random part. */
  readonly consumerName?: string
  /** Messages held by this consumer at most; never more than `maxInFlight`. Default 10. */
  readonly prefetchCount?: number
  /**
   * What the queue is bound with. By default a topic exchange gets `#`, a direct one the queue's name and the keys
   * (`{aggregateType}.{eventType}`) of the subscribed event classes, fanout and headers everything. Given, it is the
   * only binding; an empty string is none, for `bindEventType` and its like.
   */
  readonly routingKeyPattern?: string
  /** What the queue is bound with on a headers exchange. Default: everything. */
  readonly headersMatch?: HeadersMatch
  /** `'classic'` (default) shares its queue with eventsource-py; `'quorum'` survives the loss of a node. */
  readonly queueType?: 'classic' | 'quorum'
  /** Exchange and queue survive a restart of the broker. Default true. */
  readonly durable?: boolean
  /**
   * Declares the group's queue so that it gives messages to one consumer at a time, and to the next only when it has back
   * what the one before had in hand: order per aggregate then holds across the group, also when a connection breaks. The
   * other consumers stand by. Default false: consumers share the work.
   */
  readonly singleActiveConsumer?: boolean
  /** Exchange and queue are deleted with their last binding or consumer. Default false. */
  readonly autoDelete?: boolean
  /** Reject the publish of an event that no queue is bound for; otherwise it is counted and logged. Default false. */
  readonly requireRoute?: boolean
  /** Messages that leave in one go. With `maxConcurrentPublishes` it bounds what is unconfirmed. Default 100. */
  readonly batchSize?: number
  /** Batches that may be unconfirmed at the same time, over all publishes. Default 10. */
  readonly maxConcurrentPublishes?: number
  /** Dead letters go through the exchange `{exchangeName}{dlqExchangeSuffix}`. Default `'_dlq'`. */
  readonly dlqExchangeSuffix?: string
  /** Dead letters older than so many milliseconds are dropped. Default: never. */
  readonly dlqMessageTtlMs?: number
  /** Dead letters kept at most; then the oldest is dropped. Default: no limit. */
  readonly dlqMaxLength?: number
  /** Longest time to connect, in milliseconds. Default 10,000. */
  readonly connectTimeoutMs?: number
  /** Longest wait between two attempts to reconnect at first, in milliseconds. Default 1,000. */
  readonly reconnectDelayMs?: number
  /**
   * Longest wait between two attempts to reconnect, in milliseconds, that it grows to: a tenth of the outage so far.
   * Default 60,000.
   */
  readonly maxReconnectDelayMs?: number
  /** A connection silent for twice as long, in milliseconds, is dead; Infinity switches it off. Default 60,000. */
  readonly heartbeatMs?: number
  /** Node's options of a TLS connection. Any TLS option makes an `amqp://` URL an `amqps://` one. */
  readonly sslOptions?: ConnectionOptions
  /** A context that `tls.createSecureContext` made; wins over the files. */
  readonly sslContext?: SecureContext
  /** Refuse a server whose certificate is not trusted or of another name. Default true. */
  readonly verifySsl?: boolean
  /** PEM file with the certificates to trust. */
  readonly caFile?: string
  /** PEM file with the client's certificate. */
  readonly certFile?: string
  /** PEM file with its key. */
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

const defaults = { ...brokerDefaults, ...ownDefaults }

/** The size of a prefetch on the wire. */
const MAX_PREFETCH = 65_535

const rules: Readonly<Record<keyof typeof defaults, OptionRule>> = {
  ...brokerRules,
  rabbitmqUrl: {
    rule: 'a URL that begins with amqp:// or amqps://, or a non-empty array of such',
    isValid: (value) =>
      Array.isArray(value) ? value.length > 0 && value.every(isAmqpUrl) : isAmqpUrl(value),
    // It may hold a password.
    isSecret: true,
  },
  exchangeName: {
    rule: "a non-empty string that does not begin with 'amq.'",
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
  connectTimeoutMs: durationMs,
  reconnectDelayMs: durationMs,
  maxReconnectDelayMs: durationMs,
  heartbeatMs: {
    rule: 'whole seconds in milliseconds (1000, 2000 ... 65535000), or Infinity for none',
    isValid: (value) =>
      value === Number.POSITIVE_INFINITY ||
      (positiveInteger.isValid(value) && Number(value) % 1000 === 0 && Number(value) <= 65_535_000),
  },
  sslOptions: optional(objectWith("an object with Node's TLS options")),
  sslContext: optional(objectWith('a context made by tls.createSecureContext')),
  verifySsl: booleanOption,
  caFile: optional(nonEmptyText),
  certFile: optional(nonEmptyText),
  keyFile: optional(nonEmptyText),
}

/** Names on the broker. */
export interface RabbitMQNames {
  readonly exchange: string
  readonly queue: string
  readonly deadLetterExchange: string
  readonly deadLetterQueue: string
  /** Keeps which bindings the group has set; see `RabbitMQBindings`. */
  readonly bindingsQueue: string
  /** Keeps which groups have dead letter queues; see `RabbitMQGroups`. */
  readonly groupsQueue: string
}

/** The options, complete: with a consumer name, the names on the broker, and where to connect. */
export interface ResolvedRabbitMQOptions extends Readonly<typeof defaults> {
  readonly consumerName: string
  readonly names: RabbitMQNames
  readonly endpoints: readonly Endpoint[]
  /** All hosts and ports, for messages. */
  readonly address: string
}

/** @throws ConfigError with every fault. */
export function resolveRabbitMQOptions(given: RabbitMQEventBusOptions): ResolvedRabbitMQOptions {
  const options = resolveOptions('RabbitMQEventBus', given, defaults, rules)
  const names = namesOf(options, options.consumerGroup)
  const faults = contradictions(options, names)
  if (faults.length > 0) throw new ConfigError('RabbitMQEventBus', faults)
  const { rabbitmqUrl } = options
  const urls = typeof rabbitmqUrl === 'string' ? [rabbitmqUrl] : rabbitmqUrl
  const endpoints = urls.map((url) => endpointOf(url, options))
  return Object.freeze({
    ...options,
    consumerName: options.consumerName ?? `${hostname()}-${randomUUID().slice(0, 8)}`,
    names,
    endpoints,
    address: endpoints.map(({ address }) => address).join(', '),
  })
}

/** The names of a group. */
export function namesOf(
  { exchangeName, dlqExchangeSuffix }: Pick<typeof defaults, 'exchangeName' | 'dlqExchangeSuffix'>,
  group: string,
): RabbitMQNames {
  const queue = `${exchangeName}.${group}`
  const deadLetterExchange = `${exchangeName}${dlqExchangeSuffix}`
  return {
    exchange: exchangeName,
    queue,
    deadLetterExchange,
    deadLetterQueue: `${queue}.dlq`,
    bindingsQueue: `${queue}.bindings`,
    groupsQueue: `${deadLetterExchange}.groups`,
  }
}

/** Longest name of an exchange or queue, in bytes, with room for what is made of the queue's name. */
const MAX_NAME_BYTES = 200

function contradictions(options: Readonly<typeof defaults>, names: RabbitMQNames): readonly string[] {
  const { exchangeType, headersMatch, queueType, durable, autoDelete, certFile, keyFile } = options
  const faults: string[] = []
  if (headersMatch !== undefined && exchangeType !== 'headers') {
    faults.push(`headersMatch needs exchangeType 'headers', got '${exchangeType}'`)
  }
  if (queueType === 'quorum' && !durable) faults.push("queueType 'quorum' needs durable true")
  if (queueType === 'quorum' && autoDelete) faults.push("queueType 'quorum' needs autoDelete false")
  if ((certFile === undefined) !== (keyFile === undefined)) {
    faults.push('certFile and keyFile must be given together')
  }
  for (const name of [names.queue, names.deadLetterExchange]) {
    if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
      faults.push(
        `exchangeName, consumerGroup and dlqExchangeSuffix must make names of at most ${MAX_NAME_BYTES} bytes`,
      )
      break
    }
  }
  return faults
}
