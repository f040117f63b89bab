import type { EventCodec } from '../codec/index.ts'
import { toError } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import { type Logger, resolveLogger } from '../observability/logger.ts'
import { type EventTracer, noTracer, OpenTelemetryTracer } from '../observability/tracer.ts'
import { BackgroundPublishes } from './background-publishes.ts'
import type { ResolvedBrokerOptions } from './broker-options.ts'
import { type BrokerEventBusStats, BusCounters } from './bus-counters.ts'
import { publishSpan } from './bus-spans.ts'
import { ConsumerRun } from './consumer-run.ts'
import { DeadLetterQueue } from './dead-letter-queue.ts'
import { Deadline } from './deadline.ts'
import { Dispatcher } from './dispatcher.ts'
import { BusClosedError, ConnectionError, PublishError, PublishTimeoutError } from './errors.ts'
import { EventBus, type ShutdownOptions } from './event-bus.ts'
import { HandlerRegistry } from './handler-registry.ts'
import type { BusNotice, BusNoticeListener } from './notices.ts'
import { ConsumerPipeline } from './pipeline.ts'
import { type PublishDeadline, PublishDeadlines } from './publish-deadlines.ts'
import { RetryPolicy } from './retry-policy.ts'
import { wait, whenSettled } from './time.ts'
import type { Intake, OutgoingMessage, PublishFailure, Transport, TransportHost } from './transport.ts'

/** Backoff of a background start whose broker is not there yet, in milliseconds. */
const START_RETRY = {
  maxRetries: Number.POSITIVE_INFINITY,
  retryBaseDelayMs: 250,
  retryMaxDelayMs: 5000,
  retryJitter: 0.2,
}

/** A subscription to notices. */
export interface NoticeSubscription extends Disposable {
  unsubscribe(): void
}

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
  readonly #logger: Logger
  readonly #codec: EventCodec
  readonly #retryPolicy: RetryPolicy
  readonly #deadlines: PublishDeadlines
  readonly #counters = new BusCounters()
  readonly #noticeListeners = new Set<BusNoticeListener>()
  readonly #publishing = new Set<Promise<unknown>>()
  #connecting: Promise<void> | undefined
  #isConnected = false
  #run: ConsumerRun | undefined
  #whenConsuming = newGate()
  #stopRequested = new AbortController()
  #backgroundStart: AbortSignal | undefined
  #closed: Promise<void> | undefined

  /** Dead letters of all groups on this stream, exchange or topic: list, replay, purge. */
  readonly deadLetters: DeadLetterQueue

  protected constructor(options: ResolvedBrokerOptions, createTransport: (host: TransportHost) => T) {
    const logger = resolveLogger(options.logger)
    const handlers = new HandlerRegistry(options.registry)
    super({ handlers, background: new BackgroundPublishes(options.maxBackgroundPublishes, logger) })
    this.#options = options
    this.#logger = logger
    this.#codec = options.codec
    this.#tracer = options.enableTracing ? new OpenTelemetryTracer(options.tracer) : noTracer
    this.#retryPolicy = new RetryPolicy(options)
    this.#deadlines = new PublishDeadlines(options.publishTimeoutMs)
    this.transport = createTransport({ notify: (notice) => this.#notify(notice) })
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

  /** Tells of outages and what became of them; see {@link BusNotice}. */
  onNotice(listener: BusNoticeListener): NoticeSubscription {
    this.#noticeListeners.add(listener)
    const unsubscribe = () => {
      this.#noticeListeners.delete(listener)
    }
    return { unsubscribe, [Symbol.dispose]: unsubscribe }
  }

  protected override async publishNow(events: readonly DomainEvent[]): Promise<void> {
    const sending = this.#tracer.inSpan(publishSpan(this.transport, events), () => this.#send(events))
    this.#publishing.add(sending)
    try {
      await sending
    } finally {
      this.#publishing.delete(sending)
    }
  }

  protected override async close(timeoutMs = this.#options.shutdownTimeoutMs): Promise<void> {
    this.#closed ??= this.#close(timeoutMs)
    await whenSettled(this.#closed, timeoutMs)
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
    this.#whenConsuming.renew()
    void run.started.then(
      () => run.isRunning && this.#whenConsuming.resolve(),
      () => undefined,
    )
    const forget = () => {
      this.#run = undefined
      this.#whenConsuming.renew()
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
        this.#counters.lastErrorAt = Date.now()
        this.#logger.error('cannot start consuming', { failure, error })
        if (error instanceof ConnectionError && !error.retryable) {
          this.#whenConsuming.reject(error)
          return
        }
      }
      await wait(backoff.backoff(failure), signal)
    }
  }

  async #send(events: readonly DomainEvent[]): Promise<void> {
    const trace = this.#tracer.traceHeaders()
    const messages = events.map((event) => this.#encode(event, trace))
    const deadline = this.#deadlines.start()
    try {
      const failures =
        (await this.#connectFor(events, deadline.signal)) ?? (await this.#publishBefore(deadline, messages))
      this.#counters.eventsPublished += events.length - failures.length
      if (failures.length < events.length) this.#counters.lastPublishAt = Date.now()
      if (failures.length > 0) {
        this.#counters.lastErrorAt = Date.now()
        throw publishError(this.transport.system, events, failures)
      }
    } finally {
      deadline.end()
    }
  }

  /** A publish never hangs, though a transport might. */
  #publishBefore(
    { signal, overdue }: PublishDeadline,
    messages: readonly OutgoingMessage[],
  ): Promise<readonly PublishFailure[]> {
    const noAnswer = overdue.then(() => {
      const error = new PublishTimeoutError(this.#options.publishTimeoutMs, 'the transport gave no answer')
      return messages.map((_message, index) => ({ index, status: 'unknown' as const, error }))
    })
    return Promise.race([this.transport.publish(messages, signal), noAnswer])
  }

  #encode(event: DomainEvent, trace: Readonly<Record<string, string>> | undefined): OutgoingMessage {
    const message = this.#codec.encode(event)
    return trace === undefined ? message : { ...message, headers: { ...message.headers, ...trace } }
  }

  /** @returns the failures when the bus could not connect in time, undefined when it is connected. */
  async #connectFor(
    events: readonly DomainEvent[],
    signal: AbortSignal,
  ): Promise<readonly PublishFailure[] | undefined> {
    if (this.#isConnected) return undefined
    const backoff = new RetryPolicy(START_RETRY)
    for (let failure = 1; ; failure += 1) {
      try {
        await this.#connectWithin(signal)
        return undefined
      } catch (thrown) {
        const error = toError(thrown)
        const mayHelp = error instanceof ConnectionError && error.retryable
        if (!mayHelp || !(await wait(backoff.backoff(failure), signal))) {
          return events.map((_event, index) => ({ index, status: 'notStored', error }))
        }
      }
    }
  }

  async #connectWithin(signal: AbortSignal): Promise<void> {
    const late = Promise.withResolvers<never>()
    const { publishTimeoutMs } = this.#options
    const onAbort = () => late.reject(new PublishTimeoutError(publishTimeoutMs, 'still connecting'))
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await Promise.race([this.#ensureConnected(), late.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async #close(timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs
    const reserveMs = Math.min(500, timeoutMs / 5)
    const remaining = () => Math.max(1, deadline - reserveMs - Date.now())
    await this.stopConsuming({ timeoutMs: remaining() })
    if (!(await whenSettled(this.#flushed(), remaining()))) {
      this.#logger.warn('shutdown timed out', { timeoutMs, unfinishedPublishes: this.#publishing.size })
      this.background.abandon()
      this.#deadlines.endAll()
    }
    try {
      const leftMs = Math.max(1, deadline - Date.now())
      const isClosed = await whenSettled(this.transport.close(AbortSignal.timeout(leftMs)), leftMs)
      if (!isClosed) this.#logger.warn('closing the connections took too long', { timeoutMs })
    } catch (thrown) {
      this.#logger.warn('closing the connections failed', { error: toError(thrown) })
    }
    this.#counters.connectedAt = 0
    this.#whenConsuming.reject(new BusClosedError('consume'))
  }

  async #flushed(): Promise<void> {
    await this.background.drained()
    await Promise.allSettled(this.#publishing)
  }

  #notify(notice: BusNotice): void {
    this.#count(notice)
    for (const listener of this.#noticeListeners) {
      try {
        listener(notice)
      } catch (error) {
        this.#logger.error('a notice listener failed', { notice: notice.type, error: toError(error) })
      }
    }
  }

  #count(notice: BusNotice): void {
    const counters = this.#counters
    const { system, destination } = this.transport
    const fields = { system, destination }
    switch (notice.type) {
      case 'connectionLost':
        counters.connectedAt = 0
        counters.lastErrorAt = Date.now()
        this.#logger.warn('connection lost, reconnecting', { ...fields, error: notice.error })
        break
      case 'reconnected':
        counters.reconnections += 1
        counters.connectedAt = Date.now()
        this.#logger.warn('reconnected', fields)
        break
      case 'topologyRestored':
        this.#logger.warn('declared again what had vanished from the broker', {
          ...fields,
          what: notice.what,
        })
        break
      case 'eventsLost':
        counters.lastErrorAt = Date.now()
        this.#logger.error('the broker lost events that were not handled', {
          ...fields,
          detail: notice.detail,
          count: notice.count,
        })
        break
      case 'readFailed':
        counters.lastErrorAt = Date.now()
        this.#logger.error('reading from the broker failed, trying again', { ...fields, error: notice.error })
        break
      case 'pendingClaimed':
        counters.messagesRecovered += notice.count
        this.#logger.info('took over messages of another consumer', { ...fields, count: notice.count })
        break
    }
  }

  #createPipeline(): ConsumerPipeline {
    const { consumerGroup, maxInFlight, concurrency, enableDlq } = this.#options
    const { system, destination } = this.transport
    return new ConsumerPipeline({
      system,
      destination,
      consumerGroup,
      maxInFlight,
      concurrency,
      enableDlq,
      retryPolicy: this.#retryPolicy,
      handlers: this.handlers,
      dispatcher: this.#dispatcher,
      codec: this.#codec,
      counters: this.#counters,
      tracer: this.#tracer,
      logger: this.#logger,
    })
  }

  #createDispatcher(): Dispatcher {
    return new Dispatcher({
      tracer: this.#tracer,
      handlerTimeoutMs: this.#options.handlerTimeoutMs,
      observer: {
        handled: () => undefined,
        failed: (event, { handler, error }, { attempt, messageId }) => {
          this.#counters.handlerErrors += 1
          this.#counters.lastErrorAt = Date.now()
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

function publishError(
  system: string,
  events: readonly DomainEvent[],
  failures: readonly PublishFailure[],
): PublishError {
  const byIndex = new Map(failures.map((failure) => [failure.index, failure]))
  const outcomes = events.map(({ eventId, eventType }, index) => {
    const failure = byIndex.get(index)
    return { eventId, eventType, status: failure?.status ?? ('stored' as const), error: failure?.error }
  })
  return new PublishError(system, outcomes)
}

/** A promise that can be started over. */
function newGate() {
  let gate = Promise.withResolvers<void>()
  let isSettled = false
  gate.promise.catch(() => undefined)
  return {
    get promise() {
      return gate.promise
    },
    resolve() {
      isSettled = true
      gate.resolve()
    },
    reject(error: Error) {
      isSettled = true
      gate.reject(error)
    },
    renew() {
      if (!isSettled) return
      isSettled = false
      gate = Promise.withResolvers<void>()
      gate.promise.catch(() => undefined)
    },
  }
}
