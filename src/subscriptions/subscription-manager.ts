import { setImmediate as nextTurn } from 'node:timers/promises'
import type { EventBus } from '../bus/index.ts'
import { ConfigError } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import { RunningHandlers, refuseInHandlerOf, stopFromAnywhere } from '../handling/running-handlers.ts'
import { Deadline } from '../kit/deadline.ts'
import { settledUntil } from '../kit/time.ts'
import type { EventFeed } from '../store/index.ts'
import {
  type RebuildOptions,
  resolveRebuildOptions,
  resolveReplayOptions,
  resolveShutdownOptions,
  resolveWaitOptions,
  type StopOptions,
  stopTimeout,
  type WaitOptions,
} from './call-options.ts'
import { checkpointReached } from './checkpoint-watch.ts'
import { DuplicateSubscriptionError, SubscriptionNotFoundError } from './errors.ts'
import { wantedEvents } from './feed-run.ts'
import { FeedSubscription, type SubscriptionHost } from './feed-subscription.ts'
import { healthOf, type SubscriptionStatus, type SubscriptionsHealth } from './health.ts'
import { resolveManagerOptions, type SubscriptionManagerOptions } from './manager-options.ts'
import { isOutbox, refuseFilter } from './outbox.ts'
import {
  type BatchProjection,
  type Consumer,
  type HandlerSet,
  type Projection,
  readSubscriber,
} from './projection.ts'
import { type RebuildReport, rebuildBeside, rebuildInPlace } from './rebuild.ts'
import { type RelayOptions, relayDefaults, relayTo } from './relay.ts'
import type { EventReplacement } from './replacements.ts'
import { withReplacements } from './replacing-consumer.ts'
import { type ReplayOptions, type ReplayReport, replayParked } from './replay.ts'
import { type StopReport, stopReport } from './shutdown-report.ts'
import { type RunUntilShutdownOptions, whenAsked } from './shutdown-signals.ts'
import { type SubscriptionFacts, SubscriptionMetrics } from './subscription-metrics.ts'
import {
  type ResolvedSubscriptionOptions,
  resolveSubscriptionOptions,
  type SubscriptionOptions,
} from './subscription-options.ts'
import type { TransactionalProjection } from './transactional-projection.ts'
import { checkTransactional } from './transactional-units.ts'

/**
 * Feeds projections and other subscribers from an event store. Each subscription starts at its checkpoint and reads
 * stored and new events in one loop from one source, so that it misses no event between the two.
 *
 * `start`, `stop`, `pause`, `resume` and `subscribe` may be called in any order.
 *
 * @example
 * await using manager = new SubscriptionManager({ eventStore, checkpoints: new FileCheckpointStore('checkpoints') })
 * manager.subscribe({ name: 'invoices', handlers: [handlerFor(OrderCreated, (event) => invoice(event))] })
 * manager.relay(bus, { name: 'to-kafka' })
 * manager.start()
 * await manager.whenCaughtUp('invoices')
 */
export class SubscriptionManager implements AsyncDisposable {
  readonly #store: EventFeed
  readonly #bus: EventBus | undefined
  readonly #host: SubscriptionHost
  readonly #replacements: readonly EventReplacement[]
  readonly #shutdownTimeoutMs: number
  readonly #metrics: SubscriptionMetrics
  readonly #subscriptions = new Map<string, FeedSubscription>()
  #endWakeUps: (() => void) | undefined

  /** @throws ConfigError if an option is unknown, missing or out of range. */
  constructor(options: SubscriptionManagerOptions) {
    const { host, bus, meters, replacements, shutdownTimeoutMs } = resolveManagerOptions(options)
    this.#replacements = replacements
    this.#store = host.store
    this.#bus = bus
    this.#shutdownTimeoutMs = shutdownTimeoutMs
    this.#host = host
    this.#metrics = new SubscriptionMetrics(meters, () => this.#facts())
  }

  /** True from `start` to `stop`. */
  get isStarted(): boolean {
    return this.#endWakeUps !== undefined
  }

  /**
   * Subscribes a projection, a batch projection, or named handlers. If the manager runs, the subscription starts at once.
   *
   * @throws DuplicateSubscriptionError, ConfigError; TypeError if the argument is none of these.
   */
  subscribe<E extends DomainEvent>(
    subscriber: Projection<E> | BatchProjection<E> | HandlerSet | TransactionalProjection,
    options: SubscriptionOptions = {},
  ): void {
    // A program without types may pass null.
    this.#add(readSubscriber(subscriber, options?.name ?? undefined), options)
  }

  #add(given: Consumer, options: SubscriptionOptions): void {
    const { name } = given
    if (this.#subscriptions.has(name)) throw new DuplicateSubscriptionError(name)
    const resolved = resolveSubscriptionOptions(name, options)
    const consumer = this.#withReplacements(given, resolved)
    if (resolved.onFailure === 'deadLetter' && this.#host.deadLetters === undefined) {
      throw new ConfigError(`subscription ${name}`, [
        "onFailure 'deadLetter' requires the option deadLetters of the manager",
      ])
    }
    const { transactional } = consumer
    if (transactional !== undefined) checkTransactional(name, transactional, this.#host, resolved.concurrency)
    if (isOutbox(this.#store)) refuseFilter(name, wantedEvents(consumer, resolved))
    this.#store.registerEvents([...consumer.eventClasses, ...(resolved.eventClasses ?? [])])
    const subscription = new FeedSubscription(this.#host, consumer, resolved)
    this.#subscriptions.set(name, subscription)
    if (this.isStarted) subscription.start()
  }

  /**
   * Publishes all stored events on a bus, at least once and in order per aggregate, even across crashes. The event
   * store is then a transactional outbox. A batch is published again until the bus has confirmed it.
   */
  relay(bus: Pick<EventBus, 'publish'>, options: RelayOptions): void {
    const relay = relayTo(bus)
    // A program without types may pass null.
    const consumer = readSubscriber(relay, options?.name ?? undefined)
    this.#add({ ...consumer, relay }, { ...relayDefaults, ...options })
  }

  /**
   * Stops a subscription and removes it from the manager; its checkpoint stays. Inside one of its handlers it returns
   * at once, because the stop waits for that handler.
   * @returns false if there is no subscription with this name.
   */
  async unsubscribe(name: string, options: StopOptions = {}): Promise<boolean> {
    const timeoutMs = stopTimeout('unsubscribe', options)
    const subscription = this.#subscriptions.get(name)
    if (subscription === undefined) return false
    this.#subscriptions.delete(name)
    const deadline = this.#deadline(timeoutMs)
    await stopFromAnywhere(subscription, () =>
      subscription.stop(deadline.signal).finally(() => deadline.end()),
    )
    return true
  }

  /** Starts all subscriptions, including those that an error has stopped; no-op for running subscriptions. */
  start(): void {
    this.#endWakeUps ??= this.#listen()
    this.#metrics.start()
    for (const subscription of this.#subscriptions.values()) subscription.start()
  }

  /**
   * Stops all subscriptions: stops reading, waits for running handlers, and saves the checkpoints. Events that are not finished in
   * time are handled again. Always returns within the timeout; no-op if nothing runs. Inside a handler
   * of one of them it returns at once, with the phase `'stopping'`, because the stop waits for that handler.
   *
   * @throws ConfigError if `timeoutMs` is not a duration, or an option is unknown.
   */
  async stop(options: StopOptions = {}): Promise<StopReport> {
    return this.#stop(this.#deadline(stopTimeout('stop', options)), 'stop')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /**
   * Starts the manager, and stops it on a shutdown signal. A second signal ends the stop at once.
   * @returns the outcome of the stop. After that, let the process exit.
   */
  async runUntilShutdown(options: RunUntilShutdownOptions = {}): Promise<StopReport> {
    const { signals, timeoutMs } = resolveShutdownOptions(options)
    const deadline = new Deadline()
    this.start()
    const asked = await whenAsked(signals)
    asked.again.addEventListener('abort', () => deadline.within(0), { once: true })
    deadline.within(timeoutMs ?? this.#shutdownTimeoutMs)
    const report = await this.#stop(deadline, asked.reason)
    asked.end()
    return asked.again.aborted ? { ...report, phase: 'forced' } : report
  }

  /**
   * Starts no further event, and resolves when no handler is running. Inside one of its own handlers it resolves at
   * once.
   * @throws SubscriptionNotFoundError
   */
  async pause(name: string): Promise<void> {
    await this.#get(name).pause()
  }

  /** Ends a pause. @throws SubscriptionNotFoundError */
  resume(name: string): void {
    this.#get(name).resume()
  }

  /**
   * Passes all events to a projection again. Resolves when it has handled all events that were stored at the time of
   * the call.
   *
   * @throws ConfigError, SubscriptionNotFoundError, SubscriptionStoppedError; TypeError if the projection has no
   * `reset()`; the error that stopped a new projection, in which case the current one continues; HandlerDeadlockError inside one of
   * its own handlers.
   */
  async rebuild(name: string, options: RebuildOptions = {}): Promise<RebuildReport> {
    const into = resolveRebuildOptions(options)
    const subscription = this.#get(name)
    refuseInHandlerOf(subscription, `rebuild('${name}')`)
    const fresh = into && this.#withReplacements(readSubscriber(into, name), subscription.options)
    if (fresh?.transactional !== undefined)
      checkTransactional(name, fresh.transactional, this.#host, subscription.options.concurrency)
    try {
      return await (fresh === undefined ? rebuildInPlace(subscription) : rebuildBeside(subscription, fresh))
    } finally {
      subscription.rebuildProgress = undefined
    }
  }

  /**
   * Runs the handlers that had failed for parked events again, one event after the other, and removes the events that
   * are handled. An event that fails again stays parked, with its new error. Meanwhile the subscription continues, so a
   * replayed event is handled after later events of its aggregate.
   *
   * @throws SubscriptionNotFoundError; SubscriptionStoppedError if another instance has the lease; ConfigError if the
   * manager has no `deadLetters`.
   */
  async replayParked(name: string, options: ReplayOptions = {}): Promise<ReplayReport> {
    return replayParked(this.#get(name), resolveReplayOptions(options))
  }

  /**
   * Resolves when a subscription has finished all events that are stored now, also those that an open append holds back.
   * @throws as {@link whenProcessed} does.
   */
  async whenCaughtUp(name: string, options: WaitOptions = {}): Promise<void> {
    resolveWaitOptions('whenCaughtUp', options)
    const last = (await this.#store.lastPosition?.()) ?? (await this.#store.headPosition())
    await this.whenProcessed(last, name, options)
  }

  /**
   * Resolves when all subscriptions of this manager, or the named one, have finished all events up to a position. Pass the
   * position that `save` returned to read your own writes. The named subscription may belong to other processes only: then
   * its checkpoint is watched.
   *
   * @throws SubscriptionNotFoundError if this manager has no such subscription, and there is no checkpoint of this name;
   * SubscriptionFailedError or SubscriptionStoppedError if a subscription of this manager does not come so far;
   * HandlerDeadlockError inside one of its own handlers, whose event it would wait for; the reason of the signal.
   */
  async whenProcessed(position: number, name?: string, options: WaitOptions = {}): Promise<void> {
    const signal = resolveWaitOptions('whenProcessed', options)
    signal?.throwIfAborted()
    const own = name === undefined ? [...this.#subscriptions.values()] : [this.#subscriptions.get(name)]
    const waits = own.map((subscription) =>
      subscription === undefined
        ? checkpointReached(this.#host, name ?? '', position, signal)
        : subscription.whenProcessed(position),
    )
    const all = Promise.all(waits)
    if (signal === undefined) await all
    else if (!(await settledUntil(all, signal))) signal.throwIfAborted()
  }

  /** The status of each subscription, by name. */
  async status(): Promise<Readonly<Record<string, SubscriptionStatus>>> {
    const statuses = await this.#statuses()
    return Object.fromEntries(statuses.map((status) => [status.name, status]))
  }

  async health(): Promise<SubscriptionsHealth> {
    const [statuses, eventStore] = await Promise.all([this.#statuses(), this.#store.health()])
    return healthOf(statuses, eventStore)
  }

  #statuses(): Promise<readonly SubscriptionStatus[]> {
    return Promise.all([...this.#subscriptions.values()].map((subscription) => subscription.status()))
  }

  async #facts(): Promise<readonly SubscriptionFacts[]> {
    const counting = this.#host.deadLetters?.counts().catch(() => undefined)
    const [statuses, parked] = await Promise.all([this.#statuses(), counting])
    return statuses.map((status) => ({ ...status, parked: parked && (parked.get(status.name) ?? 0) }))
  }

  async #stop(deadline: Deadline, reason: string): Promise<StopReport> {
    const startedAt = performance.now()
    this.#endWakeUps?.()
    this.#endWakeUps = undefined
    const subscriptions = [...this.#subscriptions.values()]
    const handlers = subscriptions.map((subscription) => RunningHandlers.of(subscription))
    const isInHandler = () => handlers.some((running) => running?.areRunning === true)
    // After this await, the calling handler is counted as running.
    if (isInHandler()) await Promise.resolve()
    const stops = subscriptions.map((subscription) => subscription.stop(deadline.signal))
    const stopped = Promise.all(stops).finally(() => deadline.end())
    // A handler that has ended by the next turn did not wait for this call.
    if (isInHandler()) await nextTurn()
    if (!isInHandler()) return stopReport(await stopped, performance.now() - startedAt, reason)
    const ends = subscriptions.map(({ endSoFar }) => endSoFar)
    return { ...stopReport(ends, performance.now() - startedAt, reason), phase: 'stopping' }
  }

  #withReplacements(consumer: Consumer, { eventClasses }: ResolvedSubscriptionOptions): Consumer {
    const allowed = eventClasses?.map(({ eventType }) => eventType)
    return withReplacements(consumer, this.#replacements, allowed)
  }

  #deadline(timeoutMs = this.#shutdownTimeoutMs): Deadline {
    const deadline = new Deadline()
    deadline.within(timeoutMs)
    return deadline
  }

  /** Wakes all subscriptions when there may be new events. @returns a function that stops it. */
  #listen(): () => void {
    const wake = () => {
      this.#metrics.refresh()
      for (const subscription of this.#subscriptions.values()) subscription.wake()
    }
    const endOfStore = this.#store.onAppend(wake)
    const ofBus = this.#bus?.subscribeToAllEvents(wake, { name: 'subscription wake-up' })
    return () => {
      endOfStore()
      ofBus?.unsubscribe()
    }
  }

  #get(name: string): FeedSubscription {
    const subscription = this.#subscriptions.get(name)
    if (subscription === undefined) throw new SubscriptionNotFoundError(name, [...this.#subscriptions.keys()])
    return subscription
  }
}
