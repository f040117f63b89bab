import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { withBroadcast } from '../bus/broadcast.ts'
import { type BrokerOptions, brokerDefaults, brokerRules } from '../bus/broker-options.ts'
import {
  type Ordering,
  orderingOf,
  type PartitionOptions,
  partitionDefaults,
  partitionRules,
} from '../bus/partition-options.ts'
import { ConfigError } from '../errors.ts'
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
  positiveIntegerOrInfinity,
  resolveOptions,
} from '../kit/options.ts'
import type { ServerAddress } from '../transport/transport.ts'
import type { DuplicableRedisClient } from './client/client.ts'
import { foreignClient, isNodeRedisClient } from './client/given-client.ts'

/** Options of {@link RedisEventBus}. Names and defaults are those of eventsource-py, with durations in milliseconds. */
export interface RedisEventBusOptions extends BrokerOptions, PartitionOptions {
  /**
   * The server: `redis://` or, with TLS, `rediss://`. It may include user name, password and database. Default
   * `redis://localhost:6379`.
   */
  readonly redisUrl?: string
  /** User name, if it is not in the URL. */
  readonly username?: string
  /** Password, if it is not in the URL. */
  readonly password?: string
  /** TLS options of Node.js (`ca`, `cert`, `key`, `servername` ...) for a `rediss://` URL. */
  readonly tls?: object
  /** A node-redis client to duplicate, instead of `redisUrl`. The bus neither uses nor closes the client itself. */
  readonly client?: DuplicableRedisClient
  /**
   * Prefix of all keys; the stream is `{streamPrefix}:stream`. With several partitions, there is one stream for each,
   * such as `{streamPrefix}:stream:0of8`. Default `'events'`.
   */
  readonly streamPrefix?: string
  /**
   * Puts the prefix in braces, so that all keys are in one slot of a Redis Cluster. Default true if `partitions` is
   * larger than 1, else false.
   */
  readonly useHashTag?: boolean
  /**
   * Name of this consumer in its group. No two running consumers of a group may have the same name, because they would
   * take over each other's entries. The second one emits the notice `consumerNameTaken`. Default: the host name and a
   * random part.
   */
  readonly consumerName?: string
  /**
   * Where a new consumer group starts: at the earliest event that the stream still has, or with the events that are
   * published after the group was created. An existing group continues at its position. Default `'earliest'`.
   */
  readonly startFrom?: 'earliest' | 'latest'
  /** Maximum number of events per read. Default 100. */
  readonly batchSize?: number
  /**
   * Maximum size of an entry that is read from the stream, in bytes of names and values; Infinity for no limit. A
   * larger entry becomes a dead letter, which Redis copies without sending it to the bus. Default 20,971,520 (20 MiB).
   */
  readonly maxEntryBytes?: number
  /**
   * Maximum time that one read waits for events, in milliseconds, limited to half of `pendingIdleMs`. Default 5,000.
   */
  readonly blockMs?: number
  /**
   * Duration of a lease, in milliseconds. If a consumer does not renew the lease of an entry for this time, another
   * consumer takes the entry over. A running process renews its leases, so this does not limit handlers. Default
   * 60,000.
   */
  readonly pendingIdleMs?: number
  /** Suffix of the dead letter stream, `{streamPrefix}:stream{dlqStreamSuffix}`. Default `'_dlq'`. */
  readonly dlqStreamSuffix?: string
  /**
   * Maximum wait for a reply, in milliseconds, before the connection counts as dead. For a read that waits for events,
   * `blockMs` is added. Default 5,000.
   */
  readonly socketTimeoutMs?: number
  /** Maximum time to connect, in milliseconds. Default 5,000. */
  readonly socketConnectTimeoutMs?: number
  /** Part of the keys of retry states, `{streamPrefix}:{retryKeyPrefix}:{group}:{id}`. Default `'retry'`. */
  readonly retryKeyPrefix?: string
  /** Time after which Redis removes a retry state, in milliseconds. Default 86,400,000 (one day). */
  readonly retryKeyExpiryMs?: number
  /** Approximate length to which the stream is trimmed. Default: no limit. */
  readonly maxLength?: number
  /** Age from which events are trimmed, in milliseconds. Default: no limit. */
  readonly maxAgeMs?: number
  /** Interval between two trims, in milliseconds. Default 10,000. */
  readonly trimIntervalMs?: number
  /**
   * `'acknowledged'` (default) trims only events that every group has acknowledged. `'unsafe'` also trims events that a
   * group may still need.
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
  useHashTag: undefined as boolean | undefined,
  consumerName: undefined as string | undefined,
  batchSize: 100,
  maxEntryBytes: 20 * 1024 * 1024,
  startFrom: 'earliest' as 'earliest' | 'latest',
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

export const redisDefaults = { ...brokerDefaults, ...partitionDefaults, ...ownDefaults }

const redisUrl: OptionRule = {
  rule: 'a URL that starts with redis:// or rediss://, with at most the number of a database as its path',
  isValid: (value) => {
    if (typeof value !== 'string' || !/^rediss?:\/\//.test(value) || !URL.canParse(value)) return false
    const { pathname, search, hash } = new URL(value)
    // The client ignores a query.
    return /^\/?\d*$/.test(pathname) && search === '' && hash === ''
  },
  hasCredentials: true,
}

const nodeRedisClient: OptionRule = {
  rule: 'a client of node-redis (createClient of the npm package redis, version 5 or newer)',
  isValid: isNodeRedisClient,
  explain: (value) => `${foreignClient(value) ?? 'Create one, or set redisUrl'}`,
}

export const redisRules: Readonly<Record<keyof typeof redisDefaults, OptionRule>> = {
  ...brokerRules,
  ...partitionRules,
  redisUrl,
  username: optional(nonEmptyText),
  password: { ...optional(nonEmptyText), isSecret: true },
  tls: { ...optional(objectWith("an object with Node's TLS options")), isSecret: true },
  client: optional(nodeRedisClient),
  streamPrefix: nonEmptyText,
  useHashTag: optional(booleanOption),
  consumerName: optional(nonEmptyText),
  batchSize: positiveInteger,
  maxEntryBytes: positiveIntegerOrInfinity,
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
  startFrom: oneOf('earliest', 'latest'),
}

/** The options with all defaults, a consumer name and the names of all keys. */
export interface ResolvedRedisOptions extends Readonly<typeof redisDefaults> {
  readonly consumerName: string
  /** True if the user chose the consumer name, so that two processes may have the same one. */
  readonly isNameGiven: boolean
  readonly keys: RedisKeys
  readonly ordering: Ordering
  /** Undefined if the option `client` is used. */
  readonly server: ServerAddress | undefined
  /** Host and port, for error messages. */
  readonly address: string
}

/** The names of the bus's keys on Redis. */
export interface RedisKeys {
  /** The stream of events. With several partitions, the common part of the names of their streams. */
  readonly stream: string
  /** The streams of events, by partition. */
  readonly streams: readonly [string, ...string[]]
  readonly deadLetters: string
  /** The places that dead letters hold in orders of their aggregates, by the ids of the dead letters. */
  readonly parked: string
  /** The replay stream of a group, for one partition. */
  replays(group: string, partition?: number): string
  /** The retry state of a message in a group. */
  retry(group: string, id: string): string
  /** The process that uses a consumer name in a group. */
  consumer(group: string, name: string): string
  /** When each waiting entry of a group is due. */
  waiting(group: string): string
  /** Since when each waiting entry of a group waits. */
  waitingSince(group: string): string
  /** The copy of an entry that waits, by its member in the due times. */
  waitingEntry(group: string, member: string): string
  /** The waiting entries of a handler and an aggregate that keep their order. */
  waitingOrder(group: string, handlerName: string, key: string): string
  /** When the next run of a handler may start that has a rate for the whole group. */
  rate(group: string, handlerName: string): string
  /** The event types that the members of a group have announced. */
  types(group: string): string
  /** Whether a group is paused. */
  control(group: string): string
  /** The reports of all processes. */
  readonly presence: string
  /** The living members of a group. */
  members(group: string): string
  /** The owner of each partition, in a group. */
  leases(group: string): string
  /** The consumers of a group that died or stopped, and left entries. */
  departed(group: string): string
}

/** @throws ConfigError with every fault. */
export function resolveRedisOptions(given: RedisEventBusOptions): ResolvedRedisOptions {
  const resolved = resolveOptions('RedisEventBus', given, redisDefaults, redisRules)
  const options = withBroadcast('RedisEventBus', given, resolved)
  const consumerName = options.consumerName ?? `${hostname()}-${randomUUID().slice(0, 8)}`
  const url = new URL(options.redisUrl)
  const faults = contradictions(url, given)
  if (faults.length > 0) throw new ConfigError('RedisEventBus', faults)
  const server =
    options.client === undefined
      ? { host: url.hostname, port: url.port === '' ? 6379 : Number(url.port) }
      : undefined
  const address = server === undefined ? 'the given client' : `${server.host}:${server.port}`
  const isNameGiven = options.consumerName !== undefined
  return Object.freeze({
    ...options,
    consumerName,
    isNameGiven,
    server,
    address,
    ordering: orderingOf(options),
    keys: keysOf(options),
  })
}

/** What the URL and the other options say differently. Shows no value, because it may be a secret. */
function contradictions(url: URL, given: RedisEventBusOptions): readonly string[] {
  const isGiven = (name: keyof RedisEventBusOptions) => (given?.[name] ?? undefined) !== undefined
  const faults: string[] = []
  if (url.protocol === 'redis:' && isGiven('redisUrl') && isGiven('tls'))
    faults.push('tls needs a redisUrl that starts with rediss://')
  for (const name of ['username', 'password'] as const) {
    if (url[name] === '' || !isGiven(name) || plain(url[name]) === given?.[name]) continue
    faults.push(`${name} differs from the one in redisUrl: pass one of them`)
  }
  if (!isGiven('client')) return faults
  const others = (['redisUrl', 'username', 'password', 'tls'] as const).filter(isGiven)
  if (others.length > 0) faults.push(`client has a server of its own: omit ${others.join(', ')}`)
  return faults
}

/** A part of a URL, decoded if that is possible. */
function plain(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function keysOf(options: Readonly<typeof redisDefaults>): RedisKeys {
  const { streamPrefix, dlqStreamSuffix, retryKeyPrefix, partitions } = options
  const useHashTag = options.useHashTag ?? partitions > 1
  const prefix = useHashTag ? `{${streamPrefix}}` : streamPrefix
  const stream = `${prefix}:stream`
  // The number of partitions is in the names, so that two numbers never share a stream or its consumers.
  const shared = partitions === 1 ? stream : `${stream}:of${partitions}`
  const nameOf = (index: number) => (partitions === 1 ? stream : `${stream}:${index}of${partitions}`)
  const others = Array.from({ length: partitions - 1 }, (_, index) => nameOf(index + 1))
  const streams: readonly [string, ...string[]] = [nameOf(0), ...others]
  return {
    stream,
    streams,
    deadLetters: `${stream}${dlqStreamSuffix}`,
    parked: `${stream}${dlqStreamSuffix}:parked`,
    replays: (group, partition = 0) => `${nameOf(partition)}:replay:${group}`,
    retry: (group, id) => `${prefix}:${retryKeyPrefix}:${group}:${id}`,
    waiting: (group) => `${stream}:waiting:${group}`,
    waitingSince: (group) => `${stream}:waiting-since:${group}`,
    waitingEntry: (group, member) => `${stream}:waiting-entry:${group}:${member}`,
    waitingOrder: (group, handlerName, key) => `${stream}:waiting-order:${group}:${handlerName}:${key}`,
    rate: (group, handlerName) => `${stream}:rate:${group}:${handlerName}`,
    presence: `${stream}:presence`,
    control: (group) => `${stream}:control:${group}`,
    types: (group) => `${stream}:types:${group}`,
    consumer: (group, name) => `${stream}:consumer:${group}:${name}`,
    members: (group) => `${shared}:members:${group}`,
    leases: (group) => `${shared}:leases:${group}`,
    departed: (group) => `${shared}:departed:${group}`,
  }
}
