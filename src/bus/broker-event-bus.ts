import { toError } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import { Dispatcher } from '../handling/dispatcher.ts'
import { HandlerRegistry } from '../handling/handler-registry.ts'
import { Deadline } from '../kit/deadline.ts'
import { ResettablePromise } from '../kit/resettable-promise.ts'
import { RetryPolicy, START_RETRY } from '../kit/retry-policy.ts'
import { settledWithin, sleep } from '../kit/time.ts'
import { MeterSource } from '../observability/meter.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import type { SummarizingLogger } from '../observability/summarizing-logger.ts'
import { type EventTracer, noTracer, OpenTelemetryTracer } from '../observability/tracer.ts'
import { ConnectionError } from '../transport/errors.ts'
import type { BusNoticeListener } from '../transport/notices.ts'
import type { Intake, Transport, TransportHost } from '../transport/transport.ts'
import type { ResolvedBrokerOptions } from './broker-options.ts'
import { ConsumerRun } from './consuming/consumer-run.ts'
import { ConsumerPipeline } from './consuming/pipeline.ts'
import { DeadLetterQueue } from './dead-letters/dead-letter-queue.ts'
import { BusClosedError } from './errors.ts'
import { EventBus, type ShutdownOptions } from './event-bus.ts'
import type { HealthFacts } from './health.ts'
import { BackgroundPublishes } from './publishing/background-publishes.ts'
import { BrokerPublisher } from './publishing/broker-publisher.ts'
import { BrokerProbe } from './telemetry/broker-probe.ts'
import { type BrokerEventBusStats, BusCounters, timeOf } from './telemetry/bus-counters.ts'
import { BusMetrics } from './telemetry/bus-metrics.ts'
import { NoticeBoard, type NoticeSubscription } from './telemetry/notice-board.ts'

/** How long collecting metrics waits for the lag at most, in milliseconds. */
const LAG_TIMEOUT_MS = 2000

/**
 * A bus over a broker: handlers, consumer pipeline and lifecycle, over a `Transport` that moves the bytes. A bus
 * that never starts consuming only publishes, and creates nothing on the broker that only consumers need.
 */
export abstract class BrokerEventBus<T extends Transport = Transport> extends EventBus {
  /** What moves the bytes; for what one broker alone can do. */
  protected readonly transport: T
  readonly #options: ResolvedBrokerOptions
  readonly #dispatcher: Dispatcher
  readonly #tracer: EventTracer
  readonly #logger: SummarizingLogger
  readonly #retryPolicy: RetryPolicy
  readonly #publisher: BrokerPublisher
  readonly #notices: NoticeBoard
  readonly #metrics: BusMetrics
  readonly #probe: BrokerProbe
  readonly #counters = new BusCounters()
  #connecting: Promise<void> | undefined
  #isConnected = false
  #run: ConsumerRun | undefined
  #whenConsuming = new ResettablePromise()
  #stopRequested = new AbortController()
  #backgroundStart: AbortSignal | undefined
  /** A background start was refused for good: the bus should consume, and will not. */
  #hasFailedToStart = false
  #closed: Promise<void> | undefined

  /** Dead letters of all groups on this stream, exchange or topic: list, replay, purge. */
  readonly deadLetters: DeadLetterQueue

  protected constructor(options: ResolvedBrokerOptions, createTransport: (host: TransportHost) => T) {
    const logger = resolveLogger(options.logger)
    const handlers = new HandlerRegistry(options.registry)
    super({
      handlers,
      background: new BackgroundPublishes(options.maxBackgroundPublishes, logger),
      propagateCausation: options.propagateCausation,
    })
    this.#options = options
    this.#logger = logger
    this.#tracer = options.enableTracing ? new OpenTelemetryTracer(options.tracer) : noTracer
    this.#retryPolicy = new RetryPolicy(options)
    this.transport = createTransport({ notify: (notice) => this.#notices.post(notice) })
    this.#notices = new NoticeBoard(this.transport, this.#counters, logger)
    this.#probe = new BrokerProbe(this.transport)
    this.#metrics = new BusMetrics({
      target: this.transport,
      consumerGroup: options.consumerGroup,
      source: options.enableMetrics ? new MeterSource(options.meter) : undefined,
      probes: {
        inFlight: () => this.#counters.inFlight,
        skipped: () => this.#counters.eventsSkipped,
        reconnections: () => this.#counters.reconnections,
        lag: async () => (this.isConsuming && this.isConnected ? this.#probe.lag(LAG_TIMEOUT_MS) : undefined),
      },
    })
    this.#publisher = new BrokerPublisher({
      metrics: this.#metrics,
      transport: this.transport,
      codec: options.codec,
      tracer: this.#tracer,
      counters: this.#counters,
      publishTimeoutMs: options.publishTimeoutMs,
      isConnected: () => this.#isConnected,
      connect: () => this.#ensureConnected(),
    })
    this.#dispatcher = this.#createDispatcher()
    this.deadLetters = new DeadLetterQueue({
      store: this.transport.deadLetters,
      codec: options.codec,
      handlers,
      group: options.consumerGroup,
      connect: () => this.connect(),
    })
  }

  /** True from a successful {@link connect} until the connection is lost or the bus is shut down. */
  override get isConnected(): boolean {
    return this.#counters.connectedAt > 0 && !this.isShutdown
  }

  /** True while deliveries are taken. */
  override get isConsuming(): boolean {
    return this.#run?.isRunning ?? false
  }

  /**
   * Connects to the broker. `publish` and `startConsuming` do it by themselves; call it to learn early that the
   * broker is there. Once connected, the bus reconnects by itself until it is shut down.
   *
   * @throws ConnectionError when the broker cannot be reached in time, or refuses the credentials.
   * @throws BusClosedError after `shutdown`.
   */
  override async connect(): Promise<void> {
    if (this.isShutdown) throw new BusClosedError('connect')
    await this.#ensureConnected()
  }

  /**
   * Consumes until {@link stopConsuming} or `shutdown`, and resolves then: put `publish` before it, or use
   * {@link startConsumingInBackground}. Called while the bus consumes, it resolves with the running consumption.
   *
   * @throws ConnectionError when the broker cannot be reached; later outages are survived.
   * @throws BusClosedError after `shutdown`.
   */
  override async startConsuming(): Promise<void> {
    if (this.isShutdown) throw new BusClosedError('consume')
    const run = await this.#runUnless(this.#stopRequested.signal)
    try {
      await run?.finished
    } catch (error) {
      if (this.#backgroundStart === undefined) this.#whenConsuming.reject(toError(error))
      throw error
    }
  }

  /**
   * Starts to consume and returns at once. A broker that is not there yet is waited for, with a log line; what
   * waiting cannot mend (a wrong password) is logged and rejects {@link whenConsuming}.
   */
  override startConsumingInBackground(): void {
    if (this.isShutdown) throw new BusClosedError('consume')
    const { signal } = this.#stopRequested
    if (this.#backgroundStart === signal || this.isConsuming) return
    this.#backgroundStart = signal
    this.#hasFailedToStart = false
    void this.#startUntilItWorks(signal).finally(() => {
      if (this.#backgroundStart === signal) this.#backgroundStart = undefined
    })
  }

  /**
   * Resolves when the bus consumes: what is published from then on reaches it. Rejects when a start has failed for
   * good, and with a `BusClosedError` once the bus is shut down.
   */
  override async whenConsuming(): Promise<void> {
    if (this.isShutdown) throw new BusClosedError('consume')
    await this.#whenConsuming.promise
  }

  /**
   * Stops consuming: takes nothing more, waits for running handlers (at most `timeoutMs`), settles what they
   * finished and leaves the rest to be delivered again. The bus can still publish, and consume again.
   */
  override async stopConsuming({
    timeoutMs = this.#options.shutdownTimeoutMs,
  }: ShutdownOptions = {}): Promise<void> {
    this.#hasFailedToStart = false
    this.#stopRequested.abort()
    this.#stopRequested = new AbortController()
    const run = this.#run
    if (run === undefined) return
    const unfinished = await run.stop(timeoutMs)
    if (unfinished > 0) {
      this.#logger.warn('stopped consuming before all handlers had ended', { timeoutMs, unfinished })
    }
  }

  /** A snapshot of the counts. */
  override getStats(): BrokerEventBusStats {
    return this.#counters.snapshot(this.background.failed)
  }

  protected override async healthFacts(timeoutMs: number): Promise<HealthFacts> {
    const { isShutdown, isConnected } = this
    const [lag, deadLetters] =
      isConnected && !isShutdown
        ? await Promise.all([this.#probe.askLag(timeoutMs), this.#probe.askDeadLetters(timeoutMs)])
        : []
    const { blockedReason, lastError, lastErrorAt } = this.#counters
    const takenAt = this.#run?.oldestTakenAt
    return {
      isShutdown,
      // What it was when the broker was asked, and still is.
      isConnected: isConnected && this.isConnected,
      isConsuming: this.#isToConsume ? (this.#run?.isFlowing ?? false) : undefined,
      blockedReason,
      lastError,
      lastErrorAt: timeOf(lastErrorAt),
      oldestUnsettledMs: takenAt === undefined ? 0 : Math.max(0, performance.now() - takenAt),
      lag,
      deadLetters,
    }
  }

  get #isToConsume(): boolean {
    return this.#run?.isStopping === false || this.#backgroundStart !== undefined || this.#hasFailedToStart
  }

  /** Tells of outages and what became of them; see {@link BusNotice}. */
  onNotice(listener: BusNoticeListener): NoticeSubscription {
    return this.#notices.subscribe(listener)
  }

  protected override publishNow(events: readonly DomainEvent[]): Promise<void> {
    return this.#publisher.publish(events)
  }

  protected override async close(timeoutMs = this.#options.shutdownTimeoutMs): Promise<void> {
    this.#closed ??= this.#close(timeoutMs)
    await settledWithin(this.#closed, timeoutMs)
  }

  /** Handles deliveries of a transport's own making, beside a consumption: what they leave unsettled stays so. */
  protected async withIntake<T>(work: (intake: Intake) => Promise<T>): Promise<T> {
    const pipeline = this.#createPipeline()
    try {
      return await work(pipeline)
    } finally {
      pipeline.stopTaking()
      const deadline = new Deadline()
      deadline.within(this.#options.shutdownTimeoutMs)
      await pipeline.drain(deadline.signal)
      deadline.end()
    }
  }

  /** Connects also after `shutdown` began: a publish that was accepted before it may be the first to need it. */
  async #ensureConnected(): Promise<void> {
    if (this.#isConnected) return
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined
    })
    await this.#connecting
  }

  async #connect(): Promise<void> {
    await this.transport.connect()
    this.#isConnected = true
    this.#counters.connectedAt = Date.now()
  }

  /** The consumption there is, or a new one as soon as the last has stopped; none when the signal aborts before. */
  async #runUnless(stopRequested: AbortSignal): Promise<ConsumerRun | undefined> {
    while (this.#run?.isStopping === true) await this.#run.finished
    if (stopRequested.aborted) return undefined
    return this.#run ?? this.#beginRun()
  }

  #beginRun(): ConsumerRun {
    const run = new ConsumerRun({
      transport: this.transport,
      pipeline: this.#createPipeline(),
      logger: this.#logger,
      connect: () => this.connect(),
    })
    this.#run = run
    this.#whenConsuming.reset()
    void run.started.then(
      () => run.isRunning && this.#whenConsuming.resolve(),
      () => undefined,
    )
    const forget = () => {
      this.#run = undefined
      this.#whenConsuming.reset()
    }
    run.finished.then(forget, forget)
    return run
  }

  async #startUntilItWorks(signal: AbortSignal): Promise<void> {
    const backoff = new RetryPolicy(START_RETRY)
    for (let failure = 1; !signal.aborted; failure += 1) {
      try {
        const run = await this.#runUnless(signal)
        await run?.started
        return
      } catch (thrown) {
        const error = toError(thrown)
        this.#counters.failed(error)
        this.#logger.error('cannot start consuming', { failure, error })
        if (error instanceof ConnectionError && !error.retryable) {
          this.#whenConsuming.reject(error)
          this.#hasFailedToStart = true
          return
        }
      }
      await sleep(backoff.backoff(failure), signal)
    }
  }

  async #close(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs
    const reserveMs = Math.min(500, timeoutMs / 5)
    const remaining = () => Math.max(1, deadline - reserveMs - performance.now())
    await this.stopConsuming({ timeoutMs: remaining() })
    if (!(await settledWithin(this.#flushed(), remaining()))) {
      this.#logger.warn('shutdown timed out', { timeoutMs, unfinishedPublishes: this.#publisher.count })
      this.background.abandon()
      this.#publisher.giveUp()
    }
    try {
      const leftMs = Math.max(1, Math.ceil(deadline - performance.now()))
      const isClosed = await settledWithin(this.transport.close(AbortSignal.timeout(leftMs)), leftMs)
      if (!isClosed) this.#logger.warn('closing the connections took too long', { timeoutMs })
    } catch (thrown) {
      this.#logger.warn('closing the connections failed', { error: toError(thrown) })
    }
    this.#counters.connectedAt = 0
    this.#metrics.close()
    this.#logger.flush()
    this.#whenConsuming.reject(new BusClosedError('consume'))
  }

  async #flushed(): Promise<void> {
    await this.background.drained()
    await this.#publisher.drained()
  }

  #createPipeline(): ConsumerPipeline {
    const { consumerGroup, maxInFlight, concurrency, enableDlq } = this.#options
    return new ConsumerPipeline({
      target: this.transport,
      consumerGroup,
      maxInFlight,
      concurrency,
      enableDlq,
      retryPolicy: this.#retryPolicy,
      handlers: this.handlers,
      dispatcher: this.#dispatcher,
      codec: this.#options.codec,
      counters: this.#counters,
      metrics: this.#metrics,
      tracer: this.#tracer,
      logger: this.#logger,
    })
  }

  #createDispatcher(): Dispatcher {
    return new Dispatcher({
      tracer: this.#tracer,
      handlerTimeoutMs: this.#options.handlerTimeoutMs,
      propagateCausation: this.#options.propagateCausation,
      metrics: this.#metrics,
      observer: {
        handled: () => undefined,
        failed: (event, { handler, error }, { attempt, messageId }) => {
          this.#counters.handlerErrors += 1
          this.#counters.failed(error)
          const { eventId, eventType } = event
          this.#logger.warn('handler failed', {
            eventId,
            eventType,
            handlerName: handler.name,
            attempt,
            messageId,
            error,
          })
        },
      },
    })
  }
}
