import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { type BrokerOptions, brokerDefaults, brokerRules } from '../bus/broker-options.ts'
import {
  booleanOption,
  delayMs,
  durationMs,
  nonEmptyText,
  type OptionRule,
  objectWith,
  oneOf,
  optional,
  positiveInteger,
  resolveOptions,
} from '../kit/options.ts'
import type { ServerAddress } from '../transport/transport.ts'
import type { DuplicableRedisClient } from './client/client.ts'

/** Options of {@link RedisEventBus}. Names and defaults are eventsource-py's, durations in milliseconds. */
export interface RedisEventBusOptions extends BrokerOptions {
  /** `redis://` or, with TLS, `rediss://`; may hold user name, password and database. Default `redis://localhost:6379`. */
  readonly redisUrl?: string
  /** User name, where it is not in the URL. */
  readonly username?: string
  /** Password, where it is not in the URL. */
  readonly password?: string
  /** Node's TLS options (`ca`, `cert`, `key`, `servername` ...) for a `rediss://` URL. */
  readonly tls?: object
  /** A node-redis client to duplicate the connections from, instead of `redisUrl`. It is not used or closed itself. */
  readonly client?: DuplicableRedisClient
  /** The stream is `{streamPrefix}:stream`. Default `'events'`. */
  readonly streamPrefix?: string
  /** Put the prefix in braces, so that all keys lie in one slot of a Redis Cluster. Default false. */
  readonly useHashTag?: boolean
  /** Name of this consumer in its group, unique among those that live. Default: host name and a random part. */
  readonly consumerName?: string
  /** Events per read. Default 100. */
  readonly batchSize?: number
  /** Longest time one read waits for events, in milliseconds; at most half of `pendingIdleMs`. Default 5,000. */
  readonly blockMs?: number
  /**
   * Messages of a consumer that has not renewed its lease for so long, in milliseconds, are taken over. A living
   * process renews its leases, so this is no limit on a handler. Default 60,000.
   */
  readonly pendingIdleMs?: number
  /** Dead letters are in `{streamPrefix}:stream{dlqStreamSuffix}`. Default `'_dlq'`. */
  readonly dlqStreamSuffix?: string
  /** A connection silent for so long, in milliseconds, counts as dead; waiting for events is not silence. Default 5,000. */
  readonly socketTimeoutMs?: number
  /** Longest time to connect, in milliseconds. Default 5,000. */
  readonly socketConnectTimeoutMs?: number
  /** Retry states are kept under `{streamPrefix}:{retryKeyPrefix}:{group}:{id}`. Default `'retry'`. */
  readonly retryKeyPrefix?: string
  /** How long a retry state is kept, in milliseconds. Default 86,400,000 (a day). */
  readonly retryKeyExpiryMs?: number
  /** Trim the stream to about so many events. Default: never. */
  readonly maxLength?: number
  /** Trim events older than so many milliseconds. Default: never. */
  readonly maxAgeMs?: number
  /** How often the stream is trimmed, in milliseconds. Default 10,000. */
  readonly trimIntervalMs?: number
  /**
   * `'acknowledged'` (default) trims only what every group has acknowledged; `'unsafe'` trims what a group may still
   * need.
   */
  readonly trim?: 'acknowledged' | 'unsafe'
}

const ownDefaults = {
  redisUrl: 'redis://localhost:6379',
  username: undefined as string | undefined,
  password: undefined as string | undefined,
  tls: undefined as object | undefined,
  client: undefined as DuplicableRedisClient | undefined,
  streamPrefix: 'events',
  useHashTag: false,
  consumerName: undefined as string | undefined,
  batchSize: 100,
  blockMs: 5000,
  pendingIdleMs: 60_000,
  dlqStreamSuffix: '_dlq',
  socketTimeoutMs: 5000,
  socketConnectTimeoutMs: 5000,
  retryKeyPrefix: 'retry',
  retryKeyExpiryMs: 86_400_000,
  maxLength: undefined as number | undefined,
  maxAgeMs: undefined as number | undefined,
  trimIntervalMs: 10_000,
  trim: 'acknowledged',
}

const defaults = { ...brokerDefaults, ...ownDefaults }

const redisUrl: OptionRule = {
  rule: 'a URL that begins with redis:// or rediss://',
  isValid: (value) => typeof value === 'string' && /^rediss?:\/\//.test(value) && URL.canParse(value),
  // It may hold a password.
  isSecret: true,
}

const rules: Readonly<Record<keyof typeof defaults, OptionRule>> = {
  ...brokerRules,
  redisUrl,
  username: optional(nonEmptyText),
  password: { ...optional(nonEmptyText), isSecret: true },
  tls: optional(objectWith("an object with Node's TLS options")),
  client: optional(objectWith('a node-redis client', 'duplicate')),
  streamPrefix: nonEmptyText,
  useHashTag: booleanOption,
  consumerName: optional(nonEmptyText),
  batchSize: positiveInteger,
  blockMs: durationMs,
  pendingIdleMs: durationMs,
  dlqStreamSuffix: nonEmptyText,
  socketTimeoutMs: durationMs,
  socketConnectTimeoutMs: durationMs,
  retryKeyPrefix: nonEmptyText,
  retryKeyExpiryMs: durationMs,
  maxLength: optional(positiveInteger),
  maxAgeMs: optional(delayMs),
  trimIntervalMs: durationMs,
  trim: oneOf('acknowledged', 'unsafe'),
}

/** The options, complete: with a consumer name and the names of all keys. */
export interface ResolvedRedisOptions extends Readonly<typeof defaults> {
  readonly consumerName: string
  readonly keys: RedisKeys
  /** Undefined where the client was given. */
  readonly server: ServerAddress | undefined
  /** Host and port, for messages. */
  readonly address: string
}

/** Names of the keys on Redis. */
export interface RedisKeys {
  readonly stream: string
  readonly deadLetters: string
  /** The stream of replays of one group. */
  replays(group: string): string
  /** The state of a retried message of one group. */
  retry(group: string, id: string): string
}

/** @throws ConfigError with every fault. */
export function resolveRedisOptions(given: RedisEventBusOptions): ResolvedRedisOptions {
  const options = resolveOptions('RedisEventBus', given, defaults, rules)
  const consumerName = options.consumerName ?? `${hostname()}-${randomUUID().slice(0, 8)}`
  const url = new URL(options.redisUrl)
  const server =
    options.client === undefined
      ? { host: url.hostname, port: url.port === '' ? 6379 : Number(url.port) }
      : undefined
  const address = server === undefined ? 'the given client' : `${server.host}:${server.port}`
  return Object.freeze({ ...options, consumerName, server, address, keys: keysOf(options) })
}

function keysOf(options: Readonly<typeof defaults>): RedisKeys {
  const { streamPrefix, useHashTag, dlqStreamSuffix, retryKeyPrefix } = options
  const prefix = useHashTag ? `{${streamPrefix}}` : streamPrefix
  const stream = `${prefix}:stream`
  return {
    stream,
    deadLetters: `${stream}${dlqStreamSuffix}`,
    replays: (group) => `${stream}:replay:${group}`,
    retry: (group, id) => `${prefix}:${retryKeyPrefix}:${group}:${id}`,
  }
}
