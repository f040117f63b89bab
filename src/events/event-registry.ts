import { describeValue } from '../errors.ts'
import { markCopy, otherCopyFault } from './copies.ts'
import { duplicateEventType } from './definition-site.ts'
import { DomainEvent } from './domain-event.ts'
import { EventTypeNotFoundError } from './errors.ts'
import type { EventClass } from './event-class.ts'

/** Maps event types to their classes. */
export class EventRegistry {
  static {
    markCopy(EventRegistry.prototype)
  }

  readonly #classes = new Map<string, EventClass>()

  /**
   * Registers a class under its event type; a no-op if it is registered already.
   * @throws DuplicateEventTypeError if another class has the type.
   * @throws TypeError if it is not an event class.
   */
  register<C extends EventClass>(eventClass: C): C {
    assertEventClass(eventClass)
    const known = this.#classes.get(eventClass.eventType)
    if (known !== undefined && known !== eventClass) {
      throw duplicateEventType(eventClass.eventType, known, eventClass)
    }
    this.#classes.set(eventClass.eventType, eventClass)
    return eventClass
  }

  /** The class of an event type. @throws EventTypeNotFoundError if none is registered; it lists the known types. */
  get(eventType: string): EventClass {
    const eventClass = this.#classes.get(eventType)
    if (eventClass === undefined) throw new EventTypeNotFoundError(eventType, this.list())
    return eventClass
  }

  getOrUndefined(eventType: string): EventClass | undefined {
    return this.#classes.get(eventType)
  }

  has(eventType: string): boolean {
    return this.#classes.has(eventType)
  }

  /** The registered types in alphabetical order. */
  list(): readonly string[] {
    return [...this.#classes.keys()].sort()
  }
}

/** The registry that a bus uses by default. */
export const defaultRegistry = new EventRegistry()

/**
 * Registers a class in {@link defaultRegistry}, as a function or as a class decorator. Needed only if wildcard handlers
 * should receive an event type as instances of its class although no handler subscribes to that class.
 *
 * @throws DuplicateEventTypeError if another class has the type.
 */
export function registerEvent<C extends EventClass>(eventClass: C, _context?: ClassDecoratorContext): C {
  return defaultRegistry.register(eventClass)
}

/** @throws TypeError if the value is not a class created with `defineEvent`. */
export function assertEventClass(value: unknown): asserts value is EventClass {
  const isEventClass =
    typeof value === 'function' &&
    value.prototype instanceof DomainEvent &&
    'eventType' in value &&
    typeof value.eventType === 'string'
  if (!isEventClass) {
    const needed = `An event class created with defineEvent is required, got ${describeValue(value)}.`
    throw new TypeError([needed, otherCopyFault(value) ?? []].flat().join(' '))
  }
}
