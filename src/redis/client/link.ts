import { setImmediate } from 'node:timers/promises'
import { toError } from '../../errors.ts'
import { RECONNECT_BACKOFF } from '../../kit/backoff.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { settledWithin, sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import { connectionError, isRedirection, lostError, noConnection } from '../errors.ts'
import type { RedisClient, RedisClientFactory } from './client.ts'
import type { ClusterRoute } from './cluster-route.ts'
import { guardReplies, type ReplyLimits } from './reply-guard.ts'

/** Most nodes that one attempt to connect asks for the node that has the keys. */
const MAX_HOPS = 4

export interface RedisLinkOptions {
  readonly address: string
  readonly createClient: RedisClientFactory
  /** Finds the node of a cluster that has the keys. */
  readonly route: ClusterRoute
  /** Limits for the parts of a reply that are kept. */
  readonly replyLimits: ReplyLimits
  readonly connectTimeoutMs: number
  /** Silence after which the connection counts as dead, in milliseconds; undefined for no limit. */
  readonly socketTimeoutMs: number | undefined
  /**
   * Interval of the PING that checks the connection, and the limit for its reply or a part of an earlier one, in
   * milliseconds; undefined for no PING.
   */
  readonly pingMs: number | undefined
  /** Called on each new connection before it is used. */
  readonly prepare?: (client: RedisClient) => Promise<void>
  readonly onLost: (error: Error) => void
  /** Called at growing intervals while the server refuses the connection with an error that waiting cannot fix. */
  readonly onRefused?: (error: ConnectionError) => void
  readonly onRestored: () => void
}

/** One connection to the server. It reconnects, with backoff, whenever the connection is lost. */
export class RedisLink {
  readonly #options: RedisLinkOptions
  readonly #closed = new AbortController()
  #client: RedisClient | undefined
  /** Bytes that the current client has received. */
  #receivedBytes = () => 0
  #waiting = new Set<(client: RedisClient) => void>()
  #pingTimer: NodeJS.Timeout | undefined

  constructor(options: RedisLinkOptions) {
    this.#options = options
  }

  /** The client, if it is connected. */
  get client(): RedisClient | undefined {
    return this.#client?.isReady === true ? this.#client : undefined
  }

  /** The client. @throws ConnectionError while it is not connected. */
  requireClient(): RedisClient {
    const { client } = this
    if (client === undefined) throw noConnection(this.#options.address)
    return client
  }

  /** Connects for the first time. @throws ConnectionError */
  async connect(): Promise<void> {
    if (this.#client !== undefined) return
    this.#use(await this.#open())
    const { pingMs } = this.#options
    if (pingMs !== undefined)
      this.#pingTimer ??= setInterval(() => void this.#checkConnection(pingMs), pingMs).unref()
  }

  /** Waits for a connection. @returns undefined if the signal aborts or the link is closed first. */
  whenReady(signal: AbortSignal): Promise<RedisClient | undefined> {
    const { client } = this
    if (client !== undefined) return Promise.resolve(client)
    if (signal.aborted || this.#closed.signal.aborted) return Promise.resolve(undefined)
    const { promise, resolve } = Promise.withResolvers<RedisClient | undefined>()
    const giveUp = () => resolve(undefined)
    this.#waiting.add(resolve)
    signal.addEventListener('abort', giveUp, { once: true })
    this.#closed.signal.addEventListener('abort', giveUp, { once: true })
    return promise.finally(() => {
      this.#waiting.delete(resolve)
      signal.removeEventListener('abort', giveUp)
      this.#closed.signal.removeEventListener('abort', giveUp)
    })
  }

  /** Closes the connection and makes a new one. */
  reset(reason: Error): void {
    const client = this.#client
    if (client !== undefined) this.#lost(client, reason)
  }

  close(): void {
    this.#closed.abort()
    clearInterval(this.#pingTimer)
    destroy(this.#client)
    this.#client = undefined
  }

  /** Connects to the node that has the keys, by way of any node of the cluster. */
  async #open(): Promise<RedisClient> {
    const { route, address } = this.#options
    for (let hop = 0; hop <= MAX_HOPS; hop += 1) {
      const client = await this.#openNode()
      if (client !== undefined) return client
    }
    const nodes =
      route.target === undefined ? '' : ` (the last one was ${route.target.host}:${route.target.port})`
    throw connectionError(address, new Error(`no node of the cluster serves the keys of the bus${nodes}`))
  }

  /** @returns undefined if another node has the keys. */
  async #openNode(): Promise<RedisClient | undefined> {
    const { createClient, connectTimeoutMs, socketTimeoutMs, address, prepare, replyLimits, route } =
      this.#options
    const timeouts = { connectTimeout: connectTimeoutMs, socketTimeout: socketTimeoutMs }
    const client = await createClient(timeouts, route.target)
    let firstError: Error | undefined
    const fail = (error: Error) => {
      firstError ??= error
      this.#lost(client, error)
    }
    client.on('error', fail)
    this.#receivedBytes = guardReplies(client, replyLimits, (error) => {
      fail(error)
      destroy(client)
    })
    const timer = setTimeout(() => {
      firstError ??= new Error(`not connected within ${connectTimeoutMs} ms`)
      destroy(client)
    }, connectTimeoutMs)
    try {
      await client.connect()
      if (!(await route.isAt(client))) {
        destroy(client)
        return undefined
      }
      await prepare?.(client)
      if (route.isCluster) this.#watchRedirections(client)
      return client
    } catch (error) {
      destroy(client)
      route.failed()
      throw connectionError(address, firstError ?? error)
    } finally {
      clearTimeout(timer)
    }
  }

  /** A redirected command has no effect. The next connection leads to the node that has the keys by now. */
  #watchRedirections(client: RedisClient): void {
    const send = client.sendCommand.bind(client)
    client.sendCommand = (args, options) =>
      send(args, options).catch((error: unknown) => {
        if (isRedirection(error)) this.#lost(client, toError(error))
        throw error
      })
  }

  #use(client: RedisClient): void {
    if (this.#closed.signal.aborted) {
      destroy(client)
      return
    }
    this.#client = client
    if (client.isReady) for (const resolve of this.#waiting) resolve(client)
    // The connection was lost after the last reply of the handshake, before it was used.
    else this.#lost(client, new Error('closed during the handshake'))
  }

  #lost(client: RedisClient, error: Error): void {
    if (this.#client !== client) return
    this.#client = undefined
    destroy(client)
    if (this.#closed.signal.aborted) return
    this.#options.onLost(lostError(this.#options.address, error))
    void this.#reconnect()
  }

  async #reconnect(): Promise<void> {
    const { signal } = this.#closed
    // The jitter spreads the clients that lost their connections at the same moment.
    if (!(await sleep(RECONNECT_BACKOFF.backoff(1), signal))) return
    await retryUntilDone(
      async () => {
        this.#use(await this.#open())
        if (this.client !== undefined) this.#options.onRestored()
      },
      {
        backoff: RECONNECT_BACKOFF,
        signal,
        onFailure: (error, failure) => {
          // The loss is already reported. Report only errors that waiting cannot fix, at growing intervals.
          const isRefused = error instanceof ConnectionError && !error.retryable
          if (isRefused && Number.isInteger(Math.log2(failure))) this.#options.onRefused?.(error)
        },
      },
    )
  }

  /** Detects a peer that vanished without closing the connection, which never fails on its own. */
  async #checkConnection(withinMs: number): Promise<void> {
    const client = this.#client
    if (client === undefined) return
    const before = this.#receivedBytes()
    try {
      const hasReply = await settledWithin(client.sendCommand(['PING']), withinMs)
      // Bytes that arrived while the process was busy are read in the next turn of the event loop.
      if (!hasReply) await setImmediate()
      // A long reply to an earlier command comes first.
      if (!hasReply && this.#receivedBytes() === before)
        this.#lost(client, new Error(`no reply to PING within ${withinMs} ms`))
    } catch (error) {
      if (!client.isReady) this.#lost(client, toError(error))
    }
  }
}

function destroy(client: RedisClient | undefined): void {
  try {
    client?.destroy()
  } catch {
    // The client is closed already.
  }
}
