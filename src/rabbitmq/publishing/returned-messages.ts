import type { AmqpMessage } from '../client/client.ts'
import type { AmqpOutgoing } from '../wire/message.ts'

/**
 * The messages that the broker returned as unroutable. It returns a message before it confirms it, and identifies it by
 * its routing key and id only, so equal ones are counted.
 */
export class ReturnedMessages {
  readonly #counts = new Map<string, number>()

  add({ fields, properties }: AmqpMessage): void {
    const key = keyOf(fields.routingKey, properties.messageId)
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
  }

  /** Removes one message. @returns true if it was returned. */
  take({ routingKey, properties }: AmqpOutgoing): boolean {
    if (this.#counts.size === 0) return false
    const key = keyOf(routingKey, properties.messageId)
    const count = this.#counts.get(key)
    if (count === undefined) return false
    if (count > 1) this.#counts.set(key, count - 1)
    else this.#counts.delete(key)
    return true
  }

  clear(): void {
    this.#counts.clear()
  }
}

function keyOf(routingKey: string, messageId: string | undefined): string {
  return `${routingKey}\0${messageId ?? ''}`
}
