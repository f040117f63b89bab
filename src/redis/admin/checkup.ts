import type { GroupInfo } from '../../transport/admin.ts'
import { type Check, checksOf, type TransportCheckup } from '../../transport/checkup.ts'
import { ConnectionError } from '../../transport/errors.ts'
import { clientFactory, type RedisClient } from '../client/client.ts'
import { ClusterRoute } from '../client/cluster-route.ts'
import { RedisLink } from '../client/link.ts'
import { RedisDeadLetters } from '../dead-letters/dead-letters.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { RedisAdmin } from './admin.ts'
import { REDIS_CHECKS, type RedisCheckContext, readInfo } from './checks.ts'

const REPLY_BYTES = 64 * 1024 * 1024
const ignore = () => undefined

/** Checks a server over a connection of its own. The bus does not connect, so that it trims nothing. */
export class RedisCheckup implements TransportCheckup {
  readonly checks: readonly Check<void>[]
  readonly #options: ResolvedRedisOptions
  readonly #link: RedisLink
  #info: ReadonlyMap<string, string> | undefined

  constructor(options: ResolvedRedisOptions) {
    this.#options = options
    this.#link = new RedisLink({
      address: options.address,
      createClient: clientFactory({ ...options, url: options.redisUrl }),
      route: new ClusterRoute(options.keys.stream),
      connectTimeoutMs: options.socketConnectTimeoutMs,
      replyLimits: { maxStringBytes: REPLY_BYTES, maxReplyBytes: REPLY_BYTES },
      socketTimeoutMs: options.socketTimeoutMs,
      pingMs: undefined,
      onLost: ignore,
      onRestored: ignore,
    })
    this.checks = checksOf(REDIS_CHECKS, () => this.#context())
  }

  async open(): Promise<string> {
    const { address } = this.#options
    await this.#link.connect()
    // A server that expects TLS accepts the connection, and closes it with the first bytes.
    const { client } = this.#link
    this.#info = await (client === undefined ? closedAtOnce(address) : readInfo(client))
    const version = this.#info?.get('redis_version') ?? 'of an unknown version'
    return `Connected to Redis ${version} at ${address}.`
  }

  close(): Promise<void> {
    this.#link.close()
    return Promise.resolve()
  }

  groups(): Promise<readonly GroupInfo[]> {
    const options = this.#options
    const client = (): RedisClient => this.#link.requireClient()
    const deadLetters = new RedisDeadLetters(options, client, ignore)
    return new RedisAdmin({ options, client, deadLetters }).groups()
  }

  #context(): RedisCheckContext {
    return { client: this.#link.requireClient(), options: this.#options, info: this.#info }
  }
}

function closedAtOnce(address: string): never {
  throw new ConnectionError('CONNECTION_FAILED', `The server at ${address} closed the connection at once.`)
}
