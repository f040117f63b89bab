import { describeValue } from '../errors.ts'
import { markCopy, otherCopyFault } from './copies.ts'
import { duplicateEventType } from './definition-site.ts'
import { DomainEvent } from './domain-event.ts'
import { EventTypeNotFoundError } from './errors.ts'
import type { EventClass, EventNames } from './event-class.ts'

/** Maps event types to their classes. */
export class EventRegistry {
  static {
    markCopy(EventRegistry.prototype)
  }

  /** By event type, and by each alias. */
  readonly #classes = new Map<string, EventClass>()
  /** The aliases of each aggregate type. */
  readonly #aggregateAliases = new Map<string, ReadonlySet<string>>()

  /**
   * Registers a class under its event type and its aliases; a no-op if it is registered already.
   * @throws DuplicateEventTypeError if another class has one of these types.
   * @throws TypeError if it is not an event class.
   */
  register<C extends EventClass>(eventClass: C): C {
    assertEventClass(eventClass)
    const names = eventTypesOf(eventClass)
    for (const name of names) {
      const known = this.#classes.get(name)
      if (known !== undefined && known !== eventClass) throw duplicateEventType(name, known, eventClass)
    }
    for (const name of names) this.#classes.set(name, eventClass)
    const { aggregateType, aggregateTypeAliases } = eventClass
    const aliases = new Set([...this.aggregateAliasesOf(aggregateType), ...aggregateTypeAliases])
    if (aliases.size > 0) this.#aggregateAliases.set(aggregateType, aliases)
    return eventClass
  }

  /** The aliases of an aggregate type, as the registered classes declare them. */
  aggregateAliasesOf(aggregateType: string): readonly string[] {
    return [...(this.#aggregateAliases.get(aggregateType) ?? [])]
  }

  /** The class of an event type or alias. @throws EventTypeNotFoundError if none is registered; it lists the known types. */
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

  /** The registered types in alphabetical order, without aliases. */
  list(): readonly string[] {
    const types = [...this.#classes].filter(([type, { eventType }]) => type === eventType)
    return types.map(([type]) => type).sort()
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

/** All names under which events of a class may be written: its type, then its aliases. */
export function eventTypesOf({ eventType, typeAliases = [] }: EventNames): readonly string[] {
  return [eventType, ...typeAliases]
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
