import { isCalled, UNNAMED_HANDLER } from '../../handling/handler-entry.ts'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import type { ReplayRequest } from '../../transport/transport.ts'
import type { DeadLetter } from './dead-letter.ts'

/** What decides where a dead letter goes. */
type Letter = Pick<DeadLetter, 'eventType' | 'consumerGroup' | 'handlerNames'>

/**
 * Checks before a replay whether this bus has a handler for it. Only a bus with handlers, and only for its own group: the
 * handlers of others are unknown here.
 */
export class ReplayTargets {
  readonly #handlers: HandlerRegistry
  readonly #group: string

  constructor(handlers: HandlerRegistry, group: string) {
    this.#handlers = handlers
    this.#group = group
  }

  /** True if no replay to this destination can be checked here. */
  isUnknown({ group }: ReplayRequest): boolean {
    const hasNone = this.#handlers.count() === 0 && this.#handlers.wildcardCount() === 0
    return hasNone || (group !== undefined && group !== this.#group)
  }

  /** Why nobody would handle the replay, as a sentence; undefined if a handler exists, or if that is unknown. */
  problemOf({ eventType, ...letter }: Letter, request: ReplayRequest): string | undefined {
    const failedIn = letter.consumerGroup ?? this.#group
    const { group = failedIn } = request
    if (this.isUnknown({ ...request, group }) || eventType === undefined) return undefined
    const subscribed = this.#handlers.handlersFor(eventType)
    if (subscribed.length === 0) return `No handler of ${eventType} is subscribed to this bus.`
    const recorded = group === failedIn ? (letter.handlerNames ?? []) : []
    const names = request.handlerNames ?? recorded
    // A handler without a name may be any of those here.
    if (names.length === 0 || names.includes(UNNAMED_HANDLER)) return undefined
    if (names.some((name) => subscribed.some((handler) => isCalled(handler, name)))) return undefined
    return `No handler of ${eventType} that is subscribed to this bus is called ${names.join(' or ')}.`
  }
}
