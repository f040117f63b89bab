import type { AmqpMessage } from '../client/client.ts'

/** Beyond this number the oldest message is forgotten, and handled again if it is redelivered. */
const LIMIT = 10_000

/**
 * Messages that were settled after their channel closed, so that they could not be acknowledged. If the broker
 * redelivers one to this process, it need not be handled again.
 */
export class SettledMessages {
  readonly #ids = new Set<string>()

  add(message: AmqpMessage): void {
    const id = message.properties.messageId
    // Without an id, equal messages cannot be distinguished.
    if (id === undefined) return
    this.#ids.add(id)
    if (this.#ids.size <= LIMIT) return
    const [oldest] = this.#ids
    if (oldest !== undefined) this.#ids.delete(oldest)
  }

  /** Removes a message. @returns true if it was there. */
  take(message: AmqpMessage): boolean {
    return this.#ids.delete(message.properties.messageId ?? '')
  }
}
