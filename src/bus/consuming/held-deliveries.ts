import { RoomGauge } from '../../kit/room-gauge.ts'
import type { Delivery } from '../../transport/transport.ts'
import type { BusCounters } from '../telemetry/bus-counters.ts'

/**
 * The deliveries that a pipeline holds, from `take` until they are settled or given back. Applies `maxInFlight` and keeps
 * the counters of consumption.
 */
export class HeldDeliveries {
  readonly #counters: BusCounters
  readonly #gauge: RoomGauge
  /** By the monotonic clock, in the order of arrival. */
  readonly #takenAt = new Map<Delivery, number>()
  #isReleased = false

  constructor(maxInFlight: number, counters: BusCounters) {
    this.#gauge = new RoomGauge(maxInFlight)
    this.#counters = counters
  }

  /** How many more deliveries fit. */
  get room(): number {
    return this.#gauge.room
  }

  /** Resolves when there is room, or when `close` is called. */
  whenRoom(): Promise<void> {
    return this.#gauge.whenRoom()
  }

  /** When the longest-held delivery was taken, by the monotonic clock; undefined if none is held. */
  get oldestTakenAt(): number | undefined {
    return this.#takenAt.values().next().value
  }

  /** True after `release`: what is settled from then on is counted nowhere. */
  get isReleased(): boolean {
    return this.#isReleased
  }

  take(delivery: Delivery): void {
    const counters = this.#counters
    counters.eventsConsumed += 1
    counters.inFlight += 1
    counters.lastConsumeAt = Date.now()
    this.#takenAt.set(delivery, performance.now())
    this.#gauge.take()
  }

  /** Removes a delivery that was settled. */
  settled(delivery: Delivery): void {
    this.#takenAt.delete(delivery)
    this.#counters.inFlight -= 1
    this.#gauge.free()
  }

  /** Removes a delivery that this consumer does not settle, and no longer counts it as consumed. */
  giveBack(delivery: Delivery): void {
    if (this.#isReleased) return
    this.#counters.eventsConsumed -= 1
    this.settled(delivery)
  }

  /** Resolves all `whenRoom` promises: nothing more is taken. */
  close(): void {
    this.#gauge.close()
  }

  /** No longer counts what is still held as consumed: the broker will deliver it again. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#counters.eventsConsumed -= this.#gauge.held
    this.#counters.inFlight -= this.#gauge.held
  }
}
