import { toError } from '../../errors.ts'
import { RECONNECT_BACKOFF } from '../../kit/backoff.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { settledUntil, settledWithin, sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import { connectionError, lostError, noConnection } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaApis } from './apis.ts'
import { Availability } from './availability.ts'
import type { BrokerConnection, BrokerRequest, ConnectionUse } from './broker-connection.ts'
import type { KafkaApi, KafkaLibrary } from './client.ts'
import { ConnectionPool } from './connection-pool.ts'
import { BrokerDialer, byNode } from './dialer.ts'
import type { MetadataResponse } from './protocol.ts'

export interface ClusterListener {
  onLost(error: Error): void
  onRestored(): void
  /** The brokers refuse to take this bus back. It keeps trying. */
  onRefused(error: Error): void
  /**
   * Reads the known topics from the brokers, every `metadataMaxAgeMs`. @throws ConnectionError if they do not answer.
   */
  onCheck(): Promise<void>
}

/** Chooses the request, among those in the versions of one broker. */
export type PickApi<Args extends readonly unknown[], T> = (apis: KafkaApis) => KafkaApi<Args, T>

/** The part of a request's time after which another broker is asked, if any broker will do. */
const PATIENCE = 1 / 4

/** The brokers: connections to them, reconnecting after a loss, and a periodic check that they answer. */
export class KafkaCluster {
  readonly address: string
  readonly #options: ResolvedKafkaOptions
  readonly #listener: ClusterListener
  readonly #closed = new AbortController()
  readonly #availability = new Availability(this.#closed.signal)
  readonly #connections = new ConnectionPool()
  readonly #dialer: BrokerDialer
  #isConnected = false
  #checkTimer: NodeJS.Timeout | undefined
  #isReconnecting = false
  #trouble: string | undefined

  constructor(options: ResolvedKafkaOptions, listener: ClusterListener) {
    this.#options = options
    this.address = options.address
    this.#listener = listener
    const onBroken = (connection: BrokerConnection) => this.#onBroken(connection)
    this.#dialer = new BrokerDialer(options, this.#closed.signal, onBroken)
  }

  /** The client library. @throws ConnectionError before the first connection. */
  get library(): KafkaLibrary {
    return this.#dialer.library
  }

  get isUp(): boolean {
    return this.#availability.isUp
  }

  /** Aborts when the bus closes its connections. */
  get closed(): AbortSignal {
    return this.#closed.signal
  }

  /** Why there is no connection; undefined while there is one. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  get brokerIds(): readonly number[] {
    return [...this.#dialer.brokers.keys()]
  }

  /** Makes the first connection. No-op if there was one. @throws ConnectionError */
  async connect(): Promise<void> {
    if (this.#isConnected) return
    const connection = await this.#dialer.first()
    this.#connections.add(undefined, 'control', Promise.resolve(connection))
    this.#isConnected = true
    this.#availability.setUp()
    this.#checkTimer = setInterval(() => this.#check(), this.#options.metadataMaxAgeMs).unref()
  }

  /** Waits until the brokers can be reached. @returns false if the signal aborts or the cluster is closed first. */
  whenUp(signal: AbortSignal): Promise<boolean> {
    return this.#availability.whenUp(signal)
  }

  /** Reads topics from any broker, and updates the known brokers. @throws ConnectionError */
  async metadata(topics: readonly string[]): Promise<MetadataResponse> {
    const args = [[...topics], false, false] as [string[], boolean, boolean]
    const response = await this.request(undefined, 'control', ({ metadata }) => metadata, args)
    if (response.brokers.length > 0) this.#dialer.brokers = byNode(response.brokers)
    return response
  }

  /**
   * Sends a request and waits for its answer.
   *
   * @param nodeId - the broker; undefined for any. Then a broker that does not answer is not the last one to be asked, so
   *   the request must have no effect that a repetition changes.
   * @throws ConnectionError if there is no answer. The caller checks the error codes in an answer.
   */
  async request<Args extends readonly unknown[], T>(
    nodeId: number | undefined,
    use: ConnectionUse,
    pick: PickApi<Args, T>,
    args: Args,
    timeoutMs = this.#options.requestTimeoutMs,
  ): Promise<T> {
    return this.exchange(nodeId, use, (connection, apis) => pick(apis).async(connection, ...args), timeoutMs)
  }

  /** The same as `request`, for requests that the caller encodes. */
  async exchange<T>(
    nodeId: number | undefined,
    use: ConnectionUse,
    send: BrokerRequest<T>,
    timeoutMs = this.#options.requestTimeoutMs,
  ): Promise<T> {
    const deadline = performance.now() + timeoutMs
    const attempts = nodeId === undefined ? Math.max(1, this.#dialer.brokers.size) : 1
    for (let left = attempts - 1; left > 0; left -= 1) {
      try {
        return await this.#exchangeOnce(nodeId, use, send, timeoutMs * PATIENCE)
      } catch (thrown) {
        const isLost = thrown instanceof ConnectionError && thrown.retryable
        if (!isLost || this.#closed.signal.aborted || performance.now() >= deadline) throw thrown
      }
    }
    return this.#exchangeOnce(nodeId, use, send, Math.max(1, deadline - performance.now()))
  }

  async #exchangeOnce<T>(
    nodeId: number | undefined,
    use: ConnectionUse,
    send: BrokerRequest<T>,
    timeoutMs: number,
  ): Promise<T> {
    const deadline = performance.now() + timeoutMs
    const opening = this.#connection(nodeId, use)
    if (!(await settledWithin(opening, timeoutMs))) {
      throw connectionError(this.address, new Error(`no connection within ${Math.round(timeoutMs)} ms`))
    }
    const connection = await opening
    const { server } = connection.target
    try {
      const answer = await connection.send(send, Math.max(1, deadline - performance.now()))
      this.#dialer.order.onAnswered(server)
      return answer
    } catch (thrown) {
      const response = responseIn(thrown)
      // The client throws an error for an answer that contains error codes. It is an answer of the same type.
      if (response !== undefined) return response as T
      this.#dialer.order.onFailed(server)
      throw lostError(this.address, connection.firstError ?? thrown)
    }
  }

  /** Cuts a connection whose request waits at the broker, because its answer is no longer needed. */
  cut(nodeId: number, use: ConnectionUse): Promise<void> {
    return this.#connections.close(nodeId, use)
  }

  async close(signal: AbortSignal): Promise<void> {
    this.#closed.abort()
    clearInterval(this.#checkTimer)
    this.#availability.setDown()
    await settledUntil(this.#connections.closeAll(), signal)
  }

  #connection(nodeId: number | undefined, use: ConnectionUse): Promise<BrokerConnection> {
    if (this.#closed.signal.aborted) return Promise.reject(noConnection(this.address))
    const known = this.#connections.get(nodeId, use)
    if (known !== undefined) return known
    const { restorations } = this.#availability
    const opening = this.#dialer.open(nodeId, use)
    this.#connections.add(nodeId, use, opening)
    opening.catch((error: unknown) => {
      // A failure of an attempt that started before a reconnection is out of date.
      if (restorations !== this.#availability.restorations) return
      // One of several brokers may be down for long while the others take over its work.
      if (nodeId === undefined || this.#dialer.brokers.size <= 1) this.#onLost(toError(error))
    })
    return opening
  }

  #onBroken(connection: BrokerConnection): void {
    this.#connections.remove(connection)
    const { nodeId, use } = connection.target
    const isControl = nodeId === undefined && use === 'control'
    const isInUse = !connection.isIdle || isControl
    if (isInUse && this.#dialer.brokers.size <= 1) {
      this.#onLost(connection.firstError ?? new Error('closed by the broker'))
      return
    }
    // A broker closes idle connections, which is no outage. With acks '0' a closed connection is the only sign that the
    // leader has changed. One of several brokers may be down while the others take over its work.
    if (isInUse || use === 'produce') this.#check()
  }

  #onLost(error: Error): void {
    if (!this.isUp || this.#closed.signal.aborted) return
    this.#availability.setDown()
    const lost = lostError(this.address, error)
    this.#listener.onLost(lost)
    void this.#reconnect(lost.message)
  }

  async #reconnect(reason: string): Promise<void> {
    if (this.#isReconnecting) return
    this.#isReconnecting = true
    this.#trouble = reason
    const { signal } = this.#closed
    const restored =
      (await sleep(RECONNECT_BACKOFF.backoff(1), signal)) &&
      (await retryUntilDone(() => this.#restore(), {
        backoff: { backoff: (failure) => RECONNECT_BACKOFF.backoff(failure + 1) },
        signal,
        onFailure: (error) => this.#onStillLost(error),
      }))
    if (!restored) this.#trouble = undefined
  }

  async #restore(): Promise<void> {
    await this.metadata([])
    // At once, because the next loss must find no reconnection under way.
    this.#isReconnecting = false
    this.#trouble = undefined
    this.#availability.setUp()
    this.#listener.onRestored()
  }

  /** The loss was reported. A refusal is news, because waiting does not fix it. */
  #onStillLost(error: Error): void {
    const isKnown = error.message === this.#trouble
    this.#trouble = error.message
    if (error instanceof ConnectionError && !error.retryable && !isKnown) this.#listener.onRefused(error)
  }

  /** Detects a broker that vanished without closing its connections, which do not fail by themselves. */
  #check(): void {
    if (this.isUp) this.#listener.onCheck().catch((error: unknown) => this.#onLost(toError(error)))
  }
}

function responseIn(thrown: unknown): unknown {
  return typeof thrown === 'object' && thrown !== null && 'response' in thrown ? thrown.response : undefined
}
