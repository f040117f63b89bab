import { ConfigError } from '../errors.ts'
import { duplicateEventType } from '../events/definition-site.ts'
import { assertEventClass, eventTypesOf } from '../events/event-registry.ts'
import type { EventClass, EventRegistry } from '../events/index.ts'
import { HandlerNameError } from './errors.ts'
import type { AnyEventHandler } from './event-handler.ts'
import { type GroupTurns, NO_GROUP } from './group-rate.ts'
import {
  declaredClasses,
  entryOf,
  type HandlerEntry,
  namesOf,
  type PauseListener,
  type ReadHandler,
  readHandler,
  type SubscribeOptions,
} from './handler-entry.ts'
import type { GivenPolicy } from './handler-policy.ts'
import { mayWait, waitsInOrder } from './waiting-policy.ts'

/** The subscription of a handler to a bus. End it with `unsubscribe` or declare it with `using`. */
export interface Subscription extends Disposable {
  /** Ends the subscription. @returns false if it had ended before. */
  unsubscribe(): boolean
}

/** A handler, and what it is subscribed to. */
export interface DescribedHandler {
  readonly name: string
  /** Sorted; `*` stands for all. */
  readonly eventTypes: readonly string[]
}

const NO_HANDLERS: readonly HandlerEntry[] = Object.freeze([])

export interface HandlerRegistryOptions {
  /** True if records of handlers outlive the process. */
  readonly needsNames?: boolean
  /** Returns the maximum number of events that the process holds. */
  readonly maxHeld?: () => number
  /** Default: there is no group. */
  readonly groupTurns?: GroupTurns
  /** Returns why a handler cannot have such a policy; undefined if it can. */
  readonly policyProblem?: (policy: GivenPolicy) => string | undefined
}

/** Finds the handlers of an event. Lists are replaced, never changed in place, so a running dispatch keeps its list. */
export class HandlerRegistry {
  readonly #registry: EventRegistry
  /** By event type, and by each alias. */
  readonly #classes = new Map<string, EventClass>()
  readonly #byType = new Map<string, readonly HandlerEntry[]>()
  readonly #effective = new Map<string, readonly HandlerEntry[]>()
  #wildcards: readonly HandlerEntry[] = NO_HANDLERS
  readonly #needsNames: boolean
  readonly #maxHeld: () => number
  readonly #groupTurns: GroupTurns
  readonly #policyProblem: (policy: GivenPolicy) => string | undefined
  readonly #changeListeners = new Set<() => void>()
  #hasLimits = false
  #hasWaits = false
  #hasOrderedWaits = false
  #pauseListener: PauseListener | undefined
  readonly #onPause: PauseListener = (handlerName, change) => this.#pauseListener?.(handlerName, change)

  /**
   * @param registry - further event classes. Wildcard handlers receive typed events of these classes, even without a
   * subscription to the class.
   */
  constructor(
    registry: EventRegistry,
    {
      needsNames = false,
      policyProblem = () => undefined,
      groupTurns = NO_GROUP,
      maxHeld = () => Number.POSITIVE_INFINITY,
    }: HandlerRegistryOptions = {},
  ) {
    this.#registry = registry
    this.#needsNames = needsNames
    this.#policyProblem = policyProblem
    this.#maxHeld = maxHeld
    this.#groupTurns = groupTurns
  }

  /**
   * Adds a listener that is called after the set of subscribed event classes may have changed.
   * @returns a function that removes it.
   */
  onChange(listener: () => void): () => void {
    this.#changeListeners.add(listener)
    return () => this.#changeListeners.delete(listener)
  }

  /** Sets a listener that is called when a handler pauses for an outage, or resumes. It must not throw. */
  onPause(listener: PauseListener): void {
    this.#pauseListener = listener
  }

  /** Handlers of a type or alias in subscription order, then the wildcard handlers. */
  handlersFor(eventType: string): readonly HandlerEntry[] {
    const known = this.#effective.get(eventType)
    if (known !== undefined) return known
    const specific = this.#byType.get(this.#classes.get(eventType)?.eventType ?? eventType)
    if (specific === undefined) return this.#wildcards
    const effective = [...specific, ...this.#wildcards]
    this.#effective.set(eventType, effective)
    return effective
  }

  /** The class that decodes an event type: the subscribed class, otherwise the registered one. */
  readonly classFor = (eventType: string): EventClass | undefined =>
    this.#classes.get(eventType) ?? this.#registry.getOrUndefined(eventType)

  /** The classes that have a subscription. */
  subscribedClasses(): readonly EventClass[] {
    return [...this.#byType.keys()].flatMap((eventType) => this.#classes.get(eventType) ?? [])
  }

  /** The classes as which handlers can receive events: the subscribed ones, and for wildcard handlers the registered ones. */
  readableClasses(): readonly EventClass[] {
    if (this.#wildcards.length === 0) return this.subscribedClasses()
    const types = new Set([...this.#byType.keys(), ...this.#registry.list()])
    return [...types].flatMap((eventType) => this.classFor(eventType) ?? [])
  }

  /** @throws TypeError, DuplicateEventTypeError */
  subscribe(
    classes: EventClass | readonly EventClass[],
    handler: unknown,
    options?: SubscribeOptions,
  ): Subscription {
    return this.#subscribeTo(Array.isArray(classes) ? classes : [classes], handler, options)
  }

  #subscribeTo(list: readonly EventClass[], handler: unknown, options?: SubscribeOptions): Subscription {
    if (list.length === 0) throw new TypeError('At least one event class is required, got an empty array.')
    for (const eventClass of list) this.#checkClass(eventClass)
    const read = this.#read(handler, options)
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

  subscribeToAllEvents(handler: AnyEventHandler, options?: SubscribeOptions): Subscription {
    const read = this.#read(handler, options)
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

  /** True if a handler has a limit of its own. */
  get hasLimits(): boolean {
    return this.#hasLimits
  }

  /** True if events may wait on the broker for a handler. */
  get hasWaits(): boolean {
    return this.#hasWaits
  }

  /** True if an event may have to wait behind others of its aggregate for a handler. */
  get hasOrderedWaits(): boolean {
    return this.#hasOrderedWaits
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

  /** The handlers with the event types of each, by their display names. */
  describe(): readonly DescribedHandler[] {
    const types = new Map<string, Set<string>>()
    const add = (name: string, type: string) => {
      const known = types.get(name)
      if (known === undefined) types.set(name, new Set([type]))
      else known.add(type)
    }
    for (const [type, entries] of this.#byType) for (const { name } of entries) add(name, type)
    for (const { name } of this.#wildcards) add(name, '*')
    return [...types].map(([name, set]) => ({ name, eventTypes: [...set].toSorted() }))
  }

  /** @throws TypeError, ConfigError */
  #read(handler: unknown, options?: SubscribeOptions): ReadHandler {
    const read = readHandler(handler, options, {
      onPause: this.#onPause,
      maxHeld: this.#maxHeld(),
      groupTurns: this.#groupTurns,
    })
    const problem = read.policy && this.#policyProblem(read.policy)
    if (problem !== undefined) throw new ConfigError(`subscribe ${read.displayName}`, [problem])
    return read
  }

  #checkClass(eventClass: EventClass): void {
    assertEventClass(eventClass)
    for (const name of eventTypesOf(eventClass)) {
      const known = this.#classes.get(name)
      if (known !== undefined && known !== eventClass) throw duplicateEventType(name, known, eventClass)
    }
  }

  /** If records outlive the process, each name must belong to one handler of an event. */
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
    for (const name of eventTypesOf(eventClass)) this.#classes.set(name, eventClass)
    return () => this.#remove(eventType, entry)
  }

  #remove(eventType: string, entry: HandlerEntry): boolean {
    const entries = this.#byType.get(eventType) ?? NO_HANDLERS
    const remaining = entries.filter((candidate) => candidate !== entry)
    if (remaining.length === entries.length) return false
    if (remaining.length > 0) this.#byType.set(eventType, remaining)
    else {
      this.#byType.delete(eventType)
      const eventClass = this.#classes.get(eventType)
      if (eventClass !== undefined) for (const name of eventTypesOf(eventClass)) this.#classes.delete(name)
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
    const all = [...this.#wildcards, ...[...this.#byType.values()].flat()]
    this.#hasLimits = all.some(({ limit }) => limit !== undefined)
    this.#hasWaits = all.some(mayWait)
    this.#hasOrderedWaits = all.some(waitsInOrder)
    for (const listener of this.#changeListeners) listener()
  }
}

function subscriptionOf(unsubscribe: () => boolean): Subscription {
  return {
    unsubscribe,
    [Symbol.dispose]: () => {
      unsubscribe()
    },
  }
}
