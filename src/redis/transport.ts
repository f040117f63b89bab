import { toError } from '../errors.ts'
import type { TransportAdmin } from '../transport/admin.ts'
import type { TransportCheckup } from '../transport/checkup.ts'
import type { GroupControlStore } from '../transport/control.ts'
import { ConnectionError } from '../transport/errors.ts'
import type { PresenceStore } from '../transport/presence.ts'
import type {
  Consumption,
  Intake,
  OutgoingMessage,
  PublishFailure,
  ServerAddress,
  Transport,
  TransportHost,
} from '../transport/transport.ts'
import { clientFactory, type RedisClient } from './client/client.ts'
import { ClusterRoute, hasHashTag } from './client/cluster-route.ts'
import { RedisLink } from './client/link.ts'
import type { ReplyLimits } from './client/reply-guard.ts'
import { readStreamState } from './client/stream-state.ts'
import type { RedisConsumption } from './consuming/consumption.ts'
import { RedisGroupRates } from './consuming/group-rates.ts'
import { RedisGroupTypes } from './consuming/group-types.ts'
import { RedisWaitingEntries } from './consuming/waiting-entries.ts'
import { RedisDeadLetters } from './dead-letters/dead-letters.ts'
import { commandError } from './errors.ts'
import type { ResolvedRedisOptions } from './options.ts'
import { RedisPublisher } from './publishing/publisher.ts'
import { RedisTrimmer } from './publishing/trimmer.ts'

/** The transport over Redis Streams: a stream of events, its consumer groups, and a stream of dead letters. */
export class RedisTransport implements Transport {
  readonly system = 'redis'
  readonly destination: string
  readonly server: ServerAddress | undefined
  readonly consumerName: string
  readonly deadLetters: RedisDeadLetters
  readonly groupTypes: RedisGroupTypes
  readonly waiting: RedisWaitingEntries
  readonly rates: RedisGroupRates
  readonly #options: ResolvedRedisOptions
  readonly #host: TransportHost
  readonly #commands: RedisLink
  readonly #reader: RedisLink
  readonly #publisher: RedisPublisher
  readonly #trimmer: RedisTrimmer
  #consumption: RedisConsumption | undefined

  constructor(options: ResolvedRedisOptions, host: TransportHost) {
    const { address, keys, publishTimeoutMs, socketTimeoutMs, blockMs } = options
    this.destination = keys.stream
    this.server = options.server
    this.consumerName = options.consumerName
    this.#options = options
    this.#host = host
    const shared = {
      address,
      createClient: clientFactory({ ...options, url: options.redisUrl }),
      route: new ClusterRoute(keys.stream),
      connectTimeoutMs: options.socketConnectTimeoutMs,
      replyLimits: replyLimits(options),
    }
    this.#commands = new RedisLink({
      ...shared,
      socketTimeoutMs: undefined,
      pingMs: socketTimeoutMs,
      prepare: (client) => this.#checkServer(client),
      onLost: (error) => host.notify({ type: 'connectionLost', error }),
      onRefused: (error) => host.notify({ type: 'readFailed', error }),
      onRestored: () => host.notify({ type: 'reconnected' }),
    })
    this.#reader = new RedisLink({
      ...shared,
      // A blocking read is silent for up to `blockMs`.
      socketTimeoutMs: blockMs + socketTimeoutMs,
      pingMs: undefined,
      // The command connection reports losses: both connections break together.
      onLost: () => undefined,
      onRestored: () => undefined,
    })
    this.groupTypes = new RedisGroupTypes(options, this.#commands)
    this.rates = new RedisGroupRates(options, this.#commands)
    this.waiting = new RedisWaitingEntries({
      options,
      host,
      commands: this.#commands,
      releaseStale: (group) => this.deadLetters.releaseStale(group),
    })
    this.deadLetters = new RedisDeadLetters(
      options,
      () => this.client(),
      () => this.waiting.onReady?.(),
    )
    this.#publisher = new RedisPublisher({
      link: this.#commands,
      streams: keys.streams,
      address,
      publishTimeoutMs,
    })
    this.#trimmer = new RedisTrimmer({ options, link: this.#commands, host })
  }

  /** The client for commands. @throws ConnectionError while it is not connected. */
  client(): RedisClient {
    return this.#commands.requireClient()
  }

  async connect(): Promise<void> {
    await this.#commands.connect()
    await this.#checkStream()
    this.#trimmer.start()
  }

  publish(messages: readonly OutgoingMessage[], signal: AbortSignal): Promise<readonly PublishFailure[]> {
    return this.#publisher.publish(messages, signal)
  }

  async consume(intake: Intake): Promise<Consumption> {
    const reading = this.#reader.connect()
    if (this.#options.broadcast) {
      await reading
      return this.#broadcast(intake)
    }
    const consumption = await this.createConsumption(intake, true)
    await consumption.start(reading)
    this.#consumption = consumption
    return consumption
  }

  async #broadcast(intake: Intake): Promise<Consumption> {
    const { RedisBroadcast } = await import('./consuming/broadcast.ts')
    const broadcast = new RedisBroadcast({
      options: this.#options,
      commands: this.#commands,
      reader: this.#reader,
      intake,
      host: this.#host,
    })
    await broadcast.start()
    return broadcast
  }

  /** Creates a consumption, which does not start by itself. @param readsNew - false to recover pending entries only. */
  async createConsumption(intake: Intake, readsNew: boolean): Promise<RedisConsumption> {
    const { RedisConsumption } = await import('./consuming/consumption.ts')
    return new RedisConsumption({
      options: this.#options,
      commands: this.#commands,
      reader: this.#reader,
      intake,
      host: this.#host,
      waiting: this.waiting,
      readsNew,
    })
  }

  /** The last consumption that was started. */
  get consumption(): RedisConsumption | undefined {
    return this.#consumption
  }

  async lag(): Promise<number | undefined> {
    const { consumerGroup, keys } = this.#options
    const client = this.client()
    const states = await Promise.all(keys.streams.map((key) => readStreamState(client, key)))
    const lags = states.map((state) => state?.groups.find(({ name }) => name === consumerGroup)?.lag)
    return lags.reduce<number | undefined>(sumIfKnown, 0)
  }

  async loadAdmin(): Promise<TransportAdmin> {
    const { RedisAdmin } = await import('./admin/admin.ts')
    return new RedisAdmin({
      options: this.#options,
      client: () => this.client(),
      deadLetters: this.deadLetters,
    })
  }

  async loadControl(): Promise<GroupControlStore> {
    const { RedisGroupControl } = await import('./consuming/group-control.ts')
    return new RedisGroupControl(this.#options, this.#commands)
  }

  async loadPresence(): Promise<PresenceStore> {
    const { RedisPresence } = await import('./admin/presence.ts')
    return new RedisPresence(this.#options, this.#commands)
  }

  async loadCheckup(): Promise<TransportCheckup> {
    const { RedisCheckup } = await import('./admin/checkup.ts')
    return new RedisCheckup(this.#options)
  }

  async removeAll(): Promise<void> {
    const { removeKeys } = await import('./admin/removal.ts')
    this.#trimmer.stop()
    await removeKeys(this.#options, () => this.client())
  }

  close(): Promise<void> {
    this.#trimmer.stop()
    this.#reader.close()
    this.#commands.close()
    return Promise.resolve()
  }

  async #checkServer(client: RedisClient): Promise<void> {
    const info = await infoOf(client)
    const { address, keys } = this.#options
    const version = info.get('redis_version')
    if (version !== undefined && isOlder(version, 6, 2)) {
      throw new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `Redis at ${address} has version ${version}. RedisEventBus needs Redis 6.2 or newer, or Valkey.`,
      )
    }
    if (info.get('role') === 'slave') {
      throw new ConnectionError(
        'CONNECTION_FAILED',
        `Redis at ${address} is a read-only replica. Connect to its primary.`,
      )
    }
    if (info.get('cluster_enabled') === '1' && !hasHashTag(keys.stream)) {
      throw new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `Redis at ${address} is a Redis Cluster. Set useHashTag, so that all keys of the bus are in one slot.`,
      )
    }
    const policy = info.get('maxmemory_policy')
    if (policy?.startsWith('allkeys-') === true && info.get('maxmemory') !== '0') {
      const text =
        `Redis at ${address} may evict whole streams: its maxmemory-policy is ${policy}. ` +
        'Set it to noeviction.'
      this.#host.notify({ type: 'readFailed', error: new ConnectionError('TOPOLOGY_CONFLICT', text) })
    }
  }

  /** Reports a key of another type at connect, and not with the first event. */
  async #checkStream(): Promise<void> {
    const { keys, address } = this.#options
    const names = [...keys.streams, keys.deadLetters]
    const types = await Promise.all(names.map((key) => this.#typeOf(key)))
    for (const [index, key] of names.entries()) {
      const type = types[index]
      if (type === undefined || type === 'stream' || type === 'none') continue
      throw new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `The key ${key} of Redis at ${address} is a ${type}, not a stream. ` +
          'Choose another streamPrefix or delete the key.',
      )
    }
  }

  async #typeOf(key: string): Promise<string> {
    try {
      return String(await this.client().sendCommand(['TYPE', key]))
    } catch (error) {
      throw commandError(this.#options.address, 'TYPE', error)
    }
  }
}

function sumIfKnown(sum: number | undefined, lag: number | null | undefined): number | undefined {
  return sum === undefined || lag === undefined || lag === null ? undefined : sum + lag
}

/** Maximum part of a reply that is kept, regardless of the limits for an entry and for the messages in flight. */
const MAX_REPLY_BYTES = 1024 * 1024 * 1024
/** A reply of this size is kept even if the messages in flight must be smaller. */
const MIN_REPLY_BYTES = 1024 * 1024

/**
 * A page of entries fits if it does not exceed the limit for messages in flight. A single entry of the maximum size
 * also fits.
 */
function replyLimits({ maxEntryBytes, maxInFlightBytes }: ResolvedRedisOptions): ReplyLimits {
  const wanted = Math.max(maxEntryBytes, Math.min(maxInFlightBytes, MAX_REPLY_BYTES), MIN_REPLY_BYTES)
  return { maxStringBytes: Math.max(maxEntryBytes, MIN_REPLY_BYTES), maxReplyBytes: wanted }
}

async function infoOf(client: RedisClient): Promise<ReadonlyMap<string, string>> {
  try {
    const text = String(await client.sendCommand(['INFO']))
    return new Map(text.split('\r\n').map((line) => splitOnce(line)))
  } catch (thrown) {
    // Without the right to INFO the checks are skipped. A missing password (NOAUTH) is an error.
    if (toError(thrown).message.startsWith('NOPERM')) return new Map()
    throw thrown
  }
}

function splitOnce(line: string): [string, string] {
  const colon = line.indexOf(':')
  return colon < 0 ? [line, ''] : [line.slice(0, colon), line.slice(colon + 1)]
}

function isOlder(version: string, major: number, minor: number): boolean {
  const [ownMajor = 0, ownMinor = 0] = version.split('.').map(Number)
  return ownMajor < major || (ownMajor === major && ownMinor < minor)
}
