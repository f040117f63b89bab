import { settledUntil, settledWithin, sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import { commandError, lostError } from '../errors.ts'
import type { AmqpChannel, AmqpConnection } from './client.ts'
import { channelCloser, closeConnection, destroySocket } from './closing.ts'
import type { RabbitMQDialer } from './dialer.ts'
import { type ReconnectDelays, reconnectDelay } from './reconnect-delay.ts'

/** What lives on a connection and has to be built again on the next one. */
export interface ConnectionSession {
  /** Opens its channels. Called again after each loss, on the same connection if only a channel was lost. */
  open(connection: AmqpConnection): Promise<void>
  /** What was opened is gone. */
  closed(error: ConnectionError): void
}

/** Does something on a channel of its own. */
export type WithChannel = <T>(work: (channel: AmqpChannel) => Promise<T>) => Promise<T>

/** Who wants to know how a connection fares. */
export interface ConnectionObserver {
  lost(error: ConnectionError): void
  /** Connected again, the session open. */
  restored(): void
  /** The broker closed a channel; the connection is there. */
  channelLost(error: ConnectionError): void
  restoreFailed(error: ConnectionError, failure: number): void
  blocked(reason: string): void
  unblocked(): void
  /** Closed on purpose. */
  closed(): void
}

export interface ConnectionSettings extends ReconnectDelays {
  /** Tells one bus's connections apart, for the broker's list of them. */
  readonly purpose: string
  readonly address: string
  readonly connectTimeoutMs: number
}

/** The first attempt after a loss comes within this time, in milliseconds: a cut connection can be made again at once. */
const FIRST_RETRY_MS = 100
/** Longest time for the goodbye of a connection that is given up, in milliseconds. */
const GOODBYE_MS = 500

/**
 * One connection with what lives on it, kept up until it is closed. The client's own recovery is not used: it knows
 * nothing of channels that the broker closes while the connection stays, and gives its channels no second life.
 */
export class RabbitMQConnection {
  readonly #dialer: RabbitMQDialer
  readonly #settings: ConnectionSettings
  readonly #session: ConnectionSession
  readonly #observer: ConnectionObserver
  readonly #closing = new AbortController()
  #connection: AmqpConnection | undefined
  /** Ends with the connection: nobody waits for an answer any longer then. */
  #life = new AbortController()
  #opening: Promise<void> | undefined
  #isOpen = false
  #isRestoring = false
  #restoredAt = 0
  #blockedReason: string | undefined

  constructor(
    dialer: RabbitMQDialer,
    settings: ConnectionSettings,
    session: ConnectionSession,
    observer: ConnectionObserver,
  ) {
    this.#dialer = dialer
    this.#settings = settings
    this.#session = session
    this.#observer = observer
  }

  /** True while connected, with the session open. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** @throws ConnectionError when it does not work at once; from the first success on, losses are repaired. */
  async open(): Promise<void> {
    if (this.#isOpen || this.#isRestoring) return
    this.#opening ??= this.#establish().finally(() => {
      this.#opening = undefined
    })
    await this.#opening
  }

  /** Called by the session when the broker closed one of its channels, or when it wants to start over. */
  sessionLost(thrown: unknown): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    const error = commandError(this.#settings.address, thrown)
    this.#session.closed(error)
    if (this.#connection !== undefined) this.#observer.channelLost(error)
    this.#startRestoring()
  }

  /**
   * Does something on a channel of its own, which a refusal of the broker closes.
   * @throws ConnectionError
   */
  async withChannel<T>(work: (channel: AmqpChannel) => Promise<T>): Promise<T> {
    const { address, connectTimeoutMs } = this.#settings
    const connection = this.#connection
    if (connection === undefined)
      throw new ConnectionError('CONNECTION_LOST', `There is no connection to RabbitMQ at ${address} now.`)
    if (this.#blockedReason !== undefined) {
      // It does not even read what is asked of it.
      throw new ConnectionError(
        'CONNECTION_FAILED',
        `RabbitMQ at ${address} blocks us: ${this.#blockedReason}.`,
      )
    }
    const done = onOwnChannel(connection, work)
    done.catch(() => undefined)
    // A frozen broker answers nothing; the work may be long, as reading many dead letters is.
    const patience = AbortSignal.timeout(Math.max(connectTimeoutMs, 60_000))
    const isAnswered = await settledUntil(
      done.catch(() => undefined),
      AbortSignal.any([this.#life.signal, patience]),
    )
    if (!isAnswered) {
      throw new ConnectionError('CONNECTION_LOST', `RabbitMQ at ${address} does not answer.`)
    }
    return done.catch((error: unknown) => {
      throw commandError(address, error)
    })
  }

  /** Closes for good. */
  async close(signal: AbortSignal): Promise<void> {
    this.#closing.abort()
    this.#isOpen = false
    await this.#opening?.catch(() => undefined)
    const connection = this.#connection
    this.#connection = undefined
    this.#life.abort()
    if (connection !== undefined) await closeConnection(connection, signal)
    this.#observer.closed()
  }

  async #establish(): Promise<void> {
    const { address, connectTimeoutMs } = this.#settings
    const connection = this.#connection ?? (await this.#dial())
    try {
      if (!(await settledWithin(this.#session.open(connection), connectTimeoutMs))) {
        throw new ConnectionError(
          'CONNECTION_FAILED',
          `RabbitMQ at ${address} connects, but does not answer.`,
        )
      }
      if (this.#connection !== connection) throw new Error('closed while it was set up')
    } catch (error) {
      await this.#abandon(connection)
      throw commandError(address, error)
    }
    this.#isOpen = true
    this.#restoredAt = performance.now()
  }

  async #dial(): Promise<AmqpConnection> {
    const connection = await this.#dialer.dial(this.#settings.purpose)
    this.#watch(connection)
    if (this.#closing.signal.aborted) {
      await closeConnection(connection, AbortSignal.timeout(GOODBYE_MS))
      throw new ConnectionError('CONNECTION_FAILED', 'The bus was shut down while it was connecting.')
    }
    this.#connection = connection
    this.#life = new AbortController()
    return connection
  }

  #watch(connection: AmqpConnection): void {
    let cause: Error | undefined
    connection.on('error', (error) => {
      cause = error
    })
    connection.on('close', (error) => this.#lost(connection, error ?? cause))
    connection.on('blocked', (reason) => {
      this.#blockedReason = reason
      this.#observer.blocked(reason)
    })
    connection.on('unblocked', () => {
      this.#blockedReason = undefined
      this.#observer.unblocked()
    })
  }

  #lost(connection: AmqpConnection, cause: Error | undefined): void {
    if (this.#connection !== connection) return
    this.#connection = undefined
    this.#life.abort()
    this.#blockedReason = undefined
    // If the broker fell silent, the client ends only its own side and waits for the broker's: the socket would stay.
    destroySocket(connection)
    if (!this.#isOpen || this.#closing.signal.aborted) return
    this.#isOpen = false
    const error = lostError(this.#settings.address, cause)
    this.#session.closed(error)
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
    // What breaks again as soon as it stands is not mended in a hurry.
    const isFresh = lostAt - this.#restoredAt < this.#settings.reconnectDelayMs
    let delayMs = isFresh ? this.#delay(0) : Math.random() * FIRST_RETRY_MS
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
      this.#life.abort()
    }
    await closeConnection(connection, AbortSignal.timeout(GOODBYE_MS))
  }
}

async function onOwnChannel<T>(
  connection: AmqpConnection,
  work: (channel: AmqpChannel) => Promise<T>,
): Promise<T> {
  const channel = await connection.createConfirmChannel()
  const close = channelCloser(channel)
  // The failed command rejects with the same error.
  channel.on('error', () => undefined)
  try {
    return await work(channel)
  } finally {
    await close()
  }
}
