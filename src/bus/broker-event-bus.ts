import { writesStoredText } from '../codec/json-codec.ts'
import type { Cause } from '../events/causation.ts'
import type { DomainEvent } from '../events/index.ts'
import { Dispatcher } from '../handling/dispatcher.ts'
import { FailurePolicies } from '../handling/failure-policy.ts'
import { HandlerRegistry } from '../handling/handler-registry.ts'
import { HandlingMiddlewares } from '../handling/handling-middleware.ts'
import { refuseInHandlerOf, stopFromAnywhere } from '../handling/running-handlers.ts'
import type { Sleep } from '../kit/time.ts'
import { MeterSource } from '../observability/meter.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import { noTracer, OpenTelemetryTracer } from '../observability/tracer.ts'
import type { BusNoticeListener } from '../transport/notices.ts'
import type { Consumption, Intake, Transport, TransportHost } from '../transport/transport.ts'
import type { BusAdmin } from './admin/bus-admin.ts'
import { adminOf, controlOf, LazyBusAdmin } from './admin/lazy-bus-admin.ts'
import { AuditTrail } from './audit.ts'
import { brokerHealthFacts } from './broker-health.ts'
import type { ResolvedBrokerOptions } from './broker-options.ts'
import { BrokerShutdown } from './broker-shutdown.ts'
import { ConsumerLifecycle } from './consuming/consumer-lifecycle.ts'
import { GroupTypes } from './consuming/group-types.ts'
import { LineWatch } from './consuming/line-watch.ts'
import { ConsumerPipeline } from './consuming/pipeline.ts'
import { warnOfUnnamedHandlers } from './consuming/unnamed-handlers.ts'
import { UnrecordedSuccesses } from './consuming/unrecorded-successes.ts'
import { waitingProblem } from './consuming/waiting-problem.ts'
import { WaitingReleases } from './consuming/waiting-releases.ts'
import { DeadLetterQueue } from './dead-letters/dead-letter-queue.ts'
import { BusClosedError } from './errors.ts'
import { checkedTimeout, EventBus, type ShutdownOptions } from './event-bus.ts'
import { FirstConnection } from './first-connection.ts'
import { groupTurns } from './group-turns.ts'
import type { HealthFacts } from './health.ts'
import { type Presence, presenceOf } from './presence.ts'
import { BackgroundPublishes } from './publishing/background-publishes.ts'
import { BrokerPublisher } from './publishing/broker-publisher.ts'
import { BrokerProbe } from './telemetry/broker-probe.ts'
import { type BrokerEventBusStats, BusCounters } from './telemetry/bus-counters.ts'
import { BusMetrics } from './telemetry/bus-metrics.ts'
import { failureObserver } from './telemetry/failure-observer.ts'
import { NoticeBoard, type NoticeSubscription } from './telemetry/notice-board.ts'

/**
 * A bus over a broker: handlers, consumer pipeline and lifecycle, over a `Transport` that moves the bytes. A bus
 * that never starts consuming only publishes, and creates nothing on the broker that only consumers need.
 */
export abstract class BrokerEventBus<T extends Transport = Transport> extends EventBus {
  /** Moves the bytes. A subclass uses it for features that only its broker has. */
  protected readonly transport: T
  readonly #shutdownTimeoutMs: number
  readonly #connection: FirstConnection
  readonly #counters = new BusCounters()
  readonly #notices: NoticeBoard
  readonly #probe: BrokerProbe
  readonly #publisher: BrokerPublisher
  readonly #consumer: ConsumerLifecycle
  readonly #presence: Presence
  readonly #shutdown: BrokerShutdown

  /** Dead letters of all groups on this stream, exchange or topic: list, replay, purge. */
  readonly deadLetters: DeadLetterQueue
  override readonly admin: BusAdmin

  /** @param sleep - waits between two attempts; a test passes one that does not wait. */
  protected constructor(
    options: ResolvedBrokerOptions,
    createTransport: (host: TransportHost) => T,
    sleep?: Sleep,
  ) {
    const { consumerGroup, codec, enableDlq, concurrency, maxInFlight, maxInFlightBytes } = options
    const { handlerTimeoutMs, propagateCausation, publishTimeoutMs, shutdownTimeoutMs, broadcast } = options
    const logger = resolveLogger(options.logger)
    const handlers: HandlerRegistry = new HandlerRegistry(options.registry, {
      needsNames: true,
      maxHeld: () => Math.min(maxInFlight, transport.maxHeld ?? Number.POSITIVE_INFINITY),
      groupTurns: () => groupTurns({ transport, broadcast, counters: this.#counters, logger }),
      policyProblem: (policy) => waitingProblem(policy, { transport, broadcast, enableDlq }),
    })
    const background = new BackgroundPublishes(options.maxBackgroundPublishes, logger)
    const middleware = new HandlingMiddlewares()
    super({ handlers, background, middleware, propagateCausation, passesOn: writesStoredText(codec) })
    this.#shutdownTimeoutMs = shutdownTimeoutMs

    const counters = this.#counters
    const transport = createTransport({ notify: (notice) => this.#notices.post(notice) })
    this.transport = transport
    this.#notices = new NoticeBoard(transport, counters, logger)
    handlers.onPause((handlerName, { isPaused, error }) => {
      this.#notices.post(
        isPaused ? { type: 'handlerPaused', handlerName, error } : { type: 'handlerResumed', handlerName },
      )
    })
    this.#probe = new BrokerProbe(transport, consumerGroup, handlers)
    this.#connection = new FirstConnection(async () => {
      await transport.connect()
      counters.connectedAt = Date.now()
    })

    const tracer = options.enableTracing ? new OpenTelemetryTracer(options.tracer, options) : noTracer
    const metrics = new BusMetrics({
      target: transport,
      consumerGroup,
      source: options.enableMetrics ? new MeterSource(options.meter) : undefined,
      probes: this.#probe.metrics(counters, () => (this.isConnected ? this.#consumer : undefined)),
    })
    this.#publisher = new BrokerPublisher({
      transport,
      codec,
      tracer,
      counters,
      metrics,
      publishTimeoutMs,
      connection: this.#connection,
    })

    const observer = failureObserver(counters, logger)
    const dispatcher = new Dispatcher({
      owner: this,
      tracer,
      handlerTimeoutMs,
      cause: propagateCausation ? 'event' : 'inherited',
      metrics,
      observer,
      middleware,
    })
    const policies = new FailurePolicies(options, logger)
    // The group of an instance that broadcasts has no other member, and keeps nothing on the broker.
    const groupTypes = new GroupTypes({
      store: broadcast ? undefined : transport.groupTypes,
      handlers,
      logger,
    })
    const releases = new WaitingReleases({
      store: broadcast ? undefined : transport.waiting,
      handlers,
      counters,
      logger,
    })
    const lines = new LineWatch(counters, (notice) => this.#notices.post(notice))
    const unrecorded = new UnrecordedSuccesses()
    const createPipeline = () => {
      warnOfUnnamedHandlers(handlers, logger)
      return new ConsumerPipeline({
        target: transport,
        consumerGroup,
        maxInFlight,
        maxInFlightBytes,
        concurrency,
        enableDlq,
        deadLetterStacks: options.deadLetterStacks,
        policies,
        handlers,
        dispatcher,
        codec,
        newerVersions: options.newerVersions,
        unhandledEvents: options.unhandledEvents,
        handoverTimeoutMs: options.handoverTimeoutMs,
        groupTypes,
        unrecorded,
        counters,
        metrics,
        tracer,
        logger,
        onPostponed: (delayMs) => releases.expect(delayMs),
        lines,
        ...(sleep === undefined ? {} : { sleep }),
      })
    }
    const presence = presenceOf({
      ...{ transport, options, handlers, published: this.published, counters, logger },
      consumer: () => this.#consumer,
    })
    this.#presence = presence
    const connect = () => this.connect()
    const audit = new AuditTrail(transport, logger, options.audit)
    this.#consumer = new ConsumerLifecycle({
      transport,
      createPipeline,
      connect,
      announce: async (stopped) => {
        presence.report()
        await groupTypes.start(stopped)
        await releases.start(stopped)
      },
      counters,
      logger,
      // The group of an instance that broadcasts ends with it.
      loadControl: broadcast ? undefined : controlOf(transport),
      onPause: (pause) => {
        presence.report()
        this.#notices.post(pause === undefined ? { type: 'groupResumed' } : { type: 'groupPaused', ...pause })
      },
      onHalted: () => presence.report(),
    })
    this.deadLetters = new DeadLetterQueue({
      store: transport.deadLetters,
      codec,
      handlers,
      group: consumerGroup,
      audit,
      connect,
    })
    this.admin = new LazyBusAdmin({
      connect,
      ...adminOf(transport),
      logger,
      audit,
      loadControl: controlOf(transport),
      loadPresence: presence.loadStore,
      target: transport,
      meter: options.meter,
      reader: () => Promise.resolve({ codec, classFor: handlers.classFor }),
      letters: this.deadLetters,
    })
    this.#shutdown = new BrokerShutdown({
      consumer: this.#consumer,
      publisher: this.#publisher,
      presence,
      background,
      transport,
      counters,
      metrics,
      logger,
    })
  }

  /** True from a successful {@link connect} until the connection is lost or the bus is shut down. */
  override get isConnected(): boolean {
    return this.#counters.connectedAt > 0 && !this.isShutdown
  }

  /** True while the bus takes deliveries. */
  override get isConsuming(): boolean {
    return this.#consumer.isConsuming
  }

  /**
   * Connects to the broker. `publish` and `startConsuming` connect too; call it to learn early whether the broker can be
   * reached. Once connected, the bus reconnects on its own until it is shut down.
   *
   * @throws ConnectionError if the broker cannot be reached in time, or refuses the credentials.
   * @throws BusClosedError after `shutdown`.
   */
  override async connect(): Promise<void> {
    if (this.isShutdown) throw new BusClosedError('connect')
    await this.#connection.ensure()
  }

  /**
   * Consumes until {@link stopConsuming} or `shutdown`, and only then resolves. To run other code meanwhile, use {@link
   * startConsumingInBackground}. If the bus already consumes, the call resolves when the running consumption ends.
   *
   * @throws ConnectionError if the broker cannot be reached at the start. After later outages, consuming resumes.
   * @throws BusClosedError after `shutdown`.
   * @throws HandlerDeadlockError inside a handler of this bus.
   */
  override async startConsuming(): Promise<void> {
    if (this.isShutdown) throw new BusClosedError('consume')
    refuseInHandlerOf(this, 'startConsuming()')
    await this.#consumer.start()
  }

  /**
   * Starts consuming and returns at once. While the broker cannot be reached, the bus logs this and retries the start.
   * An error that waiting does not fix, such as a wrong password, is logged and rejects {@link whenConsuming}.
   *
   * @throws BusClosedError after `shutdown`.
   */
  override startConsumingInBackground(): void {
    if (this.isShutdown) throw new BusClosedError('consume')
    this.#consumer.startInBackground()
  }

  /**
   * Resolves when the bus consumes: events that are published after that reach it. Rejects if a start fails in a way
   * that waiting does not fix, and with a `BusClosedError` after the bus is shut down. Warns after 5 s without a start.
   *
   * @throws HandlerDeadlockError inside a handler of this bus, after it has stopped consuming.
   */
  override async whenConsuming(): Promise<void> {
    if (this.isShutdown) throw new BusClosedError('consume')
    if (!this.isConsuming) refuseInHandlerOf(this, 'whenConsuming()')
    await this.#consumer.whenConsuming
  }

  /**
   * Stops consuming: takes no further deliveries, waits for running handlers (at most `timeoutMs`), settles the
   * messages that they finished, and leaves the others to be redelivered. The bus can still publish, and can consume
   * again.
   *
   * Inside a handler of this bus it returns at once, because the stop waits for that handler.
   *
   * @throws ConfigError if `timeoutMs` is not a duration, or an option is unknown.
   */
  override async stopConsuming(options: ShutdownOptions = {}): Promise<void> {
    const withinMs = checkedTimeout('stopConsuming', options) ?? this.#shutdownTimeoutMs
    await stopFromAnywhere(this, () => this.#consumer.stop(withinMs).finally(() => this.#presence.report()))
  }

  /** A snapshot of the counters. */
  override getStats(): BrokerEventBusStats {
    return this.#counters.snapshot(this.background.failed)
  }

  /**
   * Number of events of this bus's consumer group that wait for a later attempt of one handler (`longWaits`). Connects the bus if
   * necessary.
   *
   * @throws ConnectionError
   */
  async countWaiting(): Promise<number> {
    await this.connect()
    return (await this.transport.waiting?.count()) ?? 0
  }

  /** Reports outages of the broker and their outcome; see `BusNotice`. */
  onNotice(listener: BusNoticeListener): NoticeSubscription {
    return this.#notices.subscribe(listener)
  }

  protected override healthFacts(timeoutMs: number): Promise<HealthFacts> {
    const parts = {
      probe: this.#probe,
      counters: this.#counters,
      consumer: this.#consumer,
      connection: this.#connection,
    }
    return brokerHealthFacts(this, parts, timeoutMs)
  }

  protected override publishNow(events: readonly DomainEvent[], cause: Cause | undefined): Promise<void> {
    return this.#publisher.publish(events, cause)
  }

  protected override close(timeoutMs = this.#shutdownTimeoutMs): Promise<void> {
    return this.#shutdown.run(timeoutMs)
  }

  /**
   * Starts a consumption of a subclass in addition to the usual one; see `ConsumerLifecycle`.
   * @returns undefined if the group is paused.
   */
  protected withConsumption<C extends Consumption, R>(
    start: (intake: Intake) => Promise<C>,
    work: (consumption: C) => Promise<R>,
  ): Promise<R | undefined> {
    return this.#consumer.withConsumption(start, work, this.#shutdownTimeoutMs)
  }
}
