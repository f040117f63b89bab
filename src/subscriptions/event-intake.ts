import { FinishedPrefix } from '../kit/finished-prefix.ts'
import { Lanes } from '../kit/lanes.ts'
import { RoomGauge } from '../kit/room-gauge.ts'
import type { Slots } from '../kit/slots.ts'
import type { StoredEvent } from '../store/index.ts'
import type { EventWork } from './event-work.ts'
import { type FeedMark, markOf } from './feed-mark.ts'

/**
 * Called when all events up to a mark are finished, with the number of events that were finished since the previous
 * call.
 */
export type Moved = (mark: FeedMark, events: number) => void

/** Passes the events of a page to the handlers: one by one, in lanes, or in batches. */
export interface EventIntake {
  /** Takes an event. If it returns a promise, the next event may follow when that resolves. */
  take(stored: StoredEvent): Promise<void> | undefined
  /** Call it after each page. */
  endPage(): Promise<void> | undefined
  /** Advances past positions that have no event for this subscription. */
  passTo(mark: FeedMark): void
  /** Call it once no further event is started. Resolves when all started events are settled and the position has moved. */
  settled(): Promise<void>
}

/** Handles one event after the other, in the order of the feed. */
export class SequentialIntake implements EventIntake {
  readonly #work: EventWork
  readonly #moved: Moved

  constructor(work: EventWork, moved: Moved) {
    this.#work = work
    this.#moved = moved
  }

  take(stored: StoredEvent): Promise<void> | undefined {
    const handled = this.#work.handle([stored])
    if (handled instanceof Promise) return this.#afterwards(stored, handled)
    if (handled === true) this.#moved(markOf(stored), 1)
    return undefined
  }

  endPage(): undefined {
    return undefined
  }

  passTo(mark: FeedMark): void {
    this.#moved(mark, 0)
  }

  settled(): Promise<void> {
    return Promise.resolve()
  }

  async #afterwards(stored: StoredEvent, finishing: Promise<boolean>): Promise<void> {
    if (await finishing) this.#moved(markOf(stored), 1)
  }
}

/** Handles one batch after the other, each as one unit. A batch ends with its page. */
export class BatchIntake implements EventIntake {
  readonly #work: EventWork
  readonly #moved: Moved
  readonly #batchSize: number
  #batch: StoredEvent[] = []

  constructor(work: EventWork, moved: Moved, batchSize: number) {
    this.#work = work
    this.#moved = moved
    this.#batchSize = batchSize
  }

  take(stored: StoredEvent): Promise<void> | undefined {
    this.#batch.push(stored)
    return this.#batch.length < this.#batchSize ? undefined : this.endPage()
  }

  async endPage(): Promise<void> {
    const [first, ...others] = this.#batch
    this.#batch = []
    if (first === undefined) return
    const isFinished = await this.#work.handle([first, ...others])
    if (isFinished) this.#moved(markOf(others.at(-1) ?? first), 1 + others.length)
  }

  passTo(mark: FeedMark): void {
    this.#moved(mark, 0)
  }

  settled(): Promise<void> {
    return Promise.resolve()
  }
}

interface Item {
  readonly stored: StoredEvent
  readonly started: StartedEvent
}

/** An event that was started, or a position that was passed. */
interface StartedEvent {
  readonly mark: FeedMark
  /** Number of events: 1, or 0 for a position that was only passed. */
  readonly events: number
  isFinished: boolean
}

/** Handles several aggregates concurrently, each in order. The position moves only up to the first unfinished event. */
export class LaneIntake implements EventIntake {
  readonly #work: EventWork
  readonly #moved: Moved
  readonly #gauge: RoomGauge
  readonly #lanes: Lanes<Item>
  readonly #prefix = new FinishedPrefix<StartedEvent>()

  /** @param slots - limit the concurrency. The work releases its slot while it waits. */
  constructor(work: EventWork, moved: Moved, slots: Slots, maxInFlight: number, stopping: AbortSignal) {
    this.#work = work
    this.#moved = moved
    this.#gauge = new RoomGauge(maxInFlight)
    this.#lanes = new Lanes(slots, stopping, (item) => this.#handle(item))
    stopping.addEventListener('abort', () => this.#gauge.close(), { once: true })
  }

  take(stored: StoredEvent): Promise<void> | undefined {
    this.#gauge.take()
    this.#lanes.push(stored.event.aggregateId, { stored, started: this.#start(markOf(stored), 1) })
    return this.#gauge.room === 0 ? this.#gauge.whenRoom() : undefined
  }

  endPage(): undefined {
    return undefined
  }

  passTo(mark: FeedMark): void {
    this.#finish(this.#start(mark, 0))
  }

  settled(): Promise<void> {
    return this.#lanes.whenIdle()
  }

  async #handle({ stored, started }: Item): Promise<boolean> {
    if (!(await this.#work.handle([stored]))) return false
    this.#gauge.free()
    this.#finish(started)
    return true
  }

  #start(mark: FeedMark, events: number): StartedEvent {
    const started = { mark, events, isFinished: false }
    this.#prefix.push(started)
    return started
  }

  #finish(started: StartedEvent): void {
    started.isFinished = true
    let events = 0
    const last = this.#prefix.advance((passed) => {
      events += passed.events
    })
    if (last !== undefined) this.#moved(last.mark, events)
  }
}
