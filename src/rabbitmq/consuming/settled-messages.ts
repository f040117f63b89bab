import type { AmqpMessage } from '../client/client.ts'

/** More are forgotten, oldest first; they are handled again then. */
const LIMIT = 10_000

/**
 * Messages that were settled after their channel was lost. The broker delivers them again; where it does so to this
 * process, they need not be handled a second time.
 */
export class SettledMessages {
  readonly #ids = new Set<string>()

  add(message: AmqpMessage): void {
    const id = message.properties.messageId
    // Without an id it cannot be told from its like.
    if (id === undefined) return
    this.#ids.add(id)
    if (this.#ids.size <= LIMIT) return
    const [oldest] = this.#ids
    if (oldest !== undefined) this.#ids.delete(oldest)
  }

  /** @returns true when it was there; it is taken out. */
  take(message: AmqpMessage): boolean {
    return this.#ids.delete(message.properties.messageId ?? '')
  }
}
