import { RetryPolicy } from '../../kit/retry-policy.ts'
import { sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import { connectionError, lostError } from '../errors.ts'
import type { RedisClient, RedisClientFactory } from './client.ts'

const RECONNECT = new RetryPolicy({
  maxRetries: Number.POSITIVE_INFINITY,
  retryBaseDelayMs: 50,
  retryMaxDelayMs: 2000,
  retryJitter: 0.3,
})

export interface RedisLinkOptions {
  readonly address: string
  readonly createClient: RedisClientFactory
  readonly connectTimeoutMs: number
  /** Silence after which the connection counts as dead; undefined for none. */
  readonly socketTimeoutMs: number | undefined
  /** Every so often an idle connection is asked whether it lives; undefined for never. */
  readonly pingMs: number | undefined
  /** Run on each new connection before it is used. */
  readonly prepare?: (client: RedisClient) => Promise<void>
  readonly onLost: (error: Error) => void
  /** Told, at growing intervals, that the server does not let it in again as things are. */
  readonly onRefused?: (error: ConnectionError) => void
  readonly onRestored: () => void
}

/** One connection that is made anew, with backoff, whenever it breaks. */
export class RedisLink {
  readonly #options: RedisLinkOptions
  readonly #closed = new AbortController()
  #client: RedisClient | undefined
  #waiting = new Set<(client: RedisClient) => void>()
  #ping: NodeJS.Timeout | undefined

  constructor(options: RedisLinkOptions) {
    this.#options = options
  }

  /** The connection, if it works now. */
  get client(): RedisClient | undefined {
    return this.#client?.isReady === true ? this.#client : undefined
  }

  /** Makes the first connection. @throws ConnectionError */
  async connect(): Promise<void> {
    if (this.#client !== undefined) return
    this.#use(await this.#open())
    const { pingMs } = this.#options
    if (pingMs !== undefined) this.#ping ??= setInterval(() => void this.#checkLife(pingMs), pingMs).unref()
  }

  /** Waits for a connection that works. @returns undefined when the signal aborts or the link is closed first. */
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

  /** Gives up the present connection, because it does not do what it should, and makes another. */
  reset(reason: Error): void {
    const client = this.#client
    if (client !== undefined) this.#lost(client, reason)
  }

  close(): void {
    this.#closed.abort()
    clearInterval(this.#ping)
    destroy(this.#client)
    this.#client = undefined
  }

  async #open(): Promise<RedisClient> {
    const { createClient, connectTimeoutMs, socketTimeoutMs, address, prepare } = this.#options
    const client = await createClient({ connectTimeout: connectTimeoutMs, socketTimeout: socketTimeoutMs })
    let firstError: Error | undefined
    client.on('error', (error) => {
      firstError ??= error
      this.#lost(client, error)
    })
    const timer = setTimeout(() => {
      firstError ??= new Error(`not connected within ${connectTimeoutMs} ms`)
      destroy(client)
    }, connectTimeoutMs)
    try {
      await client.connect()
      await prepare?.(client)
      return client
    } catch (error) {
      destroy(client)
      throw connectionError(address, firstError ?? error)
    } finally {
      clearTimeout(timer)
    }
  }

  #use(client: RedisClient): void {
    if (this.#closed.signal.aborted) {
      destroy(client)
      return
    }
    this.#client = client
    if (client.isReady) for (const resolve of this.#waiting) resolve(client)
    // It has broken between the last answer and now.
    else this.#lost(client, new Error('closed right after it was made'))
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
    for (let failure = 1; await sleep(RECONNECT.backoff(failure), this.#closed.signal); failure += 1) {
      try {
        const client = await this.#open()
        this.#use(client)
        if (this.client !== undefined) this.#options.onRestored()
        return
      } catch (error) {
        // The loss was told already; only what waiting does not mend is worth another word.
        const isRefused = error instanceof ConnectionError && !error.retryable
        if (isRefused && Number.isInteger(Math.log2(failure))) this.#options.onRefused?.(error)
      }
    }
  }

  /** A connection whose other end is gone without a word never fails by itself. */
  async #checkLife(withinMs: number): Promise<void> {
    const client = this.#client
    if (client === undefined) return
    const timer = setTimeout(
      () => this.#lost(client, new Error(`no answer to PING within ${withinMs} ms`)),
      withinMs,
    )
    try {
      await client.sendCommand(['PING'])
    } catch (error) {
      if (client.isReady) return
      this.#lost(client, error instanceof Error ? error : new Error(String(error)))
    } finally {
      clearTimeout(timer)
    }
  }
}

function destroy(client: RedisClient | undefined): void {
  try {
    client?.destroy()
  } catch {
    // It is closed already, which is what was wanted.
  }
}
