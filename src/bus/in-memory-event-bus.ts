import { asInstanceOf, isInstanceOf } from '../codec/convert-event.ts'
import { refuseBeyondDefaults } from '../codec/publish-limits.ts'
import { toError } from '../errors.ts'
import type { Cause } from '../events/causation.ts'
import type { DomainEvent } from '../events/index.ts'
import { Dispatcher } from '../handling/dispatcher.ts'
import { ShutdownError } from '../handling/errors.ts'
import { HandlerRegistry } from '../handling/handler-registry.ts'
import type { RunInfo } from '../handling/handler-run.ts'
import { HandlingMiddlewares } from '../handling/handling-middleware.ts'
import { refuseInHandlerOf } from '../handling/running-handlers.ts'
import { keepsOrder, parks } from '../handling/waiting-policy.ts'
import { IdleCounter } from '../kit/idle-counter.ts'
import { resolveOptions } from '../kit/options.ts'
import { settledWithin } from '../kit/time.ts'
import { MeterSource } from '../observability/meter.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import type { SummarizingLogger } from '../observability/summarizing-logger.ts'
import { type EventTracer, noTracer, OpenTelemetryTracer } from '../observability/tracer.ts'
import type { BusAdmin } from './admin/bus-admin.ts'
import { EventRing } from './admin/event-ring.ts'
import { loadRingAdmin, loadRingReader } from './admin/in-memory-admin.ts'
import { LazyBusAdmin } from './admin/lazy-bus-admin.ts'
import { BusClosedError } from './errors.ts'
import { causedBy, checkedTimeout, EventBus, type ShutdownOptions } from './event-bus.ts'
import type { HealthFacts } from './health.ts'
import { type InMemoryEventBusOptions, inMemoryDefaults, inMemoryRules } from './in-memory-options.ts'
import { InMemoryRetries } from './in-memory-retries.ts'
import { BackgroundPublishes } from './publishing/background-publishes.ts'
import { BusMetrics } from './telemetry/bus-metrics.ts'
import { dispatchSpanOf, publishSpanOf } from './telemetry/bus-spans.ts'

/** Counters of an in-memory bus since its creation. */
export interface InMemoryEventBusStats {
  readonly eventsPublished: number
  /** Runs of handlers that succeeded. */
  readonly handlersInvoked: number
  /** Runs of handlers that failed. */
  readonly handlerErrors: number
  /** Events that a handler discarded, once for each such handler. */
  readonly eventsDiscarded: number
  readonly backgroundTasksCreated: number
  readonly backgroundTasksCompleted: number
}

const NONE_FAILED: ReadonlyMap<number, Error> = new Map()

const NO_PARKING =
  'onDeadLetter: in memory there is no dead letter behind which events could wait. Retry without a limit (maxRetries: Infinity), ' +
  'or use the bus of a broker'

/** Without `longWaits`, the publish waits, and with it the events that its caller publishes afterwards. */
const NO_ORDERED_WAITS =
  "longWaits: order must be 'giveUp', because overlapping publishes in memory have no order that could be kept"

/** How spans and metrics name this bus. */
const TARGET = { system: 'memory', destination: 'memory' }

/**
 * The bus within one process. `publish` resolves when every handler has run. The events of one call are handled in order;
 * the handlers of one event run concurrently. A failing handler is logged and counted, and stops no other handler. It gets one
 * attempt, or those of its subscription's `maxRetries`, and `publish` waits for them, except for those after a long wait
 * (`longWaits`), during which this bus keeps the event in memory.
 * Concurrent `publish` calls have no order among each other: await one call before the next if the order matters.
 */
export class InMemoryEventBus extends EventBus {
  override readonly admin: BusAdmin
  readonly #dispatcher: Dispatcher
  readonly #retries: InMemoryRetries
  readonly #ring: EventRing | undefined
  readonly #metrics: BusMetrics
  readonly #tracer: EventTracer
  readonly #logger: SummarizingLogger
  readonly #shutdownTimeoutMs: number
  readonly #stopped = new AbortController()
  /** Resolved when a shutdown times out, so that further calls do not wait either. */
  readonly #givenUp = Promise.withResolvers<void>()
  readonly #runInfo: RunInfo = {
    attempt: 1,
    deliveryCount: 1,
    consumerGroup: undefined,
    messageId: undefined,
    busSignal: this.#stopped.signal,
  }
  #consuming = Promise.withResolvers<void>()
  readonly #publishSpan = publishSpanOf(TARGET)
  readonly #dispatchSpan = dispatchSpanOf(TARGET)
  readonly #handlersOf = (event: DomainEvent) => {
    this.#eventsPublished += 1
    return this.handlers.handlersFor(event.eventType)
  }
  #eventsPublished = 0
  #handlersInvoked = 0
  #handlerErrors = 0
  #lastError: { readonly error: Error; readonly at: Date } | undefined
  readonly #publishes = new IdleCounter()
  /** When each publish in flight started, oldest first, by the monotonic clock. */
  readonly #starts = new Set<{ readonly at: number }>()

  /** @throws ConfigError if an option is unknown or out of range. */
  constructor(options: InMemoryEventBusOptions = {}) {
    const resolved = resolveOptions('InMemoryEventBus', options, inMemoryDefaults, inMemoryRules)
    const logger = resolveLogger(resolved.logger)
    const middleware = new HandlingMiddlewares()
    super({
      middleware,
      handlers: new HandlerRegistry(resolved.registry, {
        policyProblem: (policy) => {
          if (parks({ policy })) return NO_PARKING
          return keepsOrder({ policy }) ? NO_ORDERED_WAITS : undefined
        },
      }),
      background: new BackgroundPublishes(resolved.maxBackgroundPublishes, logger),
      propagateCausation: resolved.propagateCausation,
    })
    this.#logger = logger
    this.#ring = resolved.keepLastEvents > 0 ? new EventRing(resolved.keepLastEvents) : undefined
    this.admin = new LazyBusAdmin({
      connect: () => this.connect(),
      load: () => loadRingAdmin(this.#ring),
      logger,
      target: TARGET,
      meter: resolved.meter,
      reader: () => loadRingReader(this.handlers.classFor),
    })
    this.#shutdownTimeoutMs = resolved.shutdownTimeoutMs
    this.#tracer = resolved.enableTracing ? new OpenTelemetryTracer(resolved.tracer) : noTracer
    this.#metrics = new BusMetrics({
      target: TARGET,
      consumerGroup: undefined,
      source: resolved.enableMetrics ? new MeterSource(resolved.meter) : undefined,
      probes: {
        inFlight: () => this.#publishes.count,
        skipped: () => 0,
        reconnections: () => 0,
        pausedHandlers: () => 0,
        lag: () => Promise.resolve(undefined),
      },
    })
    this.handlers.onPause((handlerName, { isPaused, error }) => {
      if (isPaused)
        logger.error('handler paused, its events fail for the same reason', { handlerName, error })
      else logger.warn('handler resumed', { handlerName })
    })
    this.#dispatcher = new Dispatcher({
      owner: this,
      tracer: this.#tracer,
      metrics: this.#metrics,
      handlerTimeoutMs: resolved.handlerTimeoutMs,
      cause: resolved.propagateCausation ? 'event' : 'inherited',
      middleware,
      observer: {
        handled: () => {
          this.#handlersInvoked += 1
        },
        failed: (event, { handler, error }) => {
          this.#handlerErrors += 1
          this.#lastError = { error, at: new Date() }
          const { eventId, eventType } = event
          this.#logger.error('handler failed', { eventId, eventType, handlerName: handler.name, error })
        },
      },
    })
    this.#retries = new InMemoryRetries({
      dispatcher: this.#dispatcher,
      runInfo: this.#runInfo,
      metrics: this.#metrics,
      logger,
    })
  }

  override get isConnected(): boolean {
    return !this.isShutdown
  }

  override get isConsuming(): boolean {
    return !this.isShutdown
  }

  override connect(): Promise<void> {
    return this.isShutdown ? Promise.reject(new BusClosedError('connect')) : Promise.resolve()
  }

  override async startConsuming(): Promise<void> {
    if (this.isShutdown) throw new BusClosedError('consume')
    refuseInHandlerOf(this, 'startConsuming()')
    await this.#consuming.promise
  }

  override startConsumingInBackground(): void {
    if (this.isShutdown) throw new BusClosedError('consume')
  }

  override whenConsuming(): Promise<void> {
    return Promise.resolve()
  }

  override async stopConsuming(options: ShutdownOptions = {}): Promise<void> {
    checkedTimeout('stopConsuming', options)
    this.#consuming.resolve()
    this.#consuming = Promise.withResolvers()
  }

  /** A snapshot of the counters. */
  override getStats(): InMemoryEventBusStats {
    return {
      eventsPublished: this.#eventsPublished,
      handlersInvoked: this.#handlersInvoked,
      handlerErrors: this.#handlerErrors,
      eventsDiscarded: this.#retries.eventsDiscarded,
      backgroundTasksCreated: this.background.created,
      backgroundTasksCompleted: this.background.completed,
    }
  }

  readonly #dispatch = (events: readonly DomainEvent[]): Promise<void> =>
    this.#dispatcher.runEach({
      events: this.#readable(events),
      handlersFor: this.#handlersOf,
      info: this.#runInfo,
      span: this.#dispatchSpan,
      recover: this.#retries.recover,
    })

  /** The events as a consumer of a broker decodes them: instances of the classes that handlers subscribed to. */
  #readable(events: readonly DomainEvent[]): readonly DomainEvent[] {
    const { classFor } = this.handlers
    if (events.every((event) => isInstanceOf(event, classFor(event.eventType)))) return events
    return events.flatMap((event) => this.#converted(event))
  }

  /** An event that its class refuses reaches no handler. There are no dead letters, so it is logged and counted. */
  #converted(event: DomainEvent): readonly DomainEvent[] {
    const { eventId, eventType } = event
    if (this.handlers.handlersFor(eventType).length === 0) return [event]
    try {
      return [asInstanceOf(event, this.handlers.classFor(eventType))]
    } catch (thrown) {
      const error = toError(thrown)
      this.#eventsPublished += 1
      this.#handlerErrors += 1
      this.#lastError = { error, at: new Date() }
      this.#logger.error('event refused by its class', { eventId, eventType, error })
      return []
    }
  }

  protected override healthFacts(): Promise<HealthFacts> {
    const [oldest] = this.#starts
    return Promise.resolve({
      isShutdown: this.isShutdown,
      isConnected: this.isConnected,
      wasConnected: true,
      isConsuming: this.isConsuming,
      blockedReason: undefined,
      lastError: this.#lastError?.error,
      lastErrorAt: this.#lastError?.at ?? null,
      oldestUnsettledMs: oldest === undefined ? 0 : Math.max(0, performance.now() - oldest.at),
      lag: undefined,
      deadLetters: undefined,
    })
  }

  /**
   * Refuses the events that a broker bus with the default codec would refuse, so that a program can move to a broker.
   */
  protected override async publishNow(
    given: readonly DomainEvent[],
    cause: Cause | undefined,
  ): Promise<void> {
    const events = causedBy(given, cause)
    for (const event of events) refuseBeyondDefaults(event)
    this.#ring?.add(events)
    const start = { at: performance.now() }
    this.#starts.add(start)
    this.#publishes.start()
    const startedAt = this.#metrics.refresh() === undefined ? 0 : performance.now()
    try {
      await this.#tracer.around(this.#publishSpan, events, this.#dispatch)
    } finally {
      if (startedAt > 0) this.#metrics.recorder?.published(events, NONE_FAILED, startedAt)
      this.#starts.delete(start)
      this.#publishes.end()
    }
  }

  protected override async close(timeoutMs = this.#shutdownTimeoutMs): Promise<void> {
    const hasEnded = await settledWithin(Promise.race([this.#drain(), this.#givenUp.promise]), timeoutMs)
    this.#consuming.resolve()
    this.#metrics.close()
    if (!hasEnded) this.#abandon(timeoutMs)
    this.#logger.flush()
  }

  #abandon(timeoutMs: number): void {
    this.#logger.warn('shutdown timed out', { timeoutMs, unfinishedPublishes: this.#publishes.count })
    this.#stopped.abort(new ShutdownError())
    this.background.abandon()
    this.#givenUp.resolve()
  }

  async #drain(): Promise<void> {
    await this.background.drained()
    await this.#publishes.whenIdle()
    await this.#retries.close()
  }
}
