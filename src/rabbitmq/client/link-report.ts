import type { Logger } from '../../observability/logger.ts'
import { quote } from '../../redaction.ts'
import type { ConnectionError } from '../../transport/errors.ts'
import type { TransportHost } from '../../transport/transport.ts'

type Purpose = 'publisher' | 'consumer'

/** Routing keys remembered as logged; unroutable events of further keys are only counted. */
const MAX_KEYS = 1000

/** Reports both connections as one: an outage of both is one loss and one return. */
export class LinkReport {
  readonly #exchange: string
  readonly #host: TransportHost
  readonly #logger: Logger
  readonly #down = new Set<Purpose>()
  readonly #loggedKeys = new Set<string>()

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

  /** A connection that the bus itself closed no longer counts as down. The publisher's is closed only with the bus. */
  closed(purpose: Purpose): void {
    if (purpose === 'consumer') this.restored(purpose)
    else this.#down.clear()
  }

  channelLost(purpose: Purpose, error: ConnectionError): void {
    this.#logger.warn('channel closed by the broker, reopening', { purpose, error })
  }

  /** Logs a failure that waiting does not fix at error level, on the 1st, 2nd, 4th, 8th attempt and so on. */
  restoreFailed(purpose: Purpose, error: ConnectionError, failure: number): void {
    // Only a channel may have been lost; but if it cannot be reopened, the connection is of no use.
    if (!this.#down.has(purpose)) this.lost(purpose, error)
    const fields = { purpose, failure, error }
    if (!error.retryable && isPowerOfTwo(failure)) {
      this.#logger.error('reconnecting refused, trying again', fields)
    } else this.#logger.debug('reconnecting failed, trying again', fields)
  }

  blocked(purpose: Purpose, reason: string): void {
    if (purpose === 'publisher') this.#host.notify({ type: 'publishingBlocked', reason: quote(reason) })
  }

  unblocked(purpose: Purpose): void {
    if (purpose === 'publisher') this.#host.notify({ type: 'publishingResumed' })
  }

  unroutable(routingKey: string): void {
    if (this.#loggedKeys.has(routingKey) || this.#loggedKeys.size >= MAX_KEYS) return
    this.#loggedKeys.add(routingKey)
    this.#logger.warn('event dropped, no queue is bound for its routing key', {
      exchange: this.#exchange,
      routingKey,
    })
  }
}

function isPowerOfTwo(count: number): boolean {
  return Number.isInteger(Math.log2(count))
}
