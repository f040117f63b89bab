import { RoomGauge } from '../../kit/room-gauge.ts'
import type { Delivery, IncomingMessage } from '../../transport/transport.ts'
import type { BusCounters } from '../telemetry/bus-counters.ts'

/** What is known about a held delivery. */
interface Taken {
  /** When it arrived, by the monotonic clock. */
  readonly at: number
  readonly bytes: number
}

/**
 * The deliveries that a pipeline holds, from `take` until they are settled or given back. Applies `maxInFlight` and
 * `maxInFlightBytes`, and keeps the counters of consumption.
 */
export class HeldDeliveries {
  readonly #counters: BusCounters
  readonly #gauge: RoomGauge
  /** In the order of arrival. */
  readonly #taken = new Map<Delivery, Taken>()
  #isReleased = false

  constructor(maxInFlight: number, maxInFlightBytes: number, counters: BusCounters) {
    this.#gauge = new RoomGauge(maxInFlight, maxInFlightBytes)
    this.#counters = counters
  }

  /** Number of further deliveries that fit. */
  get room(): number {
    return this.#gauge.room
  }

  /** Number of further bytes that fit. */
  get roomBytes(): number {
    return this.#gauge.roomBytes
  }

  /** Resolves when there is room, or when `close` is called. */
  whenRoom(): Promise<void> {
    return this.#gauge.whenRoom()
  }

  /** Has no room until `unhold`. */
  hold(): void {
    this.#gauge.hold()
  }

  unhold(): void {
    this.#gauge.unhold()
  }

  /** When the longest-held delivery was taken, by the monotonic clock; undefined if none is held. */
  get oldestTakenAt(): number | undefined {
    return this.#taken.values().next().value?.at
  }

  /** True after `release`: deliveries that are settled later are not counted. */
  get isReleased(): boolean {
    return this.#isReleased
  }

  take(delivery: Delivery): void {
    const counters = this.#counters
    counters.eventsConsumed += 1
    counters.inFlight += 1
    counters.lastConsumeAt = Date.now()
    const bytes = sizeOf(delivery.message)
    this.#taken.set(delivery, { at: performance.now(), bytes })
    this.#gauge.take(bytes)
  }

  /** Removes a delivery that was settled. */
  settled(delivery: Delivery): void {
    const bytes = this.#taken.get(delivery)?.bytes
    this.#taken.delete(delivery)
    this.#counters.inFlight -= 1
    this.#gauge.free(bytes)
  }

  /** Removes a delivery that this consumer does not settle, and no longer counts it as consumed. */
  giveBack(delivery: Delivery): void {
    if (this.#isReleased) return
    this.#counters.eventsConsumed -= 1
    this.settled(delivery)
  }

  /** Resolves all `whenRoom` promises. No further delivery is taken. */
  close(): void {
    this.#gauge.close()
  }

  /** Removes held deliveries from the count of consumed ones, because the broker will deliver them again. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#counters.eventsConsumed -= this.#gauge.held
    this.#counters.inFlight -= this.#gauge.held
  }
}

/** The length of the body and the headers. A character of a text counts as a byte. */
function sizeOf(message: IncomingMessage): number {
  if (message.sizeBytes !== undefined) return message.sizeBytes
  const { body, headers } = message
  let size = body.length
  for (const name in headers) size += name.length + (headers[name]?.length ?? 0)
  return size
}
