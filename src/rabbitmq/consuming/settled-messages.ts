import type { AmqpMessage } from '../client/client.ts'

/** Beyond this number the oldest message is forgotten, and handled again if it is redelivered. */
const LIMIT = 10_000
/** How long a message is remembered, in milliseconds. The broker may notice the loss of a connection minutes later. */
const KEPT_MS = 600_000

/**
 * Messages that were settled without an acknowledgment that certainly reached the broker: their channel had closed, or
 * closed soon afterwards. If the broker redelivers one to this process, it need not be handled again.
 */
export class SettledMessages {
  /** The times at which they were added, by the monotonic clock. */
  readonly #since = new Map<string, number>()

  add(message: AmqpMessage): void {
    const key = settledKeyOf(message)
    if (key !== undefined) this.addKeys([key])
  }

  addKeys(keys: readonly string[]): void {
    const now = performance.now()
    for (const key of keys) {
      this.#since.set(key, now)
      if (this.#since.size <= LIMIT) continue
      const [oldest] = this.#since.keys()
      if (oldest !== undefined) this.#since.delete(oldest)
    }
  }

  /** Removes a message. @returns true if it was there. */
  take(message: AmqpMessage): boolean {
    const key = this.#since.size > 0 ? settledKeyOf(message) : undefined
    const since = key === undefined ? undefined : this.#since.get(key)
    if (key === undefined || since === undefined) return false
    this.#since.delete(key)
    return performance.now() - since < KEPT_MS
  }
}

/** The same for every delivery of a message; undefined without an id, as equal messages cannot be distinguished. */
export function settledKeyOf({ fields, properties, content }: AmqpMessage): string | undefined {
  const { messageId } = properties
  if (messageId === undefined) return undefined
  // A replay of a dead letter has the id of the original, but comes through another exchange.
  return `${messageId} ${fields.exchange} ${fields.routingKey} ${content.length}`
}
