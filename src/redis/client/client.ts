import { EventspineError } from '../../errors.ts'

/** An argument of a command. */
export type RedisArgument = string | Buffer

/** The part of a node-redis client that this bus uses; keeps that package's types out of ours. */
export interface RedisClient {
  readonly isReady: boolean
  connect(): Promise<unknown>
  sendCommand(args: RedisArgument[], options?: object): Promise<unknown>
  destroy(): void
  on(event: 'error' | 'terminated', listener: (error: Error) => void): unknown
}

/** A client that the user made. It is only duplicated, so it may be in use elsewhere. */
export interface DuplicableRedisClient {
  readonly options?: object | undefined
  duplicate(overrides?: object): unknown
}

/** How to make one more connection. */
export type RedisClientFactory = (socket: {
  readonly connectTimeout: number
  readonly socketTimeout: number | undefined
}) => Promise<RedisClient>

/** True when the npm package `redis` can be loaded. */
export const REDIS_AVAILABLE: boolean = canResolve()

/** The npm package `redis` is not installed. */
export class RedisNotAvailableError extends EventspineError {
  readonly code = 'REDIS_NOT_AVAILABLE'

  constructor() {
    super('RedisEventBus needs the npm package "redis", which is not installed. Run: npm install redis@6')
  }
}

/** Replies with the bytes as they are, where a text would lose those that are no UTF-8. 36 is RESP's `$`. */
export const AS_BUFFERS = { typeMapping: { 36: Buffer } }

// The bus decides itself how long to wait and when to reconnect, because it has to know what became of each command:
// the client's queue would send commands after a publish has given up, and its timeout of 5 s halves the throughput.
const CLIENT_OPTIONS = {
  RESP: 2,
  disableOfflineQueue: true,
  maintNotifications: 'disabled',
  commandOptions: { timeout: 0 },
} as const

/** Connection settings as the options give them. */
export interface RedisConnectionSettings {
  readonly url: string
  readonly username: string | undefined
  readonly password: string | undefined
  readonly tls: object | undefined
  readonly client: DuplicableRedisClient | undefined
}

/** Makes clients of the settings. The package is loaded at the first call. */
export function clientFactory({
  url,
  username,
  password,
  tls,
  client: given,
}: RedisConnectionSettings): RedisClientFactory {
  return async (timeouts) => {
    const socket: object = {
      ...timeouts,
      reconnectStrategy: false,
      ...(tls === undefined ? {} : { tls: true, ...tls }),
    }
    if (given !== undefined) {
      const own = given.options !== undefined && 'socket' in given.options ? given.options.socket : {}
      const options = { ...CLIENT_OPTIONS, socket: Object.assign({}, own, socket) }
      // A duplicate of a node-redis client is one, whatever its type parameters.
      return given.duplicate(options) as RedisClient
    }
    const credentials = {
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
    }
    const client = (await firstClient()).duplicate({ ...CLIENT_OPTIONS, ...credentials, url, socket })
    // The structural type is the part of the client that is used.
    return client as RedisClient
  }
}

let first: Promise<DuplicableRedisClient> | undefined

/**
 * A client that is never connected, only duplicated: to create one, the package builds a class with all commands, which
 * blocks the event loop for some 10 ms.
 */
function firstClient(): Promise<DuplicableRedisClient> {
  first ??= import('redis').then(({ createClient }) => createClient(CLIENT_OPTIONS))
  return first
}

function canResolve(): boolean {
  try {
    import.meta.resolve('redis')
    return true
  } catch {
    // Not installed: what the constant says.
    return false
  }
}
