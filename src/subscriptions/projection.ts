import { describeValue } from '../errors.ts'
import { assertEventClass } from '../events/event-registry.ts'
import { type DomainEvent, type EventClass, EventRegistry } from '../events/index.ts'
import type { EventHandler, HandlerContext } from '../handling/event-handler.ts'
import {
  declaredClasses,
  type HandlerEntry,
  type PauseListener,
  refuseGenerator,
} from '../handling/handler-entry.ts'
import type { GivenPolicy } from '../handling/handler-policy.ts'
import { HandlerRegistry } from '../handling/handler-registry.ts'
import type { HandlerBinding } from './handler-binding.ts'
import { TransactionalProjection } from './transactional-projection.ts'
import type { BoundUnits, HandlersFor, TransactionalUnits } from './transactional-units.ts'
import type { Unit } from './unit.ts'
import type { UnitCheckpoint } from './unit-checkpoint.ts'

/** Optional members of every subscriber. */
interface Subscriber {
  /**
   * Name of the subscription, which identifies its checkpoint. Required unless the options of `subscribe` have a name.
   */
  readonly name?: string
  /** Empties the read model, so that `rebuild` can fill it again. */
  reset?(): void | Promise<void>
}

/** Builds a read model from events, one at a time. Without `subscribedTo`, it receives all events. */
export interface Projection<E extends DomainEvent = DomainEvent> extends Subscriber, EventHandler<E> {
  subscribedTo?(): readonly EventClass[]
}

/** Handles a page of events as a unit: the position moves when the whole page is handled. */
export interface BatchProjection<E extends DomainEvent = DomainEvent> extends Subscriber {
  /**
   * Handles events in the order of the feed. If it throws or rejects, the whole batch has failed. Events that are
   * created here have no cause unless you set `causationId` and `correlationId`, because a batch has several events.
   */
  handleBatch(events: readonly E[], context: HandlerContext): unknown
  subscribedTo?(): readonly EventClass[]
}

/** Several handlers in one subscription. An event is finished when all of its handlers have succeeded. */
export interface HandlerSet extends Subscriber {
  readonly name: string
  readonly handlers: readonly HandlerBinding[]
}

/** The traits of a relay, which differ from those of other batch projections. */
export interface RelayTraits {
  /** True while the bus publishes stored events without decoding them. */
  readonly takesStored: () => boolean
}

/** A subscriber in the form that a subscription calls. */
export interface Consumer {
  readonly name: string
  /** The event classes that it declares. */
  readonly eventClasses: readonly EventClass[]
  /** The event types that it handles; undefined for all. */
  readonly eventTypes: readonly string[] | undefined
  /** Further event types to read for these ones, because they are replaced by them. */
  readonly alsoReads?: (wanted: readonly string[]) => readonly string[]
  /** True if a page is one unit. */
  readonly isBatch: boolean
  /** The handlers of an event, or of a batch. */
  readonly handlersFor: HandlersFor
  /** Set if the consumer gets other events instead of those that are replaced: the handlers that get them. */
  readonly replacing?: (own: HandlersFor) => HandlersFor
  readonly reset: (() => void | Promise<void>) | undefined
  /** Sets the listener for handlers that pause because of an outage; undefined if none can. */
  readonly onPause?: (listener: PauseListener) => void
  /** Set if units are handled in transactions that also move the checkpoint. */
  readonly transactional?: TransactionalUnits
  /** Set while such units are bound to a checkpoint. */
  readonly bound?: BoundUnits
  /** Set if it is a relay. */
  readonly relay?: RelayTraits
}

/** A checkpoint is one position in the feed: an event before it cannot wait alone. */
const NO_LONG_WAITS =
  'longWaits: a subscription to a store cannot continue behind a waiting event. Give the event up ' +
  "(onFailure: 'deadLetter') and replay it later, or relay the events to a bus"

const NO_PARKING =
  "onDeadLetter: a subscription to a store cannot keep the later events of one aggregate. Set onFailure to 'stop', so that " +
  'all events wait, or relay the events to a bus'

/**
 * Converts the argument of `subscribe`.
 * @throws TypeError if it is not a projection.
 */
export function readSubscriber(subscriber: unknown, givenName?: string): Consumer {
  if (typeof subscriber !== 'object' || subscriber === null) throw notASubscriber(subscriber)
  const name = givenName ?? nameOf(subscriber)
  if (subscriber instanceof TransactionalProjection) return transactionalConsumer(name, subscriber)
  // The method is read at each call, so that a replaced one takes effect.
  const reset = hasMethod(subscriber, 'reset') ? () => subscriber.reset() as void | Promise<void> : undefined
  if (hasMethod(subscriber, 'handleBatch')) return { name, reset, ...batchConsumer(name, subscriber) }
  const registry = new HandlerRegistry(new EventRegistry(), {
    needsNames: true,
    policyProblem: storeProblem,
  })
  const takesAll = register(registry, subscriber, name)
  return {
    name,
    reset,
    isBatch: false,
    eventClasses: registry.subscribedClasses(),
    eventTypes: takesAll ? undefined : registry.subscribedClasses().map(({ eventType }) => eventType),
    handlersFor: ([{ event }]) => registry.handlersFor(event.eventType),
    onPause: (listener) => registry.onPause(listener),
  }
}

function storeProblem({ longWaits, onDeadLetter }: GivenPolicy): string | undefined {
  if (longWaits !== undefined) return NO_LONG_WAITS
  return onDeadLetter === 'park' ? NO_PARKING : undefined
}

function transactionalConsumer(name: string, projection: TransactionalProjection): Consumer {
  const transactional = projection.unitsFor(name)
  const { isBatch, eventClasses, replayed } = transactional
  return {
    name,
    isBatch,
    eventClasses,
    transactional,
    eventTypes: eventClasses.map(({ eventType }) => eventType),
    handlersFor: replayed.handlersFor,
    // The checkpoint and the read model are reset in one transaction.
    reset: undefined,
  }
}

/**
 * The consumer with its units bound to a checkpoint, if they move it themselves.
 * @param units - the units to bind. Default: those of the consumer.
 */
export function boundTo(
  consumer: Consumer,
  checkpoint: UnitCheckpoint,
  units = consumer.transactional,
): Consumer {
  if (units === undefined) return consumer
  const bound = units.bind(checkpoint)
  const { replacing } = consumer
  return { ...consumer, handlersFor: replacing?.(bound.handlersFor) ?? bound.handlersFor, bound }
}

/** @returns true if it handles events of every type. */
function register(registry: HandlerRegistry, subscriber: object, name: string): boolean {
  if ('handlers' in subscriber && Array.isArray(subscriber.handlers)) {
    // `handlerFor` has created it. The registry checks the classes and the handler.
    for (const { eventClasses, handler, options } of subscriber.handlers as HandlerBinding[]) {
      registry.subscribe(eventClasses, handler, options)
    }
    return false
  }
  if (!hasMethod(subscriber, 'handle')) throw notASubscriber(subscriber)
  if (hasMethod(subscriber, 'subscribedTo') || hasMethod(subscriber, 'eventTypes')) {
    registry.subscribeAll(subscriber, { name })
    return false
  }
  // Its type was checked above. The registry calls it as a handler.
  registry.subscribeToAllEvents(subscriber as unknown as EventHandler, { name })
  return true
}

function batchConsumer(name: string, subscriber: object) {
  // The caller has checked handleBatch. The events are of the classes that it declares, or it handles all.
  const target = subscriber as BatchProjection
  const eventClasses = target.subscribedTo === undefined ? undefined : declaredClasses(target)
  if (eventClasses?.length === 0)
    throw new TypeError('At least one event class is required, got an empty array.')
  for (const eventClass of eventClasses ?? []) assertEventClass(eventClass)
  refuseGenerator(target.handleBatch)
  return {
    isBatch: true,
    eventClasses: eventClasses ?? [],
    eventTypes: eventClasses?.map(({ eventType }) => eventType),
    handlersFor: (unit: Unit): readonly HandlerEntry[] => {
      const events = unit.map(({ event }) => event)
      const invoke: HandlerEntry['invoke'] = (_first, context) => target.handleBatch(events, context)
      const common = {
        aliases: [],
        handler: subscriber,
        accepts: undefined,
        policy: undefined,
        limit: undefined,
      }
      return [{ name, id: name, ...common, invoke }]
    },
  }
}

/** The checkpoint is stored under this name. It is never derived from the class, because a minifier renames classes. */
function nameOf(subscriber: object): string {
  if ('name' in subscriber && typeof subscriber.name === 'string' && subscriber.name !== '')
    return subscriber.name
  throw new TypeError(
    'A subscription needs a name, which identifies its checkpoint: give the subscriber a `name`, or pass { name } ' +
      'in the options. The name of a class is not used, because minifiers and renames change it.',
  )
}

function hasMethod<N extends string>(
  value: object,
  name: N,
): value is Record<N, (...args: never[]) => unknown> {
  return typeof Reflect.get(value, name) === 'function'
}

function notASubscriber(value: unknown): TypeError {
  return new TypeError(
    `subscribe takes a projection with handle(event) or handleBatch(events), or { name, handlers }, got ${describeValue(value)}.`,
  )
}
