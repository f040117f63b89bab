import { type Cause, currentCause } from '../events/causation.ts'
import { withCauseUnlessSet } from '../events/domain-event.ts'
import type { DomainEvent, EventClass, EventOf } from '../events/index.ts'
import { PASSES_ON } from '../events/passed-on-event.ts'
import type { AnyEventHandler, AsyncEventHandler, EventSubscriber } from '../handling/event-handler.ts'
import type { SubscribeOptions } from '../handling/handler-entry.ts'
import type { HandlerRegistry, Subscription } from '../handling/handler-registry.ts'
import type { HandlingMiddleware, HandlingMiddlewares } from '../handling/handling-middleware.ts'
import { stopFromAnywhere } from '../handling/running-handlers.ts'
import { booleanOption, delayMs, optional, resolveOptions } from '../kit/options.ts'
import type { BusAdmin } from './admin/bus-admin.ts'
import { addMiddleware, type BusMiddleware } from './bus-middleware.ts'
import { BusClosedError } from './errors.ts'
import {
  type BusHealth,
  busHealth,
  type HealthFacts,
  type HealthOptions,
  resolveHealthOptions,
} from './health.ts'
import { PublishedTypes } from './published-types.ts'
import type { BackgroundPublishes } from './publishing/background-publishes.ts'
import { assertEvents, PublishMiddlewares } from './publishing/publish-middleware.ts'

/** Options of one `publish`. */
export interface PublishOptions {
  /**
   * Return at once, before the events are stored or handled. Failures are logged and counted, and `shutdown` waits for
   * publishes in flight. If `maxBackgroundPublishes` are already in flight, the call waits for its own events. Default
   * false.
   */
  readonly background?: boolean
}

/** Options of `shutdown` and `stopConsuming`. */
export interface ShutdownOptions {
  /** Maximum duration of the call, in milliseconds. Default: the `shutdownTimeoutMs` of the bus, 30,000. */
  readonly timeoutMs?: number
}

/** The parts that a subclass gives its bus. */
export interface EventBusParts {
  readonly handlers: HandlerRegistry
  readonly background: BackgroundPublishes
  /** What the dispatcher of the bus runs around its handlers. */
  readonly middleware: HandlingMiddlewares
  /** Sets the causation of events that a handler publishes to the event that it handles. */
  readonly propagateCausation: boolean
  /** True if the bus would write the body of a stored event as the store has it. Default false. */
  readonly passesOn?: boolean
}

/**
 * Moves domain events from publishers to handlers. The same program works on `InMemoryEventBus`, `RedisEventBus`,
 * `RabbitMQEventBus` and `KafkaEventBus`.
 */
export abstract class EventBus implements AsyncDisposable {
  /** What an operator can ask: consumer groups and their lag. Its code is loaded with the first call. */
  abstract readonly admin: BusAdmin
  protected readonly handlers: HandlerRegistry
  protected readonly background: BackgroundPublishes
  /** What this bus has published, for `admin.topology`. */
  protected readonly published = new PublishedTypes()
  readonly #propagateCausation: boolean
  readonly #handlingMiddleware: HandlingMiddlewares
  readonly #publishMiddleware = new PublishMiddlewares()
  readonly #passesOn: boolean
  #isClosed = false

  protected constructor(parts: EventBusParts) {
    const { handlers, background, middleware, propagateCausation, passesOn = false } = parts
    this.#passesOn = passesOn
    this.handlers = handlers
    this.background = background
    this.#handlingMiddleware = middleware
    this.#propagateCausation = propagateCausation
  }

  /** True once {@link shutdown} was called. */
  get isShutdown(): boolean {
    return this.#isClosed
  }

  /**
   * Publishes events. In memory it resolves when every handler has run, on a broker when the broker has confirmed
   * every event. Events of one call keep their order per aggregate. An empty array is a no-op.
   *
   * Inside a handler, the handled event becomes the cause of the published ones; see `propagateCausation`.
   *
   * @throws PublishError (brokers only) if the broker has not confirmed every event. It has the outcome of each event:
   * stored, certainly not stored, or unknown.
   * @throws BusClosedError after `shutdown`.
   * @throws TypeError if an element of the array is not an event; then nothing is published.
   * @throws ConfigError if an option is unknown or wrong; then nothing is published.
   */
  publish(events: readonly DomainEvent[], options?: PublishOptions): Promise<void> {
    try {
      if (this.#isClosed) throw new BusClosedError('publish')
      const inBackground = options !== undefined && isInBackground(options)
      if (assertEvents(events).length === 0) return Promise.resolve()
      const cause = this.#propagateCausation ? currentCause() : undefined
      // Most events of a burst are encoded later, and the caller may use its array again.
      const given = events.slice()
      this.published.note(given, cause)
      return inBackground ? this.#publishInBackground(given, cause) : this.#publish(given, cause)
    } catch (thrown) {
      return Promise.reject(thrown)
    }
  }

  #publishInBackground(events: readonly DomainEvent[], cause: Cause | undefined): Promise<void> {
    const isStarted = this.background.tryStart(() => this.#publish(events, cause))
    return isStarted ? Promise.resolve() : this.#publish(events, cause)
  }

  #publish(events: readonly DomainEvent[], cause: Cause | undefined): Promise<void> {
    if (this.#publishMiddleware.isEmpty) return this.publishNow(events, cause)
    return this.#publishThrough(events, cause)
  }

  #publishThrough(events: readonly DomainEvent[], cause: Cause | undefined): Promise<void> {
    return this.#publishMiddleware.run(causedBy(events, cause), (passed) =>
      this.publishNow(passed, undefined),
    )
  }

  /**
   * Runs a function around each run of each handler, and each `publish`. Those that were added first are outermost. A function
   * alone is for the handlers. A middleware calls `next` exactly once. It can replace an error, but cannot turn a failure
   * into a success; see docs/failure.md.
   *
   * @throws TypeError if it is neither a function nor an object with `handle` or `publish`.
   * @example
   * bus.use(async ({ event, handlerName }, next) => {
   *   const start = performance.now()
   *   await next()
   *   console.log(handlerName, event.eventType, performance.now() - start)
   * })
   */
  use(middleware: HandlingMiddleware | BusMiddleware): void {
    addMiddleware(middleware, this.#handlingMiddleware, this.#publishMiddleware)
  }

  /**
   * True while a relay may publish stored events without decoding them.
   * @internal
   */
  get [PASSES_ON](): boolean {
    return this.#passesOn && this.#publishMiddleware.isEmpty && this.publish === EventBus.prototype.publish
  }

  /** True while the bus is usable: in memory until `shutdown`, on a broker while it is connected. */
  abstract get isConnected(): boolean

  /** True while the bus passes events to its handlers; in memory until `shutdown`. */
  abstract get isConsuming(): boolean

  /** Connects to the broker; a no-op in memory. @throws BusClosedError after `shutdown`. */
  abstract connect(): Promise<void>

  /**
   * Consumes until `stopConsuming` or `shutdown`, and only then resolves. In memory, handlers always run, so the call
   * only waits.
   *
   * @throws BusClosedError after `shutdown`.
   * @throws HandlerDeadlockError inside a handler of this bus.
   */
  abstract startConsuming(): Promise<void>

  /** Starts consuming and returns at once. @throws BusClosedError after `shutdown`. */
  abstract startConsumingInBackground(): void

  /** Resolves when the bus consumes: events that are published after that reach it. */
  abstract whenConsuming(): Promise<void>

  /** Stops consuming; no-op if the bus does not consume. */
  abstract stopConsuming(options?: ShutdownOptions): Promise<void>

  /**
   * Subscribes a handler to one event class, or to several at once; the type of its parameter is then their union. A
   * handler that is subscribed twice is called twice. A change during a dispatch takes effect with the next event.
   *
   * @returns the subscription; `using` ends it with the scope.
   * @throws TypeError if an argument is not an event class, or not a handler.
   * @throws DuplicateEventTypeError if another class with the same event type is subscribed.
   */
  subscribe<const C extends EventClass | readonly EventClass[]>(
    eventClass: C,
    handler: AnyEventHandler<EventOf<C>>,
    options?: SubscribeOptions,
  ): Subscription {
    return this.handlers.subscribe(eventClass, handler, options)
  }

  /**
   * Removes the oldest subscription of this handler (the same reference) to this class.
   * @returns true if there was one.
   */
  unsubscribe<E extends DomainEvent>(eventClass: EventClass<E>, handler: AnyEventHandler<E>): boolean {
    return this.handlers.unsubscribe(eventClass, handler)
  }

  /** Subscribes an object to the event classes that it declares in `subscribedTo()` or `eventTypes()`. */
  subscribeAll<E extends DomainEvent>(
    subscriber: EventSubscriber<E> | AsyncEventHandler<E>,
    options?: SubscribeOptions,
  ): Subscription {
    return this.handlers.subscribeAll(subscriber, options)
  }

  /** Subscribes a handler to every event, of any type. */
  subscribeToAllEvents(handler: AnyEventHandler, options?: SubscribeOptions): Subscription {
    return this.handlers.subscribeToAllEvents(handler, options)
  }

  /** Removes the oldest subscription of this handler to all events. @returns true if there was one. */
  unsubscribeFromAllEvents(handler: AnyEventHandler): boolean {
    return this.handlers.unsubscribeFromAllEvents(handler)
  }

  /** Removes all subscriptions, including those to all events. */
  clearSubscribers(): void {
    this.handlers.clear()
  }

  /** Number of subscriptions to one class, or to all classes together. Subscriptions to all events are not counted. */
  getSubscriberCount(eventClass?: EventClass): number {
    return this.handlers.count(eventClass)
  }

  /** Number of subscriptions to all events. */
  getWildcardSubscriberCount(): number {
    return this.handlers.wildcardCount()
  }

  /** A snapshot of the counters of the bus. Each kind of bus has its own set of counters. */
  abstract getStats(): object

  /**
   * Reports the health of the bus, for probes and operators. Queries the broker, and takes at most `timeoutMs`. A
   * problem is part of the report and does not reject the call. The call also works before `connect` and after
   * `shutdown`.
   *
   * @throws ConfigError if an option is out of range.
   */
  async health(options: HealthOptions = {}): Promise<BusHealth> {
    const limits = resolveHealthOptions(options)
    return busHealth(await this.healthFacts(limits.timeoutMs), limits)
  }

  /** The facts for the health report. Must not reject. */
  protected abstract healthFacts(timeoutMs: number): Promise<HealthFacts>

  /** Number of background publishes in flight. */
  getBackgroundTaskCount(): number {
    return this.background.count
  }

  /**
   * Shuts the bus down. Waits at most `timeoutMs` for background publishes and running handlers, then logs the
   * unfinished ones and resolves. Idempotent: a second call waits for the first.
   *
   * Inside a handler of this bus, or a middleware of a background publish, it returns at once, because the shutdown waits
   * for that handler or publish. A call outside of them waits for the end.
   *
   * @throws ConfigError if `timeoutMs` is not a duration, or an option is unknown.
   */
  async shutdown(options: ShutdownOptions = {}): Promise<void> {
    const withinMs = checkedTimeout('shutdown', options)
    this.#isClosed = true
    const close = () => stopFromAnywhere(this, () => this.close(withinMs))
    await this.background.stopFromAnywhere(close)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown()
  }

  /**
   * Publishes at least one event.
   * @param cause - the event that is handled: the cause of those that have none. They may have been created outside of
   * its handler.
   */
  protected abstract publishNow(events: readonly DomainEvent[], cause: Cause | undefined): Promise<void>

  /** Called by each `shutdown`; must be idempotent. */
  protected abstract close(timeoutMs: number | undefined): Promise<void>
}

/** The events, with their cause if they have none. */
export function causedBy(events: readonly DomainEvent[], cause: Cause | undefined): readonly DomainEvent[] {
  return cause === undefined ? events : events.map((event) => withCauseUnlessSet(event, cause))
}

/** @returns undefined if it is not set. @throws ConfigError */
export function checkedTimeout(call: string, options: ShutdownOptions): number | undefined {
  const defaults = { timeoutMs: undefined as number | undefined }
  return resolveOptions(call, options, defaults, { timeoutMs: optional(delayMs) }).timeoutMs
}

/** @throws ConfigError */
function isInBackground(options: PublishOptions): boolean {
  return resolveOptions('publish', options, { background: false }, { background: booleanOption }).background
}
