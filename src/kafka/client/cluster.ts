import { isIP } from 'node:net'
import { toError } from '../../errors.ts'
import { RetryPolicy } from '../../kit/retry-policy.ts'
import { settledWithin, sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { ServerAddress } from '../../transport/transport.ts'
import { connectionError, lostError } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaApi, KafkaConnection, KafkaLibrary } from './client.ts'
import { loadKafka } from './client.ts'
import { findMismatch } from './diagnosis.ts'
import { type BrokerNode, type KafkaApis, type MetadataResponse, negotiateApis } from './protocol.ts'
import { connectionSecurity } from './security.ts'

const RECONNECT = new RetryPolicy({
  maxRetries: Number.POSITIVE_INFINITY,
  retryBaseDelayMs: 50,
  retryMaxDelayMs: 2000,
  retryJitter: 0.3,
})

/** What a connection is for. A request that waits at the broker holds up those behind it, so each use has its own. */
export type ConnectionUse = 'control' | 'produce' | 'fetch' | 'deadLetters' | 'group' | 'commit'

export interface ClusterListener {
  onLost(error: Error): void
  onRestored(): void
  /** The brokers do not take this bus back as things are. It goes on trying. */
  onRefused(error: Error): void
  /** Asks the brokers for what is known of the topics, now and then. @throws ConnectionError when they do not answer */
  onCheck(): Promise<void>
}

/** The library with the versions that the brokers speak. */
export interface KafkaSession {
  readonly library: KafkaLibrary
  readonly apis: KafkaApis
}

/** A connection and what is known of it. */
interface Line {
  readonly key: string
  readonly connection: KafkaConnection
  readonly server: ServerAddress
  firstError: Error | undefined
  pending: number
  isClosing: boolean
}

/** The brokers: connections to each, remade when they break, and one that is asked now and then whether it lives. */
export class KafkaCluster {
  readonly address: string
  readonly #options: ResolvedKafkaOptions
  readonly #listener: ClusterListener
  readonly #closed = new AbortController()
  readonly #lines = new Map<string, Promise<Line>>()
  #brokers = new Map<number, BrokerNode>()
  #session: KafkaSession | undefined
  #security: object | undefined
  #isUp = false
  #waiting: PromiseWithResolvers<void> = Promise.withResolvers()
  #ping: NodeJS.Timeout | undefined
  #reconnecting = false
  #restorations = 0
  #trouble: string | undefined

  constructor(options: ResolvedKafkaOptions, listener: ClusterListener) {
    this.#options = options
    this.address = options.address
    this.#listener = listener
  }

  /** The library and its protocol. @throws ConnectionError before the first connection */
  get session(): KafkaSession {
    if (this.#session === undefined) throw this.#noConnection()
    return this.#session
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** Why there is no connection; undefined while there is one. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  get brokerIds(): readonly number[] {
    return [...this.#brokers.keys()]
  }

  /** Makes the first connection. @throws ConnectionError */
  async connect(): Promise<void> {
    if (this.#session !== undefined) return
    const library = await loadKafka()
    const { compressionType } = this.#options
    if (library.compressionsAlgorithms[compressionType]?.available !== true) {
      throw new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `compressionType '${compressionType}' is not available in Node.js ${process.version}; choose another.`,
      )
    }
    this.#security = await connectionSecurity(this.#options)
    const line = await this.#firstLine(library)
    try {
      const apis = await this.#within(line, negotiateApis(library, line.connection, this.address))
      // A broker that wants SASL answers which versions it speaks, and closes the connection at the next request.
      await this.#within(line, apis.metadata.async(line.connection, [], false, false))
      this.#session = { library, apis }
    } catch (error) {
      void this.#drop(line)
      throw await this.#explain(library, line.server, connectionError(this.address, line.firstError ?? error))
    }
    this.#isUp = true
    this.#waiting.resolve()
    this.#ping = setInterval(() => this.#checkLife(), this.#options.metadataMaxAgeMs).unref()
  }

  /** Waits for the brokers. @returns false when the signal aborts or the cluster is closed first. */
  async whenUp(signal: AbortSignal): Promise<boolean> {
    while (!this.#isUp && !signal.aborted && !this.#closed.signal.aborted) {
      const stop = AbortSignal.any([signal, this.#closed.signal])
      const aborted = Promise.withResolvers<void>()
      const onAbort = () => aborted.resolve()
      stop.addEventListener('abort', onAbort, { once: true })
      await Promise.race([this.#waiting.promise, aborted.promise])
      stop.removeEventListener('abort', onAbort)
    }
    return this.#isUp && !signal.aborted
  }

  /** Asks about topics, and notes where the brokers are. @throws ConnectionError */
  async metadata(topics: readonly string[]): Promise<MetadataResponse> {
    const response = await this.request(undefined, 'control', this.session.apis.metadata, [
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
   * @throws ConnectionError when there is no answer; codes in an answer are the caller's to read.
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

  /** As `request`, for requests that are built by hand. */
  async exchange<T>(
    nodeId: number | undefined,
    use: ConnectionUse,
    send: (connection: KafkaConnection) => Promise<T>,
    timeoutMs = this.#options.requestTimeoutMs,
  ): Promise<T> {
    const line = await this.#line(nodeId, use)
    line.pending += 1
    try {
      return await this.#within(line, send(line.connection), timeoutMs)
    } catch (thrown) {
      const response = responseIn(thrown)
      // An answer whose codes are errors comes as an error of the client; it is an answer all the same.
      if (response !== undefined) return response as T
      throw lostError(this.address, line.firstError ?? thrown)
    } finally {
      line.pending -= 1
    }
  }

  /** Cuts a connection whose request waits at the broker, because the answer is no longer wanted. */
  async cut(nodeId: number, use: ConnectionUse): Promise<void> {
    const line = await this.#lines.get(keyOf(nodeId, use))?.catch(() => undefined)
    if (line !== undefined) await this.#drop(line)
  }

  async close(signal: AbortSignal): Promise<void> {
    this.#closed.abort()
    clearInterval(this.#ping)
    this.#isUp = false
    this.#waiting.resolve()
    const lines = [...this.#lines.values()]
    const closing = Promise.allSettled(lines.map(async (line) => this.#drop(await line)))
    await Promise.race([closing, aborted(signal)])
  }

  async #firstLine(library: KafkaLibrary): Promise<Line> {
    const failures: ConnectionError[] = []
    for (const server of this.#options.servers) {
      try {
        const line = await this.#open(library, keyOf(undefined, 'control'), server)
        this.#lines.set(line.key, Promise.resolve(line))
        return line
      } catch (error) {
        failures.push(await this.#explain(library, server, connectionError(this.address, error)))
      }
    }
    throw failures.find(({ retryable }) => !retryable) ?? failures[0] ?? this.#noConnection()
  }

  async #explain(
    library: KafkaLibrary,
    server: ServerAddress,
    error: ConnectionError,
  ): Promise<ConnectionError> {
    if (!error.retryable) return error
    return (await findMismatch(library, this.#options, server, this.#security ?? {})) ?? error
  }

  #line(nodeId: number | undefined, use: ConnectionUse): Promise<Line> {
    if (this.#closed.signal.aborted) return Promise.reject(this.#noConnection())
    const key = keyOf(nodeId, use)
    const known = this.#lines.get(key)
    if (known !== undefined) return known
    const restorations = this.#restorations
    const opening = this.#openAny(nodeId, key)
    this.#lines.set(key, opening)
    opening.catch((error: unknown) => {
      if (this.#lines.get(key) === opening) this.#lines.delete(key)
      // What was begun before the brokers were back says nothing of now.
      if (restorations !== this.#restorations) return
      // One broker of several may be away for long while the others do its work.
      if (nodeId === undefined || this.#brokers.size <= 1) this.#lost(toError(error))
    })
    return opening
  }

  async #openAny(nodeId: number | undefined, key: string): Promise<Line> {
    const { library } = this.session
    if (nodeId !== undefined) {
      const broker = this.#brokers.get(nodeId)
      if (broker === undefined) throw this.#noConnection()
      return this.#open(library, key, broker)
    }
    let failure: unknown
    for (const server of [...this.#brokers.values(), ...this.#options.servers]) {
      try {
        return await this.#open(library, key, server)
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }

  async #open(library: KafkaLibrary, key: string, server: ServerAddress): Promise<Line> {
    const { host, port } = server
    const connection = new library.Connection(this.#options.consumerName, {
      connectTimeout: this.#options.connectTimeoutMs,
      // Each request has its own limit here, and the broker keeps the order of one connection.
      requestTimeout: 2 ** 31 - 1,
      maxInflights: 1000,
      // Brokers behind one address are told apart by it. It must be no IP address.
      ...(isIP(host) === 0 ? { tlsServerName: host } : {}),
      ...this.#security,
    })
    const line: Line = { key, connection, server, firstError: undefined, pending: 0, isClosing: false }
    connection.on('error', (error) => {
      line.firstError ??= error
    })
    connection.on('close', () => this.#onClose(line))
    const connecting = connection.connect(host, port)
    // The client's own limit does not count the time of a handshake that never ends.
    if (
      !(await settledWithin(
        connecting.catch(() => undefined),
        this.#options.connectTimeoutMs,
      ))
    ) {
      line.isClosing = true
      void connection.close().catch(() => undefined)
      throw connectionError(
        this.address,
        new Error(`no connection within ${this.#options.connectTimeoutMs} ms`),
      )
    }
    try {
      await connecting
    } catch (error) {
      throw connectionError(this.address, line.firstError ?? error)
    }
    if (this.#closed.signal.aborted) {
      void this.#drop(line)
      throw this.#noConnection()
    }
    return line
  }

  /** Fails when there is no answer in time, and gives up the connection then. */
  async #within<T>(line: Line, answer: Promise<T>, timeoutMs = this.#options.requestTimeoutMs): Promise<T> {
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      line.firstError ??= new Error(`no answer within ${timeoutMs} ms`)
      late.reject(line.firstError)
      this.#onClose(line)
      void this.#drop(line)
    }, timeoutMs)
    answer.catch(() => undefined)
    try {
      return await Promise.race([answer, late.promise])
    } finally {
      clearTimeout(timer)
    }
  }

  #onClose(line: Line): void {
    if (line.isClosing) return
    line.isClosing = true
    this.#lines.delete(line.key)
    // A broker closes connections that nobody has used for long; that is no outage.
    if (line.pending === 0 && line.key !== keyOf(undefined, 'control')) {
      // Without acknowledgments it is the only sign that another broker leads a partition now.
      if (line.key.endsWith('produce')) this.#checkLife()
      return
    }
    this.#lost(line.firstError ?? new Error('closed by the broker'))
  }

  async #drop(line: Line): Promise<void> {
    line.isClosing = true
    const current = await this.#lines.get(line.key)?.catch(() => undefined)
    if (current === line) this.#lines.delete(line.key)
    await line.connection.close().catch(() => undefined)
  }

  #lost(error: Error): void {
    if (!this.#isUp || this.#closed.signal.aborted) return
    this.#isUp = false
    this.#waiting = Promise.withResolvers()
    const lost = lostError(this.address, error)
    this.#listener.onLost(lost)
    void this.#reconnect(lost.message)
  }

  async #reconnect(reason: string): Promise<void> {
    if (this.#reconnecting) return
    this.#reconnecting = true
    this.#trouble = reason
    for (let failure = 1; await sleep(RECONNECT.backoff(failure), this.#closed.signal); failure += 1) {
      try {
        await this.metadata([])
        this.#isUp = true
        this.#restorations += 1
        this.#waiting.resolve()
        this.#listener.onRestored()
        break
      } catch (thrown) {
        const error = toError(thrown)
        // The loss was told already; each further attempt is one line less in the log. A refusal is news.
        if (error instanceof ConnectionError && !error.retryable && error.message !== this.#trouble) {
          this.#trouble = error.message
          this.#listener.onRefused(error)
        }
      }
    }
    this.#trouble = undefined
    this.#reconnecting = false
  }

  /** A connection whose other end is gone without a word never fails by itself. */
  #checkLife(): void {
    if (this.#isUp) this.#listener.onCheck().catch((error: unknown) => this.#lost(toError(error)))
  }

  #noConnection(): ConnectionError {
    return new ConnectionError(
      'CONNECTION_LOST',
      `There is no connection to Kafka at ${this.address} at the moment.`,
    )
  }
}

function keyOf(nodeId: number | undefined, use: ConnectionUse): string {
  return `${nodeId ?? 'any'} ${use}`
}

function responseIn(thrown: unknown): unknown {
  return typeof thrown === 'object' && thrown !== null && 'response' in thrown ? thrown.response : undefined
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (signal.aborted) resolve()
  else signal.addEventListener('abort', () => resolve(), { once: true })
  return promise
}
