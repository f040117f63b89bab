import { ConfigError, describeValue } from '../errors.ts'
import { currentCause } from '../events/causation.ts'
import { assertEvent, withCauseUnlessSet } from '../events/domain-event.ts'
import type { DomainEvent, EventClass, EventOf } from '../events/index.ts'
import type { AnyEventHandler, AsyncEventHandler, EventSubscriber } from '../handling/event-handler.ts'
import type { HandlerRegistry, SubscribeOptions, Subscription } from '../handling/handler-registry.ts'
import { delayMs } from '../kit/options.ts'
import { BusClosedError } from './errors.ts'
import {
  type BusHealth,
  busHealth,
  type HealthFacts,
  type HealthOptions,
  resolveHealthOptions,
} from './health.ts'
import type { BackgroundPublishes } from './publishing/background-publishes.ts'

export interface PublishOptions {
  /**
   * Return at once instead of when the events are safe. Failures are then logged and counted, and `shutdown`
   * waits for what is under way. When too many are under way (`maxBackgroundPublishes`), the call waits after all.
   */
  readonly background?: boolean
}

export interface ShutdownOptions {
  /** Longest time the call takes, in milliseconds. Default: the bus's `shutdownTimeoutMs`, 30,000. */
  readonly timeoutMs?: number
}

/** What a bus is made of; see the subclasses. */
export interface EventBusParts {
  readonly handlers: HandlerRegistry
  readonly background: BackgroundPublishes
  /** Events that a handler publishes are caused by the one it handles. */
  readonly propagateCausation: boolean
}

/**
 * Moves domain events from publishers to handlers. The same program works on `InMemoryEventBus`, `RedisEventBus`,
 * `RabbitMQEventBus` and `KafkaEventBus`.
 */
export abstract class EventBus implements AsyncDisposable {
  protected readonly handlers: HandlerRegistry
  protected readonly background: BackgroundPublishes
  readonly #propagateCausation: boolean
  #isClosed = false

  protected constructor({ handlers, background, propagateCausation }: EventBusParts) {
    this.handlers = handlers
    this.background = background
    this.#propagateCausation = propagateCausation
  }

  /** True from the first call of {@link shutdown} on. */
  get isShutdown(): boolean {
    return this.#isClosed
  }

  /**
   * Publishes events. In memory it resolves when every handler has run; on a broker when the broker has confirmed
   * every event. Events of one call keep their order per aggregate; an empty array does nothing.
   *
   * Inside a handler the events are caused by the handled one: see `propagateCausation`.
   *
   * @throws PublishError (brokers) that says for each event whether it was certainly not stored or may be.
   * @throws BusClosedError after `shutdown`.
   * @throws TypeError when something in the array is no event; then nothing was published.
   */
  async publish(events: readonly DomainEvent[], { background = false }: PublishOptions = {}): Promise<void> {
    if (this.#isClosed) throw new BusClosedError('publish')
    if (!Array.isArray(events)) {
      throw new TypeError(`publish takes an array of events, got ${describeValue(events)}`)
    }
    for (const event of events) assertEvent(event)
    if (events.length === 0) return
    const caused = this.#withCause(events)
    if (background && this.background.tryStart(() => this.publishNow(caused))) return
    await this.publishNow(caused)
  }

  /** True while the bus can be used: in memory until `shutdown`, on a broker while there is a connection. */
  abstract get isConnected(): boolean

  /** True while the bus takes events for its handlers: in memory until `shutdown`. */
  abstract get isConsuming(): boolean

  /** Connects to the broker; in memory there is nothing to do. @throws BusClosedError after `shutdown`. */
  abstract connect(): Promise<void>

  /**
   * Consumes until `stopConsuming` or `shutdown`, and resolves then. In memory handlers run in any case; it only waits.
   * @throws BusClosedError after `shutdown`.
   */
  abstract startConsuming(): Promise<void>

  /** Starts to consume and returns at once. @throws BusClosedError after `shutdown`. */
  abstract startConsumingInBackground(): void

  /** Resolves when the bus consumes: what is published from then on reaches it. */
  abstract whenConsuming(): Promise<void>

  /** Stops consuming; fine when it does not. */
  abstract stopConsuming(options?: ShutdownOptions): Promise<void>

  /**
   * Subscribes a handler to one event class, or to several at once (its parameter is then their union). Subscribed
   * twice, it is called twice. A change during a dispatch counts from the next event on.
   *
   * @returns the subscription; `using` ends it with the scope.
   * @throws TypeError when the class is no event class or the handler no handler.
   * @throws DuplicateEventTypeError when another class with the same event type is subscribed.
   */
  subscribe<const C extends EventClass | readonly EventClass[]>(
    eventClass: C,
    handler: AnyEventHandler<EventOf<C>>,
    options?: SubscribeOptions,
  ): Subscription {
    return this.handlers.subscribe(eventClass, handler, options)
  }

  /**
   * Takes off the oldest subscription of this very handler (the same reference) to this class.
   * @returns true if there was one.
   */
  unsubscribe<E extends DomainEvent>(eventClass: EventClass<E>, handler: AnyEventHandler<E>): boolean {
    return this.handlers.unsubscribe(eventClass, handler)
  }

  /** Subscribes an object to all event types that it declares itself. */
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

  /** @returns true if this very handler was subscribed to all events; takes off the oldest such subscription. */
  unsubscribeFromAllEvents(handler: AnyEventHandler): boolean {
    return this.handlers.unsubscribeFromAllEvents(handler)
  }

  /** Ends all subscriptions, those to all events too. */
  clearSubscribers(): void {
    this.handlers.clear()
  }

  /** Number of subscriptions to a class, or to all classes together; those to all events are not in it. */
  getSubscriberCount(eventClass?: EventClass): number {
    return this.handlers.count(eventClass)
  }

  /** Number of subscriptions to all events. */
  getWildcardSubscriberCount(): number {
    return this.handlers.wildcardCount()
  }

  /** A snapshot of the bus's counts; which there are depends on the bus. */
  abstract getStats(): object

  /**
   * How the bus fares, for probes and people. Asks the broker, ends within `timeoutMs`, and never rejects for what it
   * finds: it works before `connect` and after `shutdown` too.
   *
   * @throws ConfigError when an option is out of range.
   */
  async health(options: HealthOptions = {}): Promise<BusHealth> {
    const limits = resolveHealthOptions(options)
    return busHealth(await this.healthFacts(limits.timeoutMs), limits)
  }

  /** What is to be judged; never rejects. */
  protected abstract healthFacts(timeoutMs: number): Promise<HealthFacts>

  /** Number of background publishes under way. */
  getBackgroundTaskCount(): number {
    return this.background.count
  }

  /**
   * Ends the bus: waits for background publishes and running handlers, at most `timeoutMs`, then gives up on the
   * rest and says so in the log. Never rejects for being late; a second call waits for the first. A handler that
   * awaits it waits for itself.
   *
   * @throws ConfigError when `timeoutMs` is not a duration.
   */
  async shutdown({ timeoutMs }: ShutdownOptions = {}): Promise<void> {
    if (timeoutMs !== undefined && !delayMs.isValid(timeoutMs)) {
      throw new ConfigError('shutdown', [
        `timeoutMs must be ${delayMs.rule}, got ${describeValue(timeoutMs)}`,
      ])
    }
    this.#isClosed = true
    await this.close(timeoutMs)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown()
  }

  /** Inside a handler, events that were made outside of it are caused by the handled event too. */
  #withCause(events: readonly DomainEvent[]): readonly DomainEvent[] {
    const cause = this.#propagateCausation ? currentCause() : undefined
    return cause === undefined ? events : events.map((event) => withCauseUnlessSet(event, cause))
  }

  /** Publishes at least one event. */
  protected abstract publishNow(events: readonly DomainEvent[]): Promise<void>

  /** Called by each `shutdown`; must be fine with a second call. */
  protected abstract close(timeoutMs: number | undefined): Promise<void>
}
