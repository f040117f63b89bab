import type { Logger } from '../../observability/logger.ts'
import type { ConnectionError } from '../../transport/errors.ts'
import type { TransportHost } from '../../transport/transport.ts'

type Purpose = 'publisher' | 'consumer'

/** Routing keys remembered as reported; those beyond it are counted only. */
const MAX_KEYS = 1000

/** Tells of both connections as of one: an outage that takes both is one loss and one return. */
export class LinkReport {
  readonly #exchange: string
  readonly #host: TransportHost
  readonly #logger: Logger
  readonly #down = new Set<Purpose>()
  readonly #reportedKeys = new Set<string>()

  constructor(exchange: string, host: TransportHost, logger: Logger) {
    this.#exchange = exchange
    this.#host = host
    this.#logger = logger
  }

  get isUp(): boolean {
    return this.#down.size === 0
  }

  lost(purpose: Purpose, error: ConnectionError): void {
    const wasUp = this.isUp
    this.#down.add(purpose)
    if (wasUp) this.#host.notify({ type: 'connectionLost', error })
  }

  restored(purpose: Purpose): void {
    if (this.#down.delete(purpose) && this.isUp) this.#host.notify({ type: 'reconnected' })
  }

  /** A connection that was closed on purpose is not missed: what is left is all there again. */
  closed(purpose: Purpose): void {
    if (purpose === 'consumer') this.restored(purpose)
    else this.#down.clear()
  }

  channelLost(purpose: Purpose, error: ConnectionError): void {
    this.#logger.warn('channel closed by the broker, opening it again', { purpose, error })
  }

  /** Waiting helps in most cases; in the others somebody must be told, though not at each attempt. */
  restoreFailed(purpose: Purpose, error: ConnectionError, failure: number): void {
    // What cannot be opened again at once is lost, though it may have been a channel only.
    if (!this.#down.has(purpose)) this.lost(purpose, error)
    const fields = { purpose, failure, error }
    if (!error.retryable && isPowerOfTwo(failure))
      this.#logger.error('cannot reconnect as things are', fields)
    else this.#logger.debug('cannot reconnect yet', fields)
  }

  blocked(purpose: Purpose, reason: string): void {
    if (purpose === 'publisher') this.#host.notify({ type: 'publishingBlocked', reason })
  }

  unblocked(purpose: Purpose): void {
    if (purpose === 'publisher') this.#host.notify({ type: 'publishingResumed' })
  }

  unroutable(routingKey: string): void {
    if (this.#reportedKeys.has(routingKey) || this.#reportedKeys.size >= MAX_KEYS) return
    this.#reportedKeys.add(routingKey)
    this.#logger.warn('no queue is bound for an event, so nobody gets it', {
      exchange: this.#exchange,
      routingKey,
    })
  }
}

function isPowerOfTwo(count: number): boolean {
  return Number.isInteger(Math.log2(count))
}
