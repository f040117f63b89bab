import { describeValue } from '../errors.ts'
import { assertEventClass } from '../events/event-registry.ts'
import {
  type DomainEvent,
  DuplicateEventTypeError,
  type EventClass,
  type EventRegistry,
} from '../events/index.ts'
import { HandlerNameError } from './errors.ts'
import { type AnyEventHandler, AsyncEventHandler, type HandlerContext } from './event-handler.ts'

/** One subscription of one handler, in the form that the dispatcher calls. */
export interface HandlerEntry {
  /** Display name, for logs, spans and metrics: the given name, or that of the function or class. */
  readonly name: string
  /**
   * The name that was given. Retries and replays find the handler by it, after a restart and in a new release. Undefined if
   * none was given: a minifier changes the names of functions and classes, and a release the order of subscription.
   */
  readonly id: string | undefined
  /** Names that the handler had in earlier releases. */
  readonly aliases: readonly string[]
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
   * The handler's identity. After a restart, retries and replays of dead letters find the handler by this name, also in
   * later releases, so do not change it. The only handler of an event in a consumer group needs no name. Of several
   * handlers, one without a name handles the event again after a restart or a replay, because its earlier success cannot
   * be attributed to it. Default: the `name` of a handler object, if it has one. Names of functions and classes appear in
   * logs and spans only.
   */
  readonly name?: string
  /** Names that the handler had in earlier releases, whose retries and dead letters it takes over. */
  readonly aliases?: readonly string[]
}

/** Stands for a handler without a name in dead letters. */
export const UNNAMED_HANDLER = '(unnamed)'

const NO_HANDLERS: readonly HandlerEntry[] = Object.freeze([])

/** Finds the handlers of an event. Lists are replaced, never changed in place, so a running dispatch keeps its list. */
export class HandlerRegistry {
  readonly #registry: EventRegistry
  readonly #classes = new Map<string, EventClass>()
  readonly #byType = new Map<string, readonly HandlerEntry[]>()
  readonly #effective = new Map<string, readonly HandlerEntry[]>()
  #wildcards: readonly HandlerEntry[] = NO_HANDLERS
  readonly #needsNames: boolean
  #changeListener: (() => void) | undefined

  /**
   * @param registry - further event classes. Wildcard handlers receive typed events of these classes, even without a
   * subscription to the class.
   */
  constructor(registry: EventRegistry, { needsNames = false } = {}) {
    this.#registry = registry
    this.#needsNames = needsNames
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
    const read = readHandler(handler, options)
    for (const { eventType } of list) {
      this.#checkIdentity(read, eventType, [
        ...(this.#byType.get(eventType) ?? NO_HANDLERS),
        ...this.#wildcards,
      ])
    }
    const removals = list.map((eventClass) => this.#add(eventClass, read))
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
    const read = readHandler(handler, options)
    for (const [eventType, entries] of this.#byType) this.#checkIdentity(read, eventType, entries)
    this.#checkIdentity(read, 'every event', this.#wildcards)
    const taken = [...this.#wildcards, ...[...this.#byType.values()].flat()]
    const entry = entryOf(read, taken)
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

  /** Event types with several handlers, at least one of which has no name. */
  typesWithUnnamedHandlers(): readonly string[] {
    return [...this.#byType.keys()].filter((eventType) => {
      const handlers = this.handlersFor(eventType)
      return handlers.length > 1 && handlers.some(({ id }) => id === undefined)
    })
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

  /** On a broker bus, records outlive the process, so each name must belong to one handler of an event. */
  #checkIdentity(handler: ReadHandler, eventType: string, others: readonly HandlerEntry[]): void {
    if (!this.#needsNames) return
    const name = namesOf(handler).find((given) => others.some((other) => namesOf(other).includes(given)))
    if (name !== undefined) throw new HandlerNameError(eventType, name)
  }

  #add(eventClass: EventClass, read: ReadHandler): () => boolean {
    const { eventType } = eventClass
    const entries = this.#byType.get(eventType) ?? NO_HANDLERS
    const entry = entryOf(read, [...entries, ...this.#wildcards])
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

/** A handler whose display name is not yet made unique. */
type ReadHandler = Omit<HandlerEntry, 'name'> & { readonly displayName: string }

function entryOf({ displayName, ...handler }: ReadHandler, taken: readonly HandlerEntry[]): HandlerEntry {
  let name = displayName
  for (let n = 2; taken.some((entry) => entry.name === name); n += 1) name = `${displayName}#${n}`
  return { name, ...handler }
}

/** The names under which records of this handler may have been written. */
function namesOf({ id, aliases }: Pick<HandlerEntry, 'id' | 'aliases'>): readonly string[] {
  return id === undefined ? aliases : [id, ...aliases]
}

/** True if a record written under this name belongs to this handler. */
export function isCalled({ id, aliases }: HandlerEntry, name: string): boolean {
  return id === name || aliases.includes(name)
}

function readHandler(handler: unknown, { name, aliases = [] }: SubscribeOptions): ReadHandler {
  const { invoke, accepts, ownName, ownId } = readCallable(handler)
  const id = name ?? ownId
  for (const given of id === undefined ? aliases : [id, ...aliases]) checkName(given)
  return { handler, invoke, accepts, id, aliases: Object.freeze([...aliases]), displayName: id ?? ownName }
}

function checkName(name: unknown): void {
  if (typeof name === 'string' && name !== '' && name !== UNNAMED_HANDLER) return
  throw new TypeError(
    `A handler's name must be a non-empty string other than ${UNNAMED_HANDLER}, got ${describeValue(name)}.`,
  )
}

interface Callable extends Pick<HandlerEntry, 'invoke' | 'accepts'> {
  readonly ownName: string
  /** The `name` of a handler object. */
  readonly ownId: string | undefined
}

function readCallable(handler: unknown): Callable {
  if (typeof handler === 'function') {
    // The compiler has checked that the function takes events.
    const invoke = handler as HandlerEntry['invoke']
    const ownName = handler.name === '' ? 'anonymous' : handler.name
    return { invoke, accepts: undefined, ownName, ownId: undefined }
  }
  if (
    typeof handler === 'object' &&
    handler !== null &&
    'handle' in handler &&
    typeof handler.handle === 'function'
  ) {
    // `handle` is read at each call, so that a replaced or spied method takes effect.
    const target = handler as HandlerObject
    const ownName = handler.constructor?.name ?? 'Object'
    return {
      invoke: (event, context) => target.handle(event, context),
      accepts: acceptsOf(target, ownName),
      ownName,
      ownId:
        'name' in handler && typeof handler.name === 'string' && handler.name !== ''
          ? handler.name
          : undefined,
    }
  }
  throw new TypeError(
    `A handler must be a function or an object with a handle(event) method, got ${describeValue(handler)}.`,
  )
}

interface HandlerObject {
  readonly handle: HandlerEntry['invoke']
  readonly canHandle?: unknown
}

/** A result that is not a boolean fails the attempt. Treated as a refusal, it would drop the event silently. */
function acceptsOf(target: HandlerObject, ownName: string): HandlerEntry['accepts'] {
  if (target.canHandle === undefined) return undefined
  if (typeof target.canHandle !== 'function') {
    throw new TypeError(`canHandle of ${ownName} must be a function, got ${describeValue(target.canHandle)}.`)
  }
  return (event) => {
    const verdict: unknown = Reflect.apply(target.canHandle as CallableFunction, target, [event])
    if (typeof verdict === 'boolean') return verdict
    if (verdict instanceof Promise) verdict.catch(() => undefined) // reported as a wrong return type instead
    throw new TypeError(`canHandle of ${ownName} must return a boolean, got ${describeValue(verdict)}.`)
  }
}

function declaredClasses(subscriber: unknown): readonly EventClass[] {
  if (typeof subscriber === 'object' && subscriber !== null) {
    if ('subscribedTo' in subscriber && typeof subscriber.subscribedTo === 'function') {
      return asClasses(subscriber.subscribedTo(), 'subscribedTo')
    }
    if (subscriber instanceof AsyncEventHandler) return asClasses(subscriber.eventTypes(), 'eventTypes')
  }
  throw new TypeError(
    `subscribeAll takes an object with subscribedTo() and handle(event), or an AsyncEventHandler, got ${describeValue(subscriber)}.`,
  )
}

function asClasses(classes: unknown, method: string): readonly EventClass[] {
  // Each item is checked where it is subscribed to.
  if (Array.isArray(classes)) return classes as readonly EventClass[]
  throw new TypeError(`${method}() must return an array of event classes, got ${describeValue(classes)}.`)
}

function subscriptionOf(unsubscribe: () => boolean): Subscription {
  return {
    unsubscribe,
    [Symbol.dispose]: () => {
      unsubscribe()
    },
  }
}
