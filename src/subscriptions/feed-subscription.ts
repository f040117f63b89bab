import { toError } from '../errors.ts'
import { HandlerDeadlockError } from '../handling/errors.ts'
import { RunningHandlers } from '../handling/running-handlers.ts'
import { PauseGate } from '../kit/pause-gate.ts'
import { sleep } from '../kit/time.ts'
import type { Logger } from '../observability/logger.ts'
import type { EventTracer } from '../observability/tracer.ts'
import type { EventFeed, FeedFilter } from '../store/index.ts'
import { checkOrigin } from './checkpoint-origin.ts'
import type { Checkpoint, CheckpointStore } from './checkpoint-store.ts'
import type { SubscriptionDeadLetterStore } from './dead-letter-store.ts'
import {
  ForeignCheckpointError,
  PositionAheadError,
  SubscriptionFailedError,
  SubscriptionStoppedError,
} from './errors.ts'
import { type FeedRun, wantedEvents } from './feed-run.ts'
import { problemsOf, type SubscriptionState, type SubscriptionStatus } from './health.ts'
import { keeperOf, noLease } from './lease-keeper.ts'
import type { LeaseStore } from './lease-store.ts'
import { PositionWaiters } from './position-waiters.ts'
import type { Consumer } from './projection.ts'
import { Session, type SessionEnd } from './session.ts'
import { SubscriptionMonitor } from './subscription-monitor.ts'
import type { ResolvedSubscriptionOptions, StartPlace } from './subscription-options.ts'
import { WakeUp } from './wake-up.ts'

/** The parts that all subscriptions of a manager share. */
export interface SubscriptionHost {
  readonly store: EventFeed
  readonly checkpoints: CheckpointStore
  readonly deadLetters: SubscriptionDeadLetterStore | undefined
  readonly leases: LeaseStore | undefined
  readonly leaseTtlMs: number
  readonly instanceId: string
  readonly tracer: EventTracer
  readonly logger: Logger
}

/** A deadline that never passes: only a stop ends the wait. */
const NO_DEADLINE = new AbortController().signal

const NOTHING_RAN: SessionEnd = { inFlight: 0, notDrained: 0, isSaved: true }

/** One subscription, which can be started, stopped, paused and resumed any number of times. */
export class FeedSubscription {
  readonly host: SubscriptionHost
  readonly options: ResolvedSubscriptionOptions
  readonly gate = new PauseGate()
  readonly monitor: SubscriptionMonitor
  /** How far the rebuild is that runs, from 0 to 1. */
  rebuildProgress: (() => number) | undefined
  /** Called when there may be new events. */
  readonly wakeUps = new Set<WakeUp>()
  readonly #wakeUp = new WakeUp()
  readonly #waiters = new PositionWaiters()
  #consumer: Consumer
  #session: Session | undefined
  #failure: Error | undefined
  #watching: Promise<void> | undefined
  #stopped = new AbortController()
  #isHalted = false
  #progressAt = Number.NEGATIVE_INFINITY
  #wasAtEnd = false
  /** Handlers that called `pause`. */
  readonly #pausing = new Set<RunningHandlers>()
  #hasBegun = false

  constructor(host: SubscriptionHost, consumer: Consumer, options: ResolvedSubscriptionOptions) {
    this.host = host
    this.options = options
    this.monitor = new SubscriptionMonitor(consumer.name, host.logger)
    this.#consumer = this.#observed(consumer)
    this.wakeUps.add(this.#wakeUp)
  }

  get name(): string {
    return this.#consumer.name
  }

  get consumer(): Consumer {
    return this.#consumer
  }

  /** Everything up to this position is finished. */
  get position(): number {
    return this.#session?.run?.position ?? 0
  }

  get state(): SubscriptionState {
    if (this.#failure !== undefined) return 'failed'
    if (this.#isHalted) return 'catchingUp'
    const session = this.#session
    if (session === undefined || session.isStopping) return 'stopped'
    if (!this.gate.isOpen) return 'paused'
    if (session.phase === 'standby') return this.host.leases === undefined ? 'catchingUp' : 'standby'
    return session.run?.isAtEnd === true ? 'live' : 'catchingUp'
  }

  /** True while this instance handles the events. */
  get isLeading(): boolean {
    return this.#session?.phase === 'running' && !this.#session.isStopping
  }

  /** Aborts when it is stopped from outside. */
  get stopped(): AbortSignal {
    return this.#stopped.signal
  }

  /** Starts the subscription, also after a stop; no-op if it runs. */
  start(): void {
    if (this.#isHalted || (this.#session !== undefined && !this.#session.isStopping)) return
    const { host, options, gate, monitor } = this
    this.#failure = undefined
    if (this.#stopped.signal.aborted) this.#stopped = new AbortController()
    const parts = {
      ...host,
      owner: this,
      options,
      gate,
      monitor,
      consumer: this.#consumer,
      wakeUp: this.#wakeUp,
      leases: this.#leaseKeeper(),
      isShared: host.leases !== undefined,
      startFrom: this.#firstPlace(),
      onMoved: (position: number) => {
        this.#hasBegun = true
        this.#waiters.moved(position)
      },
      onPageRead: (run: FeedRun, head: number) => this.#report(run, head),
      onFailed: (error: Error) => this.fail(error),
    }
    this.#session = new Session(parts, this.#session?.ended)
  }

  #firstPlace(): StartPlace | undefined {
    const { startFrom } = this.options
    return this.#hasBegun || startFrom === 'checkpoint' ? undefined : startFrom
  }

  /** Stops the subscription, and rejects the callers that wait for a position. */
  stop(deadline: AbortSignal): Promise<SessionEnd> {
    this.#stopped.abort()
    this.#isHalted = false
    this.#waiters.reject(new SubscriptionStoppedError(this.name, 'make progress: it was stopped'))
    return this.#end(deadline)
  }

  /** The intermediate result of a stop that is in progress. */
  get endSoFar(): SessionEnd {
    return this.#session?.endSoFar ?? NOTHING_RAN
  }

  /** Stops the subscription temporarily: callers continue to wait, and `start` has no effect. */
  async halt(): Promise<void> {
    this.#isHalted = true
    await this.#end(NO_DEADLINE)
  }

  /** Ends a halt. Starts the subscription again, unless it was stopped in the meantime. */
  endHalt(): void {
    this.#isHalted = false
    if (!this.#stopped.signal.aborted) this.start()
  }

  /** Stops the subscription with an error; only `start` starts it again. */
  fail(error: Error): void {
    this.#isHalted = false
    this.#failure = error
    const at = error instanceof SubscriptionFailedError ? error : { position: this.position }
    this.monitor.problem('stopped by an error', error, at)
    this.host.logger.error('subscription stopped by an error', { subscription: this.name, error })
    this.#waiters.reject(error)
  }

  async #end(deadline: AbortSignal): Promise<SessionEnd> {
    return this.#session === undefined ? NOTHING_RAN : await this.#session.stop(deadline)
  }

  /**
   * Starts no further event, and resolves when no handler is running. If one of its handlers calls it, it does not wait
   * for handlers that wait for this call.
   */
  async pause(): Promise<void> {
    this.gate.close()
    const handlers = RunningHandlers.of(this)
    if (handlers === undefined) return this.#session?.run?.idle()
    this.#pausing.add(handlers)
    // After this await, the calling handler is counted as running.
    await Promise.resolve()
    await this.#session?.run?.atMost(() => [...this.#pausing].filter(({ areRunning }) => areRunning).length)
    this.#pausing.delete(handlers)
  }

  resume(): void {
    this.gate.open()
  }

  wake(): void {
    this.monitor.wakeUps += 1
    for (const wakeUp of this.wakeUps) wakeUp.call()
  }

  /**
   * Resolves when everything up to the position is finished and the checkpoint is known to belong to this store.
   * @throws the error with which the subscription has stopped.
   */
  async whenProcessed(position: number): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#session?.run !== undefined && this.position >= position) return
    this.#refuseInHandlerFor(position)
    const reached = this.#waiters.until(position)
    if (this.host.leases !== undefined) this.#watching ??= this.#watchCheckpoint()
    await reached
  }

  /** A handler may wait for events before its own event, but not for its own event. */
  #refuseInHandlerFor(position: number): void {
    const info = RunningHandlers.of(this)?.info
    if (info !== undefined && Number(info.messageId) <= position) {
      throw new HandlerDeadlockError(`whenProcessed(${position}) of its own subscription ${this.name}`)
    }
  }

  /** Replaces the consumer with another one of the same name. Call it only while the subscription does not run. */
  replaceConsumer(consumer: Consumer): void {
    this.#consumer = this.#observed(consumer)
  }

  #observed(consumer: Consumer): Consumer {
    consumer.onPause?.((handlerName, change) => this.monitor.handlerPaused(handlerName, change))
    return consumer
  }

  async status(): Promise<SubscriptionStatus> {
    const { name, monitor } = this
    const checkpoint = this.isLeading ? this.#session?.saved : (await this.#readCheckpoint())?.position
    const position = this.#knowsPosition ? this.position : (checkpoint ?? 0)
    const { eventsHandled, eventsDeadLettered, handlerErrors, retrying, wakeUps, missedWakeUps } = monitor
    const { lastError, eventsPerSecond, eventsDiscarded } = monitor
    const lag = await this.#lag(position)
    const isLive = this.state === 'catchingUp' && this.#session?.run !== undefined && lag.lagPositions === 0
    const state = isLive ? 'live' : this.state
    return {
      name,
      state,
      position,
      checkpoint,
      ...lag,
      ...{ eventsHandled, eventsDeadLettered, handlerErrors, retrying, eventsPerSecond },
      ...{ eventsDiscarded, wakeUps, missedWakeUps, lastError },
      rebuildProgress: this.rebuildProgress?.(),
      problems: problemsOf({ state, retrying, position, head: lag.head }, monitor.troubles),
    }
  }

  /** Otherwise only the checkpoint is reliable, because another instance may have moved it. */
  get #knowsPosition(): boolean {
    return this.isLeading || this.#failure !== undefined
  }

  async #readCheckpoint(): Promise<Checkpoint | undefined> {
    try {
      return await this.host.checkpoints.load(this.name)
    } catch (thrown) {
      this.monitor.problem('reading the checkpoint failed', toError(thrown))
      return undefined
    }
  }

  /** The position from the checkpoint, for a subscription that another instance runs. Never rejects. */
  async #watchCheckpoint(): Promise<void> {
    while (this.#waiters.areWaiting && !this.#knowsPosition) {
      if (this.state === 'standby') await this.#lookAtCheckpoint()
      if (!(await sleep(this.options.pollIntervalMs, this.stopped))) break
    }
    this.#watching = undefined
  }

  async #lookAtCheckpoint(): Promise<void> {
    const checkpoint = await this.#readCheckpoint()
    if (checkpoint === undefined) return
    try {
      await checkOrigin(this.host.store, this.name, checkpoint)
      this.#waiters.moved(checkpoint.position)
    } catch (thrown) {
      const error = toError(thrown)
      this.monitor.problem('reading the checkpoint failed', error)
      const isForeign = error instanceof ForeignCheckpointError || error instanceof PositionAheadError
      if (isForeign) this.#waiters.reject(error)
    }
  }

  async #lag(position: number): Promise<Pick<SubscriptionStatus, 'head' | 'lagPositions' | 'lagMs'>> {
    try {
      const head = await this.host.store.headPosition()
      const oldest = await this.#oldestAfter(position)
      const lagMs = oldest === undefined ? 0 : Math.max(0, Date.now() - oldest.getTime())
      return { head, lagPositions: Math.max(0, head - position), lagMs }
    } catch (thrown) {
      this.monitor.problem('reading the event store failed', toError(thrown))
      return { head: undefined, lagPositions: undefined, lagMs: undefined }
    }
  }

  async #oldestAfter(position: number): Promise<Date | undefined> {
    const filter: FeedFilter = wantedEvents(this.#consumer, this.options)
    const { events } = await this.host.store.readPage({ ...filter, fromPosition: position, limit: 1 })
    return events[0]?.storedAt
  }

  #leaseKeeper() {
    const { leases: store, leaseTtlMs: ttlMs, instanceId: owner } = this.host
    const { name, monitor } = this
    return store === undefined ? noLease : keeperOf({ store, name, owner, ttlMs, monitor })
  }

  /** Reports the progress at most once per `progressIntervalMs`, and whenever the end is reached. */
  #report(run: FeedRun, head: number): void {
    const { options, monitor, name } = this
    monitor.sample()
    const now = performance.now()
    const isDue = now - this.#progressAt >= options.progressIntervalMs
    const hasCaughtUp = run.isAtEnd && !this.#wasAtEnd
    this.#wasAtEnd = run.isAtEnd
    if (options.onProgress === undefined || (!isDue && !hasCaughtUp)) return
    this.#progressAt = now
    const { eventsHandled, eventsPerSecond } = monitor
    const { position } = run
    const isCaughtUp = position >= head
    try {
      options.onProgress({ name, position, head, eventsHandled, eventsPerSecond, isCaughtUp })
    } catch (thrown) {
      this.host.logger.error('onProgress failed', { subscription: name, error: toError(thrown) })
    }
  }
}
