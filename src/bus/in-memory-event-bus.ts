import type { Cause } from '../events/causation.ts'
import type { DomainEvent } from '../events/index.ts'
import { Dispatcher } from '../handling/dispatcher.ts'
import { ShutdownError } from '../handling/errors.ts'
import { HandlerRegistry } from '../handling/handler-registry.ts'
import type { RunInfo } from '../handling/handler-run.ts'
import { HandlingMiddlewares } from '../handling/handling-middleware.ts'
import { refuseInHandlerOf } from '../handling/running-handlers.ts'
import { keepsOrder, parks } from '../handling/waiting-policy.ts'
import { resolveOptions } from '../kit/options.ts'
import { settledWithin } from '../kit/time.ts'
import { MeterSource } from '../observability/meter.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import type { SummarizingLogger } from '../observability/summarizing-logger.ts'
import { noTracer, OpenTelemetryTracer } from '../observability/tracer.ts'
import type { BusAdmin } from './admin/bus-admin.ts'
import { EventRing } from './admin/event-ring.ts'
import { loadOwnPresence, loadRingAdmin, loadRingReader } from './admin/in-memory-admin.ts'
import { LazyBusAdmin } from './admin/lazy-bus-admin.ts'
import { AuditTrail } from './audit.ts'
import { BusClosedError } from './errors.ts'
import { checkedTimeout, EventBus, type ShutdownOptions } from './event-bus.ts'
import type { HealthFacts } from './health.ts'
import { type InMemoryEventBusOptions, inMemoryDefaults, inMemoryRules } from './in-memory-options.ts'
import { InMemoryPublisher } from './in-memory-publisher.ts'
import { InMemoryRetries } from './in-memory-retries.ts'
import { BackgroundPublishes } from './publishing/background-publishes.ts'
import { BusMetrics } from './telemetry/bus-metrics.ts'

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
  readonly #publisher: InMemoryPublisher
  readonly #retries: InMemoryRetries
  readonly #metrics: BusMetrics
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
  #eventsPublished = 0
  #handlersInvoked = 0
  #handlerErrors = 0
  #lastError: { readonly error: Error; readonly at: Date } | undefined
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
    const ring = resolved.keepLastEvents > 0 ? new EventRing(resolved.keepLastEvents) : undefined
    const activity = {
      handlers: this.handlers,
      published: this.published,
      since: new Date(),
      counts: () => ({
        handled: this.#handlersInvoked,
        failed: this.#handlerErrors,
        inFlight: this.#publisher.count,
        running: this.#publisher.count,
        oldestInFlightMs: this.#publisher.count === 0 ? undefined : Math.round(this.#publisher.oldestMs),
      }),
    }
    this.admin = new LazyBusAdmin({
      connect: () => this.connect(),
      load: () => loadRingAdmin(ring),
      audit: new AuditTrail(TARGET, logger, undefined),
      loadControl: undefined,
      loadPresence: () => loadOwnPresence(activity),
      loadCheckup: () => Promise.resolve(undefined),
      logger,
      target: TARGET,
      meter: resolved.meter,
      reader: () => loadRingReader(this.handlers.classFor),
      letters: undefined,
    })
    this.#shutdownTimeoutMs = resolved.shutdownTimeoutMs
    const tracer = resolved.enableTracing ? new OpenTelemetryTracer(resolved.tracer) : noTracer
    this.#metrics = new BusMetrics({
      target: TARGET,
      consumerGroup: undefined,
      source: resolved.enableMetrics ? new MeterSource(resolved.meter) : undefined,
      probes: {
        inFlight: () => this.#publisher.count,
        skipped: () => 0,
        reconnections: () => 0,
        pausedHandlers: () => 0,
        isPaused: () => undefined,
        lag: () => Promise.resolve(undefined),
        waiting: () => Promise.resolve(this.#retries.waiting),
        oldestWaitingMs: () => Promise.resolve(this.#retries.oldestWaitingMs),
      },
    })
    this.handlers.onPause((handlerName, { isPaused, error }) => {
      if (isPaused)
        logger.error('handler paused, its events fail for the same reason', { handlerName, error })
      else logger.warn('handler resumed', { handlerName })
    })
    const dispatcher = new Dispatcher({
      owner: this,
      tracer,
      metrics: this.#metrics,
      handlerTimeoutMs: resolved.handlerTimeoutMs,
      cause: resolved.propagateCausation ? 'event' : 'inherited',
      middleware,
      observer: {
        handled: () => {
          this.#handlersInvoked += 1
        },
        failed: (event, { handler, error }) => {
          this.#noteError(error)
          const { eventId, eventType } = event
          this.#logger.error('handler failed', { eventId, eventType, handlerName: handler.name, error })
        },
      },
    })
    this.#retries = new InMemoryRetries({
      dispatcher,
      runInfo: this.#runInfo,
      metrics: this.#metrics,
      logger,
    })
    this.#publisher = new InMemoryPublisher({
      target: TARGET,
      handlers: this.handlers,
      dispatcher,
      retries: this.#retries,
      metrics: this.#metrics,
      tracer,
      runInfo: this.#runInfo,
      ring,
      onPublished: () => {
        this.#eventsPublished += 1
      },
      // There are no dead letters, so it is logged and counted.
      onRefused: ({ eventId, eventType }, error) => {
        this.#eventsPublished += 1
        this.#noteError(error)
        logger.error('event refused by its class', { eventId, eventType, error })
      },
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

  protected override healthFacts(): Promise<HealthFacts> {
    return Promise.resolve({
      isShutdown: this.isShutdown,
      isConnected: this.isConnected,
      wasConnected: true,
      isConsuming: this.isConsuming,
      blockedReason: undefined,
      lastError: this.#lastError?.error,
      lastErrorAt: this.#lastError?.at ?? null,
      oldestUnsettledMs: this.#publisher.oldestMs,
      lag: undefined,
      deadLetters: undefined,
      waiting: { value: this.#retries.waiting },
      oldestWaitingMs: { value: this.#retries.oldestWaitingMs },
    })
  }

  protected override publishNow(events: readonly DomainEvent[], cause: Cause | undefined): Promise<void> {
    return this.#publisher.publish(events, cause)
  }

  protected override async close(timeoutMs = this.#shutdownTimeoutMs): Promise<void> {
    const hasEnded = await settledWithin(Promise.race([this.#drain(), this.#givenUp.promise]), timeoutMs)
    this.#consuming.resolve()
    this.#metrics.close()
    if (!hasEnded) this.#abandon(timeoutMs)
    this.#logger.flush()
  }

  #noteError(error: Error): void {
    this.#handlerErrors += 1
    this.#lastError = { error, at: new Date() }
  }

  #abandon(timeoutMs: number): void {
    this.#logger.warn('shutdown timed out', { timeoutMs, unfinishedPublishes: this.#publisher.count })
    this.#stopped.abort(new ShutdownError())
    this.background.abandon()
    this.#givenUp.resolve()
  }

  async #drain(): Promise<void> {
    await this.background.drained()
    await this.#publisher.drained()
    await this.#retries.close()
  }
}
