import { describeValue } from '../errors.ts'
import type { EventClass } from './define-event.ts'
import { DomainEvent } from './domain-event.ts'
import { DuplicateEventTypeError, EventTypeNotFoundError } from './errors.ts'

/** Which class stands for an event type. */
export class EventRegistry {
  readonly #classes = new Map<string, EventClass>()

  /**
   * Makes a class known under its event type. The same class twice is a no-op.
   * @throws DuplicateEventTypeError when another class has the type.
   * @throws TypeError when it is not an event class.
   */
  register<C extends EventClass>(eventClass: C): C {
    assertEventClass(eventClass)
    const known = this.#classes.get(eventClass.eventType)
    if (known !== undefined && known !== eventClass) {
      throw new DuplicateEventTypeError(eventClass.eventType, known.name, eventClass.name)
    }
    this.#classes.set(eventClass.eventType, eventClass)
    return eventClass
  }

  /** @throws EventTypeNotFoundError that lists the known types. */
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

/** The registry that a bus uses unless it is given another. */
export const defaultRegistry = new EventRegistry()

/**
 * Registers a class in {@link defaultRegistry}; works as a function and as a class decorator. Needed only for
 * types that no handler of this process subscribes to but a wildcard handler wants to see typed.
 *
 * @throws DuplicateEventTypeError when another class has the type.
 */
export function registerEvent<C extends EventClass>(eventClass: C, _context?: ClassDecoratorContext): C {
  return defaultRegistry.register(eventClass)
}

/** @throws TypeError unless the value is a class made with defineEvent. */
export function assertEventClass(value: unknown): asserts value is EventClass {
  const isEventClass =
    typeof value === 'function' &&
    value.prototype instanceof DomainEvent &&
    'eventType' in value &&
    typeof value.eventType === 'string'
  if (!isEventClass) {
    throw new TypeError(`an event class made with defineEvent is needed here, got ${describeValue(value)}`)
  }
}
