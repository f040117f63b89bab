import { type BegunEvent, FinishedPrefix } from '../kit/finished-prefix.ts'
import { RoomGauge } from '../kit/room-gauge.ts'
import type { Slots } from '../kit/slots.ts'
import type { StoredEvent } from '../store/index.ts'
import type { EventWork } from './event-work.ts'

/** Told when everything up to a position is finished, and by how many events that is further. */
export type Moved = (position: number, events: number) => void

/** How events that were read get to be handled: strictly one by one, in lanes, or in batches. */
export interface EventIntake {
  /** Takes an event. A promise says when the next may come. */
  take(stored: StoredEvent): Promise<void> | undefined
  /** To be called after each page. */
  endPage(): Promise<void> | undefined
  /** Passes positions that hold nothing for this subscription. */
  passTo(position: number): void
  /** Once nothing more is begun: resolves when what was begun is settled, and the position has moved by it. */
  settled(): Promise<void>
}

/** One event after the other, in the order of the feed. */
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
    if (handled === true) this.#moved(stored.position, 1)
    return undefined
  }

  endPage(): undefined {
    return undefined
  }

  passTo(position: number): void {
    this.#moved(position, 0)
  }

  settled(): Promise<void> {
    return Promise.resolve()
  }

  async #afterwards({ position }: StoredEvent, finishing: Promise<boolean>): Promise<void> {
    if (await finishing) this.#moved(position, 1)
  }
}

/** A page after the other, each as one unit. */
export class BatchIntake implements EventIntake {
  readonly #work: EventWork
  readonly #moved: Moved
  #page: StoredEvent[] = []

  constructor(work: EventWork, moved: Moved) {
    this.#work = work
    this.#moved = moved
  }

  take(stored: StoredEvent): undefined {
    this.#page.push(stored)
    return undefined
  }

  async endPage(): Promise<void> {
    const [first, ...others] = this.#page
    this.#page = []
    if (first === undefined) return
    const isFinished = await this.#work.handle([first, ...others])
    if (isFinished) this.#moved(others.at(-1)?.position ?? first.position, 1 + others.length)
  }

  passTo(position: number): void {
    this.#moved(position, 0)
  }

  settled(): Promise<void> {
    return Promise.resolve()
  }
}

interface Item {
  readonly stored: StoredEvent
  readonly begun: BegunEvent
}

/** The events of one aggregate, the first of which is being handled. */
type Lane = Item[]

/** Several aggregates at the same time, each in order. Only what is finished without a gap moves the position. */
export class LaneIntake implements EventIntake {
  readonly #work: EventWork
  readonly #moved: Moved
  readonly #slots: Slots
  readonly #gauge: RoomGauge
  readonly #stopping: AbortSignal
  readonly #lanes = new Map<string, Lane>()
  readonly #prefix = new FinishedPrefix()
  #openLanes = 0
  #whenSettled: PromiseWithResolvers<void> | undefined

  /** @param slots - the places among those that run at the same time; the work gives its own up while it waits. */
  constructor(work: EventWork, moved: Moved, slots: Slots, maxInFlight: number, stopping: AbortSignal) {
    this.#work = work
    this.#moved = moved
    this.#slots = slots
    this.#gauge = new RoomGauge(maxInFlight)
    this.#stopping = stopping
    stopping.addEventListener('abort', () => this.#gauge.close(), { once: true })
  }

  take(stored: StoredEvent): Promise<void> | undefined {
    const item = { stored, begun: this.#prefix.begin(stored.position, 1) }
    this.#gauge.take()
    const { aggregateId } = stored.event
    const lane = this.#lanes.get(aggregateId)
    if (lane === undefined) {
      const opened = [item]
      this.#lanes.set(aggregateId, opened)
      this.#openLanes += 1
      this.#slots.take(() => void this.#advance(aggregateId, opened))
    } else lane.push(item)
    return this.#gauge.room === 0 ? this.#gauge.whenRoom() : undefined
  }

  endPage(): undefined {
    return undefined
  }

  passTo(position: number): void {
    this.#finish(this.#prefix.begin(position, 0))
  }

  settled(): Promise<void> {
    if (this.#openLanes === 0) return Promise.resolve()
    this.#whenSettled ??= Promise.withResolvers()
    return this.#whenSettled.promise
  }

  /** Works on a lane, with a slot taken, until it is empty. A lane whose event stays unfinished goes no further. */
  async #advance(key: string, lane: Lane): Promise<void> {
    for (let [item] = lane; item !== undefined; [item] = lane) {
      if (this.#stopping.aborted || !(await this.#handle(item))) break
      lane.shift()
      if (lane.length > 0 && this.#slots.isContended) {
        this.#slots.take(() => void this.#advance(key, lane))
        return this.#slots.release()
      }
    }
    if (lane.length === 0) this.#lanes.delete(key)
    this.#slots.release()
    this.#openLanes -= 1
    if (this.#openLanes === 0) this.#whenSettled?.resolve()
  }

  async #handle({ stored, begun }: Item): Promise<boolean> {
    if (!(await this.#work.handle([stored]))) return false
    this.#gauge.free()
    this.#finish(begun)
    return true
  }

  #finish(begun: BegunEvent): void {
    const further = this.#prefix.finish(begun)
    if (further !== undefined) this.#moved(further.position, further.events)
  }
}
