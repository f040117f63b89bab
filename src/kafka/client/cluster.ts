import { toError } from '../../errors.ts'
import { RECONNECT_BACKOFF } from '../../kit/backoff.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { settledUntil, sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { ServerAddress } from '../../transport/transport.ts'
import { connectionError, lostError } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { type KafkaApis, negotiateApis } from './apis.ts'
import { Availability } from './availability.ts'
import { BrokerConnection, type ConnectionTarget, type ConnectionUse } from './broker-connection.ts'
import { type KafkaApi, type KafkaConnection, type KafkaLibrary, loadKafka } from './client.ts'
import { ConnectionPool } from './connection-pool.ts'
import { findMismatch } from './diagnosis.ts'
import type { BrokerNode, MetadataResponse } from './protocol.ts'
import { connectionSecurity } from './security.ts'

export interface ClusterListener {
  onLost(error: Error): void
  onRestored(): void
  /** The brokers refuse to take this bus back. It keeps trying. */
  onRefused(error: Error): void
  /** Reads the known topics from the brokers, every `metadataMaxAgeMs`. @throws ConnectionError if they do not answer. */
  onCheck(): Promise<void>
}

/** The client library, with the request versions that the brokers support. */
export interface NegotiatedProtocol {
  readonly library: KafkaLibrary
  readonly apis: KafkaApis
}

/** The brokers: connections to them, reconnecting after a loss, and a periodic check that they answer. */
export class KafkaCluster {
  readonly address: string
  readonly #options: ResolvedKafkaOptions
  readonly #listener: ClusterListener
  readonly #closed = new AbortController()
  readonly #availability = new Availability(this.#closed.signal)
  readonly #connections = new ConnectionPool()
  #brokers = new Map<number, BrokerNode>()
  #protocol: NegotiatedProtocol | undefined
  #security: object | undefined
  #checkTimer: NodeJS.Timeout | undefined
  #isReconnecting = false
  #trouble: string | undefined

  constructor(options: ResolvedKafkaOptions, listener: ClusterListener) {
    this.#options = options
    this.address = options.address
    this.#listener = listener
  }

  /** @throws ConnectionError before the first connection. */
  get protocol(): NegotiatedProtocol {
    if (this.#protocol === undefined) throw this.#noConnection()
    return this.#protocol
  }

  get isUp(): boolean {
    return this.#availability.isUp
  }

  /** Why there is no connection; undefined while there is one. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  get brokerIds(): readonly number[] {
    return [...this.#brokers.keys()]
  }

  /** Makes the first connection. No-op if there was one. @throws ConnectionError */
  async connect(): Promise<void> {
    if (this.#protocol !== undefined) return
    const library = await loadKafka()
    const { compressionType, requestTimeoutMs, metadataMaxAgeMs } = this.#options
    if (library.compressionsAlgorithms[compressionType]?.available !== true) {
      throw new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `compressionType '${compressionType}' is not available in Node.js ${process.version}; choose another.`,
      )
    }
    this.#security = await connectionSecurity(this.#options)
    const connection = await this.#openFirst(library)
    try {
      const apis = await connection.send((raw) => negotiateApis(library, raw, this.address), requestTimeoutMs)
      // A broker that requires SASL answers the negotiation, and closes the connection at the next request.
      await connection.send((raw) => apis.metadata.async(raw, [], false, false), requestTimeoutMs)
      this.#protocol = { library, apis }
    } catch (thrown) {
      void this.#connections.discard(connection)
      const error = connectionError(this.address, connection.firstError ?? thrown)
      throw await this.#explain(library, connection.target.server, error)
    }
    this.#availability.setUp()
    this.#checkTimer = setInterval(() => this.#check(), metadataMaxAgeMs).unref()
  }

  /** Waits until the brokers can be reached. @returns false if the signal aborts or the cluster is closed first. */
  whenUp(signal: AbortSignal): Promise<boolean> {
    return this.#availability.whenUp(signal)
  }

  /** Reads topics from any broker, and updates the known brokers. @throws ConnectionError */
  async metadata(topics: readonly string[]): Promise<MetadataResponse> {
    const response = await this.request(undefined, 'control', this.protocol.apis.metadata, [
      [...topics],
      false,
      false,
    ])
    if (response.brokers.length > 0) {
      this.#brokers = new Map(response.brokers.map((broker) => [broker.nodeId, broker]))
    }
    return response
  }

  /**
   * Sends a request and waits for its answer.
   *
   * @param nodeId - the broker; undefined for any.
   * @throws ConnectionError if there is no answer. The caller checks the error codes in an answer.
   */
  async request<Args extends readonly unknown[], T>(
    nodeId: number | undefined,
    use: ConnectionUse,
    api: KafkaApi<Args, T>,
    args: Args,
    timeoutMs = this.#options.requestTimeoutMs,
  ): Promise<T> {
    return this.exchange(nodeId, use, (connection) => api.async(connection, ...args), timeoutMs)
  }

  /** The same as `request`, for requests that the caller encodes. */
  async exchange<T>(
    nodeId: number | undefined,
    use: ConnectionUse,
    send: (connection: KafkaConnection) => Promise<T>,
    timeoutMs = this.#options.requestTimeoutMs,
  ): Promise<T> {
    const connection = await this.#connection(nodeId, use)
    try {
      return await connection.send(send, timeoutMs)
    } catch (thrown) {
      const response = responseIn(thrown)
      // The client throws an error for an answer that contains error codes. It is an answer of the same type.
      if (response !== undefined) return response as T
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

  /** Connects to the first bootstrap server that accepts. @throws ConnectionError */
  async #openFirst(library: KafkaLibrary): Promise<BrokerConnection> {
    const failures: ConnectionError[] = []
    for (const server of this.#options.servers) {
      try {
        const connection = await this.#open(library, { nodeId: undefined, use: 'control', server })
        this.#connections.add(undefined, 'control', Promise.resolve(connection))
        return connection
      } catch (error) {
        failures.push(await this.#explain(library, server, connectionError(this.address, error)))
      }
    }
    throw failures.find(({ retryable }) => !retryable) ?? failures[0] ?? this.#noConnection()
  }

  /** Replaces an error by a more precise one if the bus and the broker disagree on securityProtocol. */
  async #explain(
    library: KafkaLibrary,
    server: ServerAddress,
    error: ConnectionError,
  ): Promise<ConnectionError> {
    if (!error.retryable) return error
    return (await findMismatch(library, this.#options, server, this.#security ?? {})) ?? error
  }

  #connection(nodeId: number | undefined, use: ConnectionUse): Promise<BrokerConnection> {
    if (this.#closed.signal.aborted) return Promise.reject(this.#noConnection())
    const known = this.#connections.get(nodeId, use)
    if (known !== undefined) return known
    const { restorations } = this.#availability
    const opening = this.#openAny(nodeId, use)
    this.#connections.add(nodeId, use, opening)
    opening.catch((error: unknown) => {
      // An attempt from before a reconnection says nothing about the present.
      if (restorations !== this.#availability.restorations) return
      // One of several brokers may be down for long while the others take over its work.
      if (nodeId === undefined || this.#brokers.size <= 1) this.#onLost(toError(error))
    })
    return opening
  }

  async #openAny(nodeId: number | undefined, use: ConnectionUse): Promise<BrokerConnection> {
    const { library } = this.protocol
    if (nodeId !== undefined) {
      const server = this.#brokers.get(nodeId)
      if (server === undefined) throw this.#noConnection()
      return this.#open(library, { nodeId, use, server })
    }
    let failure: unknown
    for (const server of [...this.#brokers.values(), ...this.#options.servers]) {
      try {
        return await this.#open(library, { nodeId, use, server })
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }

  async #open(library: KafkaLibrary, target: ConnectionTarget): Promise<BrokerConnection> {
    const connection = new BrokerConnection(target, {
      library,
      options: this.#options,
      security: this.#security,
      onBroken: (broken) => this.#onBroken(broken),
    })
    await connection.connect()
    if (!this.#closed.signal.aborted) return connection
    void connection.close()
    throw this.#noConnection()
  }

  #onBroken(connection: BrokerConnection): void {
    this.#connections.remove(connection)
    const { nodeId, use } = connection.target
    const isControl = nodeId === undefined && use === 'control'
    if (!connection.isIdle || isControl) {
      this.#onLost(connection.firstError ?? new Error('closed by the broker'))
      return
    }
    // A broker closes idle connections, which is no outage. With acks '0' a closed connection is the only sign that the
    // leader has changed.
    if (use === 'produce') this.#check()
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
    if (!(error instanceof ConnectionError) || error.retryable || error.message === this.#trouble) return
    this.#trouble = error.message
    this.#listener.onRefused(error)
  }

  /** Detects a broker that vanished without closing its connections, which do not fail by themselves. */
  #check(): void {
    if (this.isUp) this.#listener.onCheck().catch((error: unknown) => this.#onLost(toError(error)))
  }

  #noConnection(): ConnectionError {
    return new ConnectionError('CONNECTION_LOST', `There is no connection to Kafka at ${this.address}.`)
  }
}

function responseIn(thrown: unknown): unknown {
  return typeof thrown === 'object' && thrown !== null && 'response' in thrown ? thrown.response : undefined
}
