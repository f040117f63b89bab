import { describeValue } from '../errors.ts'
import { assertEventClass } from '../events/event-registry.ts'
import {
  type DomainEvent,
  DuplicateEventTypeError,
  type EventClass,
  type EventRegistry,
} from '../events/index.ts'
import { type AnyEventHandler, AsyncEventHandler, type HandlerContext } from './event-handler.ts'

/** One subscription of one handler, in the form that the dispatcher calls. */
export interface HandlerEntry {
  /** Unique among the handlers of one event type. Stable over restarts if the program subscribes in the same order. */
  readonly name: string
  /** The handler as the user passed it, for `unsubscribe`. */
  readonly handler: unknown
  readonly invoke: (event: DomainEvent, context: HandlerContext) => unknown
  /** Returns false if the handler declines the event; undefined if it accepts all. */
  readonly accepts: ((event: DomainEvent) => boolean) | undefined
}

/** The subscription of a handler to a bus. End it by `unsubscribe` or by `using`. */
export interface Subscription extends Disposable {
  /** Ends the subscription. @returns false if it had ended before. */
  unsubscribe(): boolean
}

export interface SubscribeOptions {
  /**
   * Name of the handler in logs, spans and dead letters; by default the name of the function or class. A dead letter is
   * replayed to the handler with this name, so give anonymous functions a name.
   */
  readonly name?: string
}

const NO_HANDLERS: readonly HandlerEntry[] = Object.freeze([])

/** Finds the handlers of an event. Lists are replaced, never changed in place, so a running dispatch keeps its list. */
export class HandlerRegistry {
  readonly #registry: EventRegistry
  readonly #classes = new Map<string, EventClass>()
  readonly #byType = new Map<string, readonly HandlerEntry[]>()
  readonly #effective = new Map<string, readonly HandlerEntry[]>()
  #wildcards: readonly HandlerEntry[] = NO_HANDLERS
  #changeListener: (() => void) | undefined

  /** @param registry - further classes, which give wildcard handlers typed events without a subscription to the class. */
  constructor(registry: EventRegistry) {
    this.#registry = registry
  }

  /** Sets a listener that is called after the set of subscribed event classes may have changed. */
  onChange(listener: () => void): void {
    this.#changeListener = listener
  }

  /** Handlers of a type in subscription order, then the wildcard handlers. */
  handlersFor(eventType: string): readonly HandlerEntry[] {
    const known = this.#effective.get(eventType)
    if (known !== undefined) return known
    const specific = this.#byType.get(eventType)
    if (specific === undefined) return this.#wildcards
    const effective = [...specific, ...this.#wildcards]
    this.#effective.set(eventType, effective)
    return effective
  }

  /** The class to decode an event type with: the subscribed class, otherwise the registered one. */
  readonly classFor = (eventType: string): EventClass | undefined =>
    this.#classes.get(eventType) ?? this.#registry.getOrUndefined(eventType)

  /** The classes that have a subscription. */
  subscribedClasses(): readonly EventClass[] {
    return [...this.#byType.keys()].flatMap((eventType) => this.#classes.get(eventType) ?? [])
  }

  /** @throws TypeError, DuplicateEventTypeError */
  subscribe(
    classes: EventClass | readonly EventClass[],
    handler: unknown,
    options?: SubscribeOptions,
  ): Subscription {
    return this.#subscribeTo(Array.isArray(classes) ? classes : [classes], handler, options)
  }

  #subscribeTo(list: readonly EventClass[], handler: unknown, options: SubscribeOptions = {}): Subscription {
    if (list.length === 0) throw new TypeError('At least one event class is needed, got an empty array.')
    for (const eventClass of list) this.#checkClass(eventClass)
    const removals = list.map((eventClass) => this.#add(eventClass, handler, options))
    this.#changed()
    return subscriptionOf(() => {
      const removed = removals.map((remove) => remove()).some((isRemoved) => isRemoved)
      if (removed) this.#changed()
      return removed
    })
  }

  subscribeAll(subscriber: object, options?: SubscribeOptions): Subscription {
    return this.#subscribeTo(declaredClasses(subscriber), subscriber, options)
  }

  /** Removes the oldest subscription of this handler to this class. @returns true if there was one. */
  unsubscribe(eventClass: EventClass, handler: unknown): boolean {
    assertEventClass(eventClass)
    const entries = this.#byType.get(eventClass.eventType) ?? NO_HANDLERS
    const entry = entries.find((candidate) => candidate.handler === handler)
    const removed = entry !== undefined && this.#remove(eventClass.eventType, entry)
    if (removed) this.#changed()
    return removed
  }

  subscribeToAllEvents(handler: AnyEventHandler, options: SubscribeOptions = {}): Subscription {
    const taken = [...this.#wildcards, ...[...this.#byType.values()].flat()]
    const entry = makeEntry(handler, options, taken)
    this.#wildcards = [...this.#wildcards, entry]
    this.#changed()
    return subscriptionOf(() => this.#removeWildcard(entry))
  }

  unsubscribeFromAllEvents(handler: unknown): boolean {
    const entry = this.#wildcards.find((candidate) => candidate.handler === handler)
    return entry !== undefined && this.#removeWildcard(entry)
  }

  clear(): void {
    this.#byType.clear()
    this.#classes.clear()
    this.#wildcards = NO_HANDLERS
    this.#changed()
  }

  /** Number of subscriptions to one class, or to all classes; wildcard subscriptions are not counted. */
  count(eventClass?: EventClass): number {
    if (eventClass !== undefined) {
      assertEventClass(eventClass)
      return this.#byType.get(eventClass.eventType)?.length ?? 0
    }
    return [...this.#byType.values()].reduce((sum, entries) => sum + entries.length, 0)
  }

  wildcardCount(): number {
    return this.#wildcards.length
  }

  #checkClass(eventClass: EventClass): void {
    assertEventClass(eventClass)
    const known = this.#classes.get(eventClass.eventType)
    if (known !== undefined && known !== eventClass) {
      throw new DuplicateEventTypeError(eventClass.eventType, known.name, eventClass.name)
    }
  }

  #add(eventClass: EventClass, handler: unknown, options: SubscribeOptions): () => boolean {
    const { eventType } = eventClass
    const entries = this.#byType.get(eventType) ?? NO_HANDLERS
    const entry = makeEntry(handler, options, [...entries, ...this.#wildcards])
    this.#byType.set(eventType, [...entries, entry])
    this.#classes.set(eventType, eventClass)
    return () => this.#remove(eventType, entry)
  }

  #remove(eventType: string, entry: HandlerEntry): boolean {
    const entries = this.#byType.get(eventType) ?? NO_HANDLERS
    const remaining = entries.filter((candidate) => candidate !== entry)
    if (remaining.length === entries.length) return false
    if (remaining.length > 0) this.#byType.set(eventType, remaining)
    else {
      this.#byType.delete(eventType)
      this.#classes.delete(eventType)
    }
    return true
  }

  #removeWildcard(entry: HandlerEntry): boolean {
    const remaining = this.#wildcards.filter((candidate) => candidate !== entry)
    if (remaining.length === this.#wildcards.length) return false
    this.#wildcards = remaining
    this.#changed()
    return true
  }

  #changed(): void {
    this.#effective.clear()
    this.#changeListener?.()
  }
}

function makeEntry(
  handler: unknown,
  options: SubscribeOptions,
  taken: readonly HandlerEntry[],
): HandlerEntry {
  const { invoke, accepts, ownName } = readHandler(handler)
  const base = options.name ?? ownName
  let name = base
  for (let n = 2; taken.some((entry) => entry.name === name); n += 1) name = `${base}#${n}`
  return { name, handler, invoke, accepts }
}

function readHandler(
  handler: unknown,
): Pick<HandlerEntry, 'invoke' | 'accepts'> & { readonly ownName: string } {
  if (typeof handler === 'function') {
    // The compiler has checked that the function takes events.
    const call = handler as HandlerEntry['invoke']
    return { invoke: call, accepts: undefined, ownName: handler.name === '' ? 'anonymous' : handler.name }
  }
  if (
    typeof handler === 'object' &&
    handler !== null &&
    'handle' in handler &&
    typeof handler.handle === 'function'
  ) {
    // `handle` is read at each call, so that a replaced or spied method takes effect.
    const target = handler as { handle: HandlerEntry['invoke']; canHandle?: (event: DomainEvent) => boolean }
    return {
      invoke: (event, context) => target.handle(event, context),
      accepts:
        typeof target.canHandle === 'function' ? (event) => target.canHandle?.(event) === true : undefined,
      ownName: handler.constructor?.name ?? 'Object',
    }
  }
  throw new TypeError(
    `A handler must be a function or an object with a handle(event) method, got ${describeValue(handler)}.`,
  )
}

function declaredClasses(subscriber: unknown): readonly EventClass[] {
  if (typeof subscriber === 'object' && subscriber !== null) {
    if ('subscribedTo' in subscriber && typeof subscriber.subscribedTo === 'function')
      return subscriber.subscribedTo()
    if (subscriber instanceof AsyncEventHandler) return subscriber.eventTypes()
  }
  throw new TypeError(
    `subscribeAll takes an object with subscribedTo() and handle(event), or an AsyncEventHandler, got ${describeValue(subscriber)}.`,
  )
}

function subscriptionOf(unsubscribe: () => boolean): Subscription {
  return {
    unsubscribe,
    [Symbol.dispose]: () => {
      unsubscribe()
    },
  }
}
