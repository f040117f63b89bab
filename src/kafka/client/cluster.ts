import { toError } from '../../errors.ts'
import { RECONNECT_BACKOFF } from '../../kit/backoff.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { settledUntil, settledWithin, sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { ServerAddress } from '../../transport/transport.ts'
import { connectionError, isRetryable, lostError } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaApis } from './apis.ts'
import { Availability } from './availability.ts'
import {
  BrokerConnection,
  type BrokerRequest,
  type ConnectionTarget,
  type ConnectionUse,
} from './broker-connection.ts'
import { type KafkaApi, type KafkaLibrary, loadKafka } from './client.ts'
import { ConnectionPool } from './connection-pool.ts'
import { findMismatch } from './diagnosis.ts'
import type { BrokerNode, MetadataResponse } from './protocol.ts'
import { connectionSecurity } from './security.ts'
import { addressText, firstAnswer, NoAnswerError, ServerOrder } from './servers.ts'

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

/** A server that answered, and the brokers that it announced. */
interface Answer {
  readonly connection: BrokerConnection
  readonly brokers: ReadonlyMap<number, BrokerNode>
}

/** How long one server may be silent before the next one is asked too, in milliseconds. */
const HEAD_START_MS = 1000
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
  readonly #order = new ServerOrder()
  #brokers: ReadonlyMap<number, BrokerNode> = new Map()
  #library: KafkaLibrary | undefined
  #isConnected = false
  #security: object | undefined
  #checkTimer: NodeJS.Timeout | undefined
  #isReconnecting = false
  #trouble: string | undefined

  constructor(options: ResolvedKafkaOptions, listener: ClusterListener) {
    this.#options = options
    this.address = options.address
    this.#listener = listener
  }

  /** The client library. @throws ConnectionError before the first connection. */
  get library(): KafkaLibrary {
    if (this.#library === undefined) throw this.#noConnection()
    return this.#library
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
    if (this.#isConnected) return
    const library = await loadKafka()
    this.#library = library
    const { compressionType, metadataMaxAgeMs } = this.#options
    if (library.compressionsAlgorithms[compressionType]?.available !== true) {
      throw new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `compressionType '${compressionType}' is not available in Node.js ${process.version}; choose another.`,
      )
    }
    this.#security = await connectionSecurity(this.#options)
    const startedAt = performance.now()
    try {
      this.#connections.add(undefined, 'control', Promise.resolve(await this.#openControl()))
    } catch (thrown) {
      throw await this.#explain(thrown, startedAt)
    }
    this.#isConnected = true
    this.#availability.setUp()
    this.#checkTimer = setInterval(() => this.#check(), metadataMaxAgeMs).unref()
  }

  /** Waits until the brokers can be reached. @returns false if the signal aborts or the cluster is closed first. */
  whenUp(signal: AbortSignal): Promise<boolean> {
    return this.#availability.whenUp(signal)
  }

  /** Reads topics from any broker, and updates the known brokers. @throws ConnectionError */
  async metadata(topics: readonly string[]): Promise<MetadataResponse> {
    const args = [[...topics], false, false] as [string[], boolean, boolean]
    const response = await this.request(undefined, 'control', ({ metadata }) => metadata, args)
    if (response.brokers.length > 0) this.#brokers = byNode(response.brokers)
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
    const attempts = nodeId === undefined ? Math.max(1, this.#brokers.size) : 1
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
      this.#order.onAnswered(server)
      return answer
    } catch (thrown) {
      const response = responseIn(thrown)
      // The client throws an error for an answer that contains error codes. It is an answer of the same type.
      if (response !== undefined) return response as T
      this.#order.onFailed(server)
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

  /**
   * Connects to a broker that answers, by the address that the brokers announce. A bootstrap server may be a name that
   * only leads to one of them. @throws NoAnswerError or ConnectionError
   */
  async #openControl(use: ConnectionUse = 'control'): Promise<BrokerConnection> {
    const found = await this.#firstAnswer([...this.#brokers.values(), ...this.#options.servers], use)
    this.#brokers = found.brokers
    const { server } = found.connection.target
    const announced = [...found.brokers.values()]
    if (announced.some((broker) => addressText(broker) === addressText(server))) return found.connection
    try {
      const { connection } = await this.#firstAnswer(announced, use)
      return connection
    } catch (thrown) {
      throw thrown instanceof NoAnswerError ? announcedError(addressText(server), thrown) : thrown
    } finally {
      void found.connection.close()
    }
  }

  #firstAnswer(servers: readonly ServerAddress[], use: ConnectionUse): Promise<Answer> {
    return firstAnswer(this.#order.of(servers), {
      ask: (server) => this.#ask(server, use),
      headStartMs: Math.min(HEAD_START_MS, this.#options.connectTimeoutMs / 2),
      onLate: ({ connection }) => void connection.close(),
    })
  }

  /** Connects to a server and asks it for the brokers: one that accepts connections may still be silent. */
  async #ask(server: ServerAddress, use: ConnectionUse): Promise<Answer> {
    try {
      const connection = await this.#open({ nodeId: undefined, use, server })
      try {
        // A broker that requires SASL answers the negotiation, and closes the connection at the next request.
        const { brokers } = await connection.send(
          (raw, { metadata }) => metadata.async(raw, [], false, false),
          this.#options.connectTimeoutMs,
        )
        this.#order.onAnswered(server)
        return { connection, brokers: byNode(brokers) }
      } catch (thrown) {
        void connection.close()
        throw connectionError(addressText(server), connection.firstError ?? thrown)
      }
    } catch (thrown) {
      this.#order.onFailed(server)
      throw thrown
    }
  }

  /** The error to report if the first connection fails. Finds out whether the bus and a broker disagree on the protocol. */
  async #explain(thrown: unknown, startedAt: number): Promise<Error> {
    if (!(thrown instanceof NoAnswerError)) return toError(thrown)
    const refused = thrown.failures.find(({ error }) => !isRetryable(error))
    if (refused !== undefined) return refused.error
    const mismatches = Promise.all(
      thrown.failures.map(({ server }) =>
        findMismatch(this.library, this.#options, server, this.#security ?? {}),
      ),
    )
    const leftMs = startedAt + this.#options.connectTimeoutMs - performance.now()
    const isKnown = leftMs > 0 && (await settledWithin(mismatches, leftMs))
    const mismatch = isKnown ? (await mismatches).find((error) => error !== undefined) : undefined
    return mismatch ?? new ConnectionError('CONNECTION_FAILED', thrown.message)
  }

  #connection(nodeId: number | undefined, use: ConnectionUse): Promise<BrokerConnection> {
    if (this.#closed.signal.aborted) return Promise.reject(this.#noConnection())
    const known = this.#connections.get(nodeId, use)
    if (known !== undefined) return known
    const { restorations } = this.#availability
    const opening = this.#openFor(nodeId, use)
    this.#connections.add(nodeId, use, opening)
    opening.catch((error: unknown) => {
      // An attempt from before a reconnection says nothing about the present.
      if (restorations !== this.#availability.restorations) return
      // One of several brokers may be down for long while the others take over its work.
      if (nodeId === undefined || this.#brokers.size <= 1) this.#onLost(toError(error))
    })
    return opening
  }

  async #openFor(nodeId: number | undefined, use: ConnectionUse): Promise<BrokerConnection> {
    if (nodeId !== undefined) {
      const server = this.#brokers.get(nodeId)
      if (server === undefined) throw this.#noConnection()
      return this.#open({ nodeId, use, server })
    }
    try {
      return await this.#openControl(use)
    } catch (thrown) {
      // A refusal is the most precise: waiting does not help.
      const failures = thrown instanceof NoAnswerError ? thrown.failures : []
      throw failures.find(({ error }) => !isRetryable(error))?.error ?? failures[0]?.error ?? thrown
    }
  }

  async #open(target: ConnectionTarget): Promise<BrokerConnection> {
    const connection = new BrokerConnection(target, {
      library: this.library,
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
    const isInUse = !connection.isIdle || isControl
    if (isInUse && this.#brokers.size <= 1) {
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

  #noConnection(): ConnectionError {
    return new ConnectionError('CONNECTION_LOST', `There is no connection to Kafka at ${this.address}.`)
  }
}

function byNode(brokers: readonly BrokerNode[]): ReadonlyMap<number, BrokerNode> {
  return new Map(brokers.map((broker) => [broker.nodeId, broker]))
}

/** A server answered, and no broker can be reached by the address that it announced. */
function announcedError(server: string, { failures }: NoAnswerError): ConnectionError {
  const refused = failures.find(({ error }) => !isRetryable(error))
  if (refused?.error instanceof ConnectionError) return refused.error
  const announced = failures.map((failure) => addressText(failure.server)).join(', ')
  return new ConnectionError(
    'CONNECTION_FAILED',
    `Kafka at ${server} answers, and announces its brokers as ${announced}, where none can be reached from here. ` +
      `${failures[0]?.error.message ?? ''} Set advertised.listeners to addresses that this host can resolve and reach.`,
  )
}

function responseIn(thrown: unknown): unknown {
  return typeof thrown === 'object' && thrown !== null && 'response' in thrown ? thrown.response : undefined
}
