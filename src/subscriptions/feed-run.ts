import { setImmediate as nextTurn } from 'node:timers/promises'
import { toError } from '../errors.ts'
import { STORE_BACKOFF } from '../kit/backoff.ts'
import { Slots } from '../kit/slots.ts'
import { settledUntil, sleep } from '../kit/time.ts'
import type { EventFeed, FeedFilter } from '../store/index.ts'
import { ForeignCheckpointError, PositionAheadError } from './errors.ts'
import { BatchIntake, type EventIntake, LaneIntake, SequentialIntake } from './event-intake.ts'
import { EventWork, type EventWorkParts } from './event-work.ts'
import { FeedContinuity } from './feed-continuity.ts'
import { type FeedMark, markOf } from './feed-mark.ts'
import { FeedReader } from './feed-reader.ts'
import type { Consumer } from './projection.ts'
import type { ResolvedSubscriptionOptions } from './subscription-options.ts'
import type { WakeUp } from './wake-up.ts'

/** Notified of the progress of a run. */
export interface RunProgress {
  /** Everything up to the mark is finished: `events` further events since the previous call. */
  moved(mark: FeedMark, events: number): void
  /** If set, no further event starts until it resolves. */
  readonly busy: Promise<void> | undefined
  /** A read has ended. */
  pageRead(run: FeedRun, head: number): void
}

export interface FeedRunParts extends Omit<EventWorkParts, 'stopping' | 'abandoned' | 'slots' | 'onFailed'> {
  readonly store: EventFeed
  /** Start after this mark. */
  readonly start: FeedMark
  readonly wakeUp: WakeUp
  readonly progress: RunProgress
}

/**
 * Minimum number of events that a relay reads at once. It publishes them in batches of `batchSize`, and reads the next
 * page meanwhile.
 */
const RELAY_PAGE = 1000

/**
 * The loop of a subscription: it reads a page after the position and passes it to the handlers. At the end of the feed
 * it sleeps until a wake-up arrives or the poll interval has passed. There is no other source of events.
 */
export class FeedRun {
  readonly #parts: FeedRunParts
  readonly #reader: FeedReader
  readonly #stopping = new AbortController()
  readonly #abandoned = new AbortController()
  readonly #work: EventWork
  readonly #intake: EventIntake
  readonly #pageSize: number
  readonly #continuity: FeedContinuity
  #read: number
  #position: number
  #failure: Error | undefined
  #isAtEnd = false

  constructor(parts: FeedRunParts) {
    const { options, consumer, store, start } = parts
    this.#parts = parts
    this.#read = start.position
    this.#position = start.position
    this.#continuity = new FeedContinuity(store, consumer.name, start)
    const inLanes = options.concurrency > 1 && !consumer.isBatch
    const slots = inLanes ? new Slots(options.concurrency) : undefined
    const { relay } = consumer
    this.#pageSize = inLanes ? Math.min(options.batchSize, options.maxInFlight) : options.batchSize
    if (relay !== undefined) this.#pageSize = Math.max(this.#pageSize, RELAY_PAGE)
    this.#reader = new FeedReader({
      store,
      filter: wantedEvents(consumer, options),
      limit: this.#pageSize,
      undecoded: () => relay?.takesStored() === true,
    })
    const signals = { stopping: this.#stopping.signal, abandoned: this.#abandoned.signal }
    this.#work = new EventWork({ ...parts, ...signals, slots, onFailed: (error) => this.fail(error) })
    this.#intake = this.#makeIntake(slots)
  }

  /** Everything up to this position is finished. */
  get position(): number {
    return this.#position
  }

  /** True if the last read reached the end of the feed. */
  get isAtEnd(): boolean {
    return this.#isAtEnd
  }

  /** Number of running handlers. */
  get running(): number {
    return this.#work.running
  }

  /** The error that ended the run; undefined if there is none. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /** Resolves when no handler runs. */
  idle(): Promise<void> {
    return this.#work.idle()
  }

  /** Resolves when the number of running handlers does not exceed the limit. */
  atMost(limit: () => number): Promise<void> {
    return this.#work.atMost(limit)
  }

  /** Runs until it is stopped or abandoned, or an event cannot be handled. Resolves when nothing is in flight. */
  async follow(): Promise<void> {
    await settledUntil(this.#loop(), this.#abandoned.signal)
    await settledUntil(this.#intake.settled(), this.#abandoned.signal)
    await settledUntil(this.#reader.settled(), this.#abandoned.signal)
  }

  /** Stops reading, and starts no further attempt. */
  stop(): void {
    this.#stopping.abort()
    this.#parts.wakeUp.call()
  }

  /** Ends the run with an error. */
  fail(error: Error): void {
    this.#failure ??= error
    this.stop()
  }

  /** Stops waiting for running handlers: aborts their signals and ignores their results. */
  abandon(reason: Error): void {
    this.stop()
    this.#abandoned.abort(reason)
  }

  #makeIntake(slots: Slots | undefined): EventIntake {
    const { consumer, options } = this.#parts
    const moved = (mark: FeedMark, events: number) => this.#moved(mark, events)
    if (consumer.isBatch) return new BatchIntake(this.#work, moved, options.batchSize)
    if (slots === undefined) return new SequentialIntake(this.#work, moved)
    return new LaneIntake(this.#work, moved, slots, options.maxInFlight, this.#stopping.signal)
  }

  #moved(mark: FeedMark, events: number): void {
    if (mark.position <= this.#position) return
    this.#position = mark.position
    this.#parts.progress.moved(mark, events)
  }

  async #loop(): Promise<void> {
    const { wakeUp, options, monitor, gate } = this.#parts
    let wasCalled = true
    while (await gate.passed(this.#stopping.signal)) {
      wakeUp.arm()
      const before = this.#read
      const isAtEnd = await this.#tryPage()
      if (this.#stopping.signal.aborted) return
      if (!wasCalled && this.#read > before) monitor.missedWakeUps += 1
      // An event that is stored after `arm` and that this read does not see causes a wake-up, so none is missed.
      wasCalled = isAtEnd ? await wakeUp.sleep(options.pollIntervalMs) : true
      if (!isAtEnd) await nextTurn()
    }
  }

  /** Reads until it succeeds. @returns true if the end of the feed was reached. */
  async #tryPage(): Promise<boolean> {
    const { monitor } = this.#parts
    for (let failure = 1; ; failure += 1) {
      try {
        const isAtEnd = await this.#page()
        monitor.troubleOver('store')
        return isAtEnd
      } catch (thrown) {
        const error = toError(thrown)
        if (error instanceof ForeignCheckpointError || error instanceof PositionAheadError) {
          this.fail(error)
          return false
        }
        this.#continuity.interrupted()
        monitor.trouble('store', 'reading the event store failed', error)
      }
      await this.#intake.endPage()
      if (!(await sleep(STORE_BACKOFF.backoff(failure), this.#stopping.signal))) return false
    }
  }

  async #page(): Promise<boolean> {
    const { consumer, progress } = this.#parts
    const { page, readAt, wasAhead } = await this.#reader.next(this.#read)
    const { events, head, headEventId, isCut } = page
    await this.#continuity.check(page, readAt)
    const last = events.at(-1)
    const hasMore = events.length >= this.#pageSize || isCut === true
    if (hasMore && last !== undefined && consumer.relay !== undefined) this.#reader.readAhead(last.position)
    for (const stored of events) {
      const admission = this.#admit()
      if (admission !== undefined && !(await admission)) return false
      this.#read = stored.position
      const taken = this.#intake.take(stored)
      if (taken !== undefined) await taken
      if (this.#stopping.signal.aborted) return false
    }
    await this.#intake.endPage()
    if (this.#stopping.signal.aborted) return false
    // New events get positions after the head, so this read has seen everything up to that head. A page that was read
    // ahead may lack an event whose wake-up came before the loop waited for it.
    const isAtEnd = !hasMore && !wasAhead
    let mark = last && markOf(last)
    if (isAtEnd && head > this.#read) {
      mark = { position: head, eventId: headEventId }
      this.#read = head
      this.#intake.passTo(mark)
    }
    this.#continuity.passed(mark, readAt)
    this.#isAtEnd = isAtEnd
    progress.pageRead(this, head)
    return isAtEnd
  }

  /**
   * Allows the next event to start. Returns a promise only if the event must wait for the end of a pause or for a
   * checkpoint.
   */
  #admit(): Promise<boolean> | undefined {
    const { gate, progress } = this.#parts
    return gate.isOpen && progress.busy === undefined ? undefined : this.#waitForAdmission()
  }

  async #waitForAdmission(): Promise<boolean> {
    const { gate, progress } = this.#parts
    const { signal } = this.#stopping
    while (!gate.isOpen || progress.busy !== undefined) {
      if (progress.busy !== undefined && !(await settledUntil(progress.busy, signal))) return false
      if (!(await gate.passed(signal))) return false
    }
    return !signal.aborted
  }
}

/** Returns the filter for the part of the feed that a subscription reads. */
export function wantedEvents(consumer: Consumer, options: ResolvedSubscriptionOptions): FeedFilter {
  const { eventClasses, aggregateTypes, tenantId } = options
  const allowed = eventClasses?.map(({ eventType }) => eventType)
  const taken = consumer.eventTypes
  const both = allowed === undefined ? taken : taken?.filter((eventType) => allowed.includes(eventType))
  const wanted = both ?? allowed
  const eventTypes = wanted && [...wanted, ...(consumer.alsoReads?.(wanted) ?? [])]
  return { eventTypes, aggregateTypes, tenantId }
}
