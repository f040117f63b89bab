import type { DomainEvent } from '../../events/index.ts'
import type { HandlerEntry } from '../../handling/handler-entry.ts'
import type { HandlerFailure } from '../../handling/handler-failure.ts'
import type { Delivery } from '../../transport/transport.ts'

/** Beyond this number of messages, the bus forgets the oldest one. */
const LIMIT = 10_000

/** How long the bus remembers a message, in milliseconds. */
const KEPT_MS = 3_600_000

const NONE: readonly HandlerEntry[] = Object.freeze([])

interface Successes {
  /** Identity of the message. */
  readonly message: string
  readonly handlers: readonly HandlerEntry[]
  /** By the monotonic clock. */
  readonly since: number
}

/**
 * The handlers that have succeeded for messages that are not settled. A transport may be unable to record them: the
 * connection was lost, or another consumer has the message. If the message returns to this process, these handlers do not
 * run again.
 *
 * In doubt, the bus forgets a handler, which then runs again. A handler that it remembers has succeeded for this event, in
 * an earlier delivery of this message, through this subscription.
 */
export class UnrecordedSuccesses {
  /** By the id of the event, in the order in which the first handler succeeded. */
  readonly #events = new Map<string, Successes>()

  /** Adds the handlers that did not fail. */
  add(
    delivery: Delivery,
    event: DomainEvent,
    handlers: readonly HandlerEntry[],
    failures: readonly HandlerFailure[] = [],
  ): void {
    const succeeded = handlers.filter((handler) => !failures.some((failure) => failure.handler === handler))
    if (succeeded.length === 0) return
    const { handlers: earlier, since } = this.#find(delivery, event) ?? {
      handlers: NONE,
      since: performance.now(),
    }
    const all = [...earlier, ...succeeded]
    this.#events.set(event.eventId, { message: identityOf(delivery), handlers: all, since })
    if (this.#events.size <= LIMIT) return
    const [oldest] = this.#events.keys()
    if (oldest !== undefined) this.#events.delete(oldest)
  }

  /**
   * The handlers that succeeded in earlier deliveries of the message to this process. A delivery that counts as the first
   * has none: an operator may have moved the group back, so that it handles its events again.
   */
  of(delivery: Delivery, event: DomainEvent): readonly HandlerEntry[] {
    if (delivery.deliveryCount === 1) this.forget(delivery, event)
    return this.#find(delivery, event)?.handlers ?? NONE
  }

  /** Called when the message is settled. */
  forget(delivery: Delivery, event: DomainEvent): void {
    if (this.#find(delivery, event) !== undefined) this.#events.delete(event.eventId)
  }

  #find(delivery: Delivery, { eventId }: DomainEvent): Successes | undefined {
    if (this.#events.size === 0) return undefined
    const found = this.#events.get(eventId)
    // The event may have been published twice, or be a replay.
    if (found === undefined || found.message !== identityOf(delivery)) return undefined
    if (performance.now() - found.since < KEPT_MS) return found
    this.#events.delete(eventId)
    return undefined
  }
}

function identityOf({ identity, message }: Delivery): string {
  return identity ?? message.id
}
