import { isIP } from 'node:net'
import { settledWithin } from '../../kit/time.ts'
import type { ServerAddress } from '../../transport/transport.ts'
import { connectionError } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { type KafkaApis, negotiateApis } from './apis.ts'
import type { KafkaConnection, KafkaLibrary } from './client.ts'
import { guardFrames } from './frame-guard.ts'
import { addressText } from './servers.ts'

/** Timers cannot wait longer than this, in milliseconds. */
const NO_TIMEOUT = 2 ** 31 - 1
const MAX_IN_FLIGHT = 1000

/** The purpose of a connection. A request that waits at the broker delays those behind it, so each use has its own. */
export type ConnectionUse = 'control' | 'produce' | 'fetch' | 'deadLetters' | 'group' | 'commit'

/** Sends a request on a connection, in a version that its broker supports. */
export type BrokerRequest<T> = (connection: KafkaConnection, apis: KafkaApis) => Promise<T>

/** Where a connection leads, and what for. */
export interface ConnectionTarget {
  /** The broker; undefined if any broker will do. */
  readonly nodeId: number | undefined
  readonly use: ConnectionUse
  readonly server: ServerAddress
}

export interface BrokerConnectionParts {
  readonly library: KafkaLibrary
  readonly options: ResolvedKafkaOptions
  /** TLS and SASL options of the client. */
  readonly security: object | undefined
  /** Called when an open connection breaks, or a request on it times out. Not called after `close`. */
  readonly onBroken: (connection: BrokerConnection) => void
}

/** A connection to one broker, and its requests in flight. */
export class BrokerConnection {
  readonly target: ConnectionTarget
  readonly #connection: KafkaConnection
  readonly #parts: BrokerConnectionParts
  #apis: KafkaApis | undefined
  #firstError: Error | undefined
  #pending = 0
  #isClosing = false

  constructor(target: ConnectionTarget, parts: BrokerConnectionParts) {
    const { library, options, security } = parts
    this.target = target
    this.#parts = parts
    this.#connection = new library.Connection(options.consumerName, {
      connectTimeout: options.connectTimeoutMs,
      // `send` limits each request, and the broker keeps the order of the requests on a connection.
      requestTimeout: NO_TIMEOUT,
      maxInflights: MAX_IN_FLIGHT,
      // Brokers that share an address are distinguished by the server name, which must not be an IP address.
      ...(isIP(target.server.host) === 0 ? { tlsServerName: target.server.host } : {}),
      ...security,
    })
    this.#connection.on('error', (error) => {
      this.#firstError ??= error
    })
    this.#connection.on('close', () => this.#onBroken())
  }

  /** The error that explains a failure, if the connection has reported one before it. */
  get firstError(): Error | undefined {
    return this.#firstError
  }

  get isIdle(): boolean {
    return this.#pending === 0
  }

  /** Connects, authenticates, and reads the versions that this broker supports. @throws ConnectionError */
  async connect(): Promise<void> {
    const { options } = this.#parts
    const { connectTimeoutMs } = options
    const address = addressText(this.target.server)
    try {
      // The client's own timeout does not include the handshake.
      if (await settledWithin(this.#handshake(), connectTimeoutMs)) return
    } catch (error) {
      void this.close()
      throw connectionError(address, this.#firstError ?? error)
    }
    void this.close()
    throw connectionError(address, new Error(`no answer within ${connectTimeoutMs} ms (connectTimeoutMs)`))
  }

  async #handshake(): Promise<void> {
    const { host, port } = this.target.server
    const connecting = this.#connection.connect(host, port)
    const { socket } = this.#connection
    if (socket !== undefined) guardFrames(socket, this.#parts.options.maxResponseBytes)
    await connecting
    this.#apis = await negotiateApis(this.#parts.library, this.#connection, addressText(this.target.server))
  }

  /** Sends a request and waits for the answer. A connection whose answer is late is closed. */
  async send<T>(request: BrokerRequest<T>, timeoutMs: number): Promise<T> {
    if (this.#apis === undefined) throw new Error('The connection is not open yet.')
    this.#pending += 1
    try {
      const answer = request(this.#connection, this.#apis)
      if (await settledWithin(answer, timeoutMs)) return await answer
      this.#firstError ??= new Error(`no answer within ${timeoutMs} ms`)
      this.#onBroken()
      void this.close()
      throw this.#firstError
    } finally {
      this.#pending -= 1
    }
  }

  /** Idempotent. Requests in flight fail. */
  async close(): Promise<void> {
    this.#isClosing = true
    await this.#connection.close().catch(() => undefined)
  }

  #onBroken(): void {
    if (this.#isClosing) return
    this.#isClosing = true
    this.#parts.onBroken(this)
  }
}
