import { settledWithin, sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import { commandError, lostError } from '../errors.ts'
import type { AmqpChannel, AmqpConnection } from './client.ts'
import { closeConnection, destroySocket } from './closing.ts'
import type { RabbitMQDialer } from './dialer.ts'
import { onOwnChannel } from './own-channel.ts'
import { type ReconnectDelays, reconnectDelay } from './reconnect-delay.ts'

/** Owns the long-lived channels of a connection, and opens them again on the next one. */
export interface ChannelOwner {
  /** Opens the channels. Called again after each loss, on the same connection if only a channel was lost. */
  open(connection: AmqpConnection): Promise<void>
  /** The channels are closed, or about to be. */
  closed(error: ConnectionError): void
}

/** Runs work on a channel of its own. See {@link OwnChannelOptions} for the limit. */
export type WithChannel = <T>(work: (channel: AmqpChannel) => Promise<T>, limitMs?: number) => Promise<T>

/** Notified of the state of a connection. */
export interface ConnectionObserver {
  lost(error: ConnectionError): void
  /** Connected again, with the owner's channels open. */
  restored(): void
  /** A channel was lost; the connection is still open. */
  channelLost(error: ConnectionError): void
  restoreFailed(error: ConnectionError, failure: number): void
  blocked(reason: string): void
  unblocked(): void
  /** Closed by the bus. */
  closed(): void
}

export interface ConnectionSettings extends ReconnectDelays {
  /** Distinguishes the connections of one bus in the broker's list of connections. */
  readonly purpose: string
  readonly address: string
  readonly connectTimeoutMs: number
}

/** The first attempt to reconnect is made within this time, in milliseconds: a cut connection may work again at once. */
const FIRST_RETRY_MS = 100
/** Shortest limit for the work on a channel of its own, in milliseconds: it may be to read many dead letters. */
const MIN_LIMIT_MS = 60_000
/** Longest time to close a connection that is abandoned, in milliseconds. */
const CLOSE_TIMEOUT_MS = 500

/**
 * One connection with its owner's channels, restored after each loss until it is closed. The client's own recovery is
 * not used: it restores channels only together with their connection, but the broker may also close a single channel.
 */
export class RabbitMQConnection {
  readonly #dialer: RabbitMQDialer
  readonly #settings: ConnectionSettings
  readonly #owner: ChannelOwner
  readonly #observer: ConnectionObserver
  readonly #closing = new AbortController()
  #connection: AmqpConnection | undefined
  /** Aborts when the current connection is lost, which ends the wait for its answers. */
  #connectionLost = new AbortController()
  #opening: Promise<void> | undefined
  #isOpen = false
  #isRestoring = false
  #restoredAt = 0
  /** Why the last connection was lost. */
  #lossCause: Error | undefined
  #blockedReason: string | undefined

  constructor(
    dialer: RabbitMQDialer,
    settings: ConnectionSettings,
    owner: ChannelOwner,
    observer: ConnectionObserver,
  ) {
    this.#dialer = dialer
    this.#settings = settings
    this.#owner = owner
    this.#observer = observer
  }

  /** True while connected, with the owner's channels open. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /**
   * Connects once. After the first success, losses are repaired.
   * @throws ConnectionError if the attempt fails.
   */
  async open(): Promise<void> {
    if (this.#isOpen || this.#isRestoring) return
    this.#opening ??= this.#establish().finally(() => {
      this.#opening = undefined
    })
    await this.#opening
  }

  /** Opens the owner's channels again, after one of them was lost. No-op unless the connection is open. */
  reopen(cause: unknown): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    const error = commandError(this.#settings.address, cause)
    this.#owner.closed(error)
    if (this.#connection !== undefined) this.#observer.channelLost(error)
    this.#startRestoring()
  }

  /** See {@link onOwnChannel}. @throws ConnectionError also if there is no connection, or the broker blocks it. */
  async withChannel<T>(work: (channel: AmqpChannel) => Promise<T>, limitMs?: number): Promise<T> {
    const { address, connectTimeoutMs } = this.#settings
    const connection = this.#connection
    if (connection === undefined) {
      throw new ConnectionError('CONNECTION_LOST', `RabbitMQ at ${address} is not connected.`)
    }
    if (this.#blockedReason !== undefined) {
      // The broker does not read the frames of a blocked connection.
      throw new ConnectionError(
        'CONNECTION_FAILED',
        `RabbitMQ at ${address} blocks this connection: ${this.#blockedReason}.`,
      )
    }
    return onOwnChannel(connection, work, {
      address,
      limitMs: limitMs ?? Math.max(connectTimeoutMs, MIN_LIMIT_MS),
      connectionLost: this.#connectionLost.signal,
    })
  }

  /** Closes the connection, which is not restored then. */
  async close(signal: AbortSignal): Promise<void> {
    this.#closing.abort()
    this.#isOpen = false
    await this.#opening?.catch(() => undefined)
    const connection = this.#connection
    this.#connection = undefined
    this.#connectionLost.abort()
    if (connection !== undefined) await closeConnection(connection, signal)
    this.#observer.closed()
  }

  async #establish(): Promise<void> {
    const { address, connectTimeoutMs } = this.#settings
    const connection = this.#connection ?? (await this.#dial())
    try {
      if (!(await settledWithin(this.#owner.open(connection), connectTimeoutMs))) {
        throw new ConnectionError(
          'CONNECTION_FAILED',
          `RabbitMQ at ${address} accepted the connection, but did not answer within ${connectTimeoutMs} ms ` +
            '(connectTimeoutMs).',
        )
      }
      if (this.#connection !== connection) throw new Error('closed while its channels were opened')
    } catch (error) {
      // A command that ends the whole connection, such as one that the broker does not know, fails without a reason.
      const isLost = this.#connection !== connection
      await this.#abandon(connection)
      throw commandError(address, (isLost ? this.#lossCause : undefined) ?? error)
    }
    this.#isOpen = true
    this.#restoredAt = performance.now()
  }

  async #dial(): Promise<AmqpConnection> {
    const connection = await this.#dialer.dial(this.#settings.purpose)
    this.#watch(connection)
    if (this.#closing.signal.aborted) {
      await closeConnection(connection, AbortSignal.timeout(CLOSE_TIMEOUT_MS))
      throw new ConnectionError('CONNECTION_FAILED', 'The bus was shut down while it was connecting.')
    }
    this.#connection = connection
    this.#lossCause = undefined
    this.#connectionLost = new AbortController()
    return connection
  }

  #watch(connection: AmqpConnection): void {
    let cause: Error | undefined
    connection.on('error', (error) => {
      cause = error
    })
    connection.on('close', (error) => this.#onLost(connection, error ?? cause))
    connection.on('blocked', (reason) => {
      this.#blockedReason = reason
      this.#observer.blocked(reason)
    })
    connection.on('unblocked', () => {
      this.#blockedReason = undefined
      this.#observer.unblocked()
    })
  }

  #onLost(connection: AmqpConnection, cause: Error | undefined): void {
    if (this.#connection !== connection) return
    this.#connection = undefined
    this.#lossCause = cause
    this.#connectionLost.abort()
    this.#blockedReason = undefined
    // The client ends its own side of the socket and waits for the broker's, which a silent broker never ends.
    destroySocket(connection)
    if (!this.#isOpen || this.#closing.signal.aborted) return
    this.#isOpen = false
    const error = lostError(this.#settings.address, cause)
    this.#owner.closed(error)
    this.#observer.lost(error)
    this.#startRestoring()
  }

  #startRestoring(): void {
    if (this.#isRestoring || this.#closing.signal.aborted) return
    this.#isRestoring = true
    void this.#restore().finally(() => {
      this.#isRestoring = false
    })
  }

  async #restore(): Promise<void> {
    const lostAt = performance.now()
    // If each restored connection is lost right away, the first retry must wait too.
    const isRepeated = lostAt - this.#restoredAt < this.#settings.reconnectDelayMs
    let delayMs = isRepeated ? this.#delay(0) : Math.random() * FIRST_RETRY_MS
    for (let failure = 1; ; failure += 1) {
      if (!(await sleep(delayMs, this.#closing.signal))) return
      try {
        await this.#establish()
        this.#isRestoring = false
        this.#observer.restored()
        return
      } catch (thrown) {
        if (this.#closing.signal.aborted) return
        this.#observer.restoreFailed(commandError(this.#settings.address, thrown), failure)
      }
      delayMs = this.#delay(performance.now() - lostAt)
    }
  }

  #delay(outageMs: number): number {
    return reconnectDelay(this.#settings, outageMs, Math.random())
  }

  async #abandon(connection: AmqpConnection): Promise<void> {
    if (this.#connection === connection) {
      this.#connection = undefined
      this.#connectionLost.abort()
    }
    await closeConnection(connection, AbortSignal.timeout(CLOSE_TIMEOUT_MS))
  }
}
