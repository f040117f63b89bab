import { EventspineError } from '../../errors.ts'
import { isInstalled, unavailable } from '../../kit/optional-package.ts'

/** An argument of a command. */
export type RedisArgument = string | Buffer

/** The part of a node-redis client that this bus uses. It keeps that package's types out of the public types. */
export interface RedisClient {
  readonly isReady: boolean
  connect(): Promise<unknown>
  sendCommand(args: RedisArgument[], options?: object): Promise<unknown>
  destroy(): void
  on(event: 'error' | 'terminated', listener: (error: Error) => void): unknown
}

/** A client that the user passes. The bus only duplicates it, so the program may also use it. */
export interface DuplicableRedisClient {
  readonly options?: object | undefined
  duplicate(overrides?: object): unknown
}

/** Address of a node of a cluster. */
export interface ClusterNode {
  readonly host: string
  readonly port: number
}

/** Creates one more client, not yet connected. */
export type RedisClientFactory = (
  socket: { readonly connectTimeout: number; readonly socketTimeout: number | undefined },
  /** A node of the cluster, instead of the server that the user named. */
  node?: ClusterNode,
) => Promise<RedisClient>

/**
 * False if the npm package `redis` is certainly not installed. In a bundle, this is known only when the bus connects.
 */
export const REDIS_AVAILABLE: boolean = isInstalled('redis', import.meta, '/redis/client/client.ts') ?? true

/** The npm package `redis` is not installed, or cannot be loaded. */
export class RedisNotAvailableError extends EventspineError {
  static override readonly name = 'RedisNotAvailableError'
  readonly code = 'REDIS_NOT_AVAILABLE'

  /** @param error - the error of loading the package; undefined if it is not installed. */
  constructor(error?: unknown) {
    super(unavailable('RedisEventBus', 'redis', 'redis@6', error), { cause: error })
  }
}

/** Option for replies as bytes, for values that are not valid UTF-8. 36 is the code of `$`, RESP's bulk string. */
export const AS_BUFFERS = { typeMapping: { 36: Buffer } }

// The bus reconnects itself, because it has to know the outcome of each command: the client's queue would send commands
// after their publish has timed out. The client's command timeout of 5 s halves the throughput, so it is off.
const CLIENT_OPTIONS = {
  RESP: 2,
  disableOfflineQueue: true,
  maintNotifications: 'disabled',
  // On Redis 7.2 and newer it needs one more permission, CLIENT|SETINFO, which older servers do not know.
  disableClientInfo: true,
  commandOptions: { timeout: 0 },
} as const

/** The options that concern the connection. */
export interface RedisConnectionSettings {
  readonly url: string
  readonly username: string | undefined
  readonly password: string | undefined
  readonly tls: object | undefined
  readonly client: DuplicableRedisClient | undefined
}

/** A factory of clients with these settings. It loads the npm package at its first call. */
export function clientFactory({
  url,
  username,
  password,
  tls,
  client: given,
}: RedisConnectionSettings): RedisClientFactory {
  return async (timeouts, node) => {
    const socket: object = {
      ...timeouts,
      ...node,
      reconnectStrategy: false,
      ...(tls === undefined ? {} : { tls: true, ...tls }),
    }
    if (given !== undefined) {
      const own = given.options !== undefined && 'socket' in given.options ? given.options.socket : {}
      const options = { ...CLIENT_OPTIONS, socket: Object.assign({}, own, socket) }
      // The duplicate of a node-redis client is a node-redis client.
      return given.duplicate(options) as RedisClient
    }
    const credentials = {
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
    }
    const client = (await firstClient()).duplicate({
      ...CLIENT_OPTIONS,
      ...credentials,
      url: node === undefined ? url : urlOf(url, node),
      socket,
    })
    // `RedisClient` is a part of the client's own type.
    return client as RedisClient
  }
}

/** The URL with another server. */
function urlOf(url: string, { host, port }: ClusterNode): string {
  const other = new URL(url)
  other.host = `${host.includes(':') ? `[${host}]` : host}:${port}`
  return other.href
}

let first: Promise<DuplicableRedisClient> | undefined

/**
 * A client that is duplicated and never connected. For each new client, the package builds a class with all commands,
 * which blocks the event loop for about 10 ms; a duplicate shares that class.
 */
function firstClient(): Promise<DuplicableRedisClient> {
  first ??= loadRedis().then(({ createClient }) => createClient(CLIENT_OPTIONS))
  return first
}

/** The part of the package that is used, so that its types do not become part of this library's. */
interface RedisLibrary {
  createClient(options: object): DuplicableRedisClient
}

/** Loads the npm package. @throws RedisNotAvailableError if it is not installed. */
async function loadRedis(): Promise<RedisLibrary> {
  // A bundler includes the package if it finds it. The handler lets it continue if not, for a program without Redis.
  return import('redis').catch((error: unknown) => {
    throw new RedisNotAvailableError(error)
  })
}
