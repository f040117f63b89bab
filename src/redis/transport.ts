import { toError } from '../errors.ts'
import { ConnectionError } from '../transport/errors.ts'
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
import { RedisLink } from './client/link.ts'
import { RedisConsumption } from './consuming/consumption.ts'
import { RedisDeadLetters } from './dead-letters/dead-letters.ts'
import { commandError } from './errors.ts'
import type { ResolvedRedisOptions } from './options.ts'
import { RedisPublisher } from './publishing/publisher.ts'
import { RedisTrimmer } from './publishing/trimmer.ts'
import { readGroups } from './stream-info.ts'

/** Redis Streams: a stream, consumer groups over it, and a stream of dead letters. */
export class RedisTransport implements Transport {
  readonly system = 'redis'
  readonly destination: string
  readonly server: ServerAddress | undefined
  readonly deadLetters: RedisDeadLetters
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
    this.#options = options
    this.#host = host
    const shared = {
      address,
      createClient: clientFactory({ ...options, url: options.redisUrl }),
      connectTimeoutMs: options.socketConnectTimeoutMs,
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
      // Silence while a read waits for events is as it should be.
      socketTimeoutMs: blockMs + socketTimeoutMs,
      pingMs: undefined,
      // Both connections break together, and the other one tells of it.
      onLost: () => undefined,
      onRestored: () => undefined,
    })
    this.deadLetters = new RedisDeadLetters(options, () => this.client())
    this.#publisher = new RedisPublisher({
      link: this.#commands,
      stream: keys.stream,
      address,
      publishTimeoutMs,
    })
    this.#trimmer = new RedisTrimmer(options, this.#commands, (error) =>
      host.notify({ type: 'readFailed', error: commandError(address, 'XTRIM', error) }),
    )
  }

  /** The connection for commands. @throws ConnectionError while there is none. */
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
    await this.#reader.connect()
    const consumption = this.createConsumption(intake, true)
    await consumption.start()
    this.#consumption = consumption
    return consumption
  }

  /** A consumption that reads new entries, or one that only recovers pending ones. */
  createConsumption(intake: Intake, readsNew: boolean): RedisConsumption {
    return new RedisConsumption({
      options: this.#options,
      commands: this.#commands,
      reader: this.#reader,
      intake,
      host: this.#host,
      readsNew,
    })
  }

  /** The consumption that runs, if one does. */
  get consumption(): RedisConsumption | undefined {
    return this.#consumption
  }

  async lag(): Promise<number | undefined> {
    const { consumerGroup } = this.#options
    const groups = await readGroups(this.client(), this.#options)
    return groups.find(({ name }) => name === consumerGroup)?.lag ?? undefined
  }

  close(): Promise<void> {
    this.#trimmer.stop()
    this.#reader.close()
    this.#commands.close()
    return Promise.resolve()
  }

  async #checkServer(client: RedisClient): Promise<void> {
    const info = await infoOf(client)
    const { address } = this.#options
    const version = info.get('redis_version')
    if (version !== undefined && isOlder(version, 6, 2)) {
      throw new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `Redis at ${address} is version ${version}; RedisEventBus needs Redis 6.2 or newer, or Valkey.`,
      )
    }
    if (info.get('role') === 'slave') {
      throw new ConnectionError(
        'CONNECTION_FAILED',
        `Redis at ${address} is a read-only replica; connect to its primary.`,
      )
    }
    const policy = info.get('maxmemory_policy')
    if (policy?.startsWith('allkeys-') === true && info.get('maxmemory') !== '0') {
      const detail = `maxmemory-policy ${policy} lets Redis at ${address} evict whole streams; use noeviction`
      this.#host.notify({ type: 'readFailed', error: new ConnectionError('TOPOLOGY_CONFLICT', detail) })
    }
  }

  /** A key of another type at the stream's name is found now and not by the first event. */
  async #checkStream(): Promise<void> {
    const { keys, address } = this.#options
    for (const key of [keys.stream, keys.deadLetters]) {
      try {
        const type = await this.client().sendCommand(['TYPE', key])
        if (type === 'stream' || type === 'none') continue
      } catch (error) {
        throw commandError(address, 'TYPE', error)
      }
      throw commandError(address, `using the key ${key}`, new Error('WRONGTYPE'))
    }
  }
}

async function infoOf(client: RedisClient): Promise<ReadonlyMap<string, string>> {
  try {
    const text = String(await client.sendCommand(['INFO']))
    return new Map(text.split('\r\n').map((line) => splitOnce(line)))
  } catch (thrown) {
    // A user without the right to ask is no reason to fail; one without a password is.
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
