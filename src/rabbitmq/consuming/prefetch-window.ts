import type { Intake } from '../../transport/transport.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'

/** The size that a message is expected to have at most, before the sizes of the first ones are known. */
const EXPECTED_BYTES = 1_048_576
/** The largest size counts for at least this many further arrivals. */
const MEMORY = 1000

/**
 * How the bus replaces a consumer whose messages are larger or smaller than expected:
 *
 * - `returning`: messages that do not fit return to their places in the queue.
 * - `overlapping`: the next consumer starts before the last one stops, because the queue is deleted with its last consumer.
 * - `full`: only while the consumer has its whole prefetch. Otherwise a quorum queue puts the messages that are on their
 *   way to a cancelled consumer behind all others.
 * - `never`: the queue would pass to the consumer of another process.
 */
export type Replacement = 'returning' | 'overlapping' | 'full' | 'never'

export interface PrefetchWindowParts {
  readonly replacement: Replacement
  /** The room for messages that have not arrived yet. */
  readonly room: Pick<Intake, 'roomBytes'>
  readonly maxPrefetch: number
  readonly maxBytes: number
}

/** Chooses the prefetch of a consumer so that its messages fit into `maxInFlightBytes`, which AMQP cannot count. */
export class PrefetchWindow {
  readonly replacement: Replacement
  readonly #room: Pick<Intake, 'roomBytes'>
  readonly #max: number
  readonly #maxBytes: number
  #current: number
  /** Largest size among the last arrivals, and among those before. */
  #newest = 0
  #older = 0
  #arrivals = 0
  #arrivalsBefore = 0

  constructor({ replacement, room, maxPrefetch, maxBytes }: PrefetchWindowParts) {
    this.replacement = replacement
    this.#room = room
    this.#max = maxPrefetch
    this.#maxBytes = maxBytes
    this.#current = replacement === 'returning' ? maxPrefetch : atMost(maxPrefetch, maxBytes / EXPECTED_BYTES)
  }

  /** The prefetch of the consumer. */
  get prefetch(): number {
    return this.#current
  }

  /** True if the prefetch stays below the configured one. */
  get isLimited(): boolean {
    return this.replacement === 'never' && this.#current < this.#max
  }

  /** True if there is room for many more messages than the consumer gets, judged by as many as it gets. */
  get isNarrow(): boolean {
    if (this.replacement === 'never' || this.#current === this.#max) return false
    const isJudged = this.#arrivals - this.#arrivalsBefore >= this.#current
    return isJudged && this.#fitting >= Math.min(2 * this.#current, this.#max)
  }

  /** True if the messages that the consumer may get do not fit. */
  get isWide(): boolean {
    return this.#current > 1 && this.#current * this.#largest > this.#maxBytes
  }

  /** Notes the size of a message that arrived. */
  note(bytes: number): void {
    this.#newest = Math.max(this.#newest, bytes)
    this.#arrivals += 1
    if (this.#arrivals % MEMORY !== 0) return
    this.#older = this.#newest
    this.#newest = 0
  }

  /** Chooses the prefetch of the next consumer: as many messages of the largest recent size as fit now. */
  adjust(): void {
    this.#current = this.#fitting
    this.#arrivalsBefore = this.#arrivals
  }

  get #fitting(): number {
    return atMost(this.#max, this.#room.roomBytes / this.#largest)
  }

  get #largest(): number {
    return Math.max(1, this.#newest, this.#older)
  }
}

/** From 1 to `max`. */
function atMost(max: number, wanted: number): number {
  return Math.max(1, Math.min(max, Math.floor(wanted)))
}

/** How the consumer of a queue of this kind can be replaced. */
export function replacementOf({
  queueType,
  singleActiveConsumer,
  autoDelete,
}: ResolvedRabbitMQOptions): Replacement {
  if (singleActiveConsumer) return 'never'
  if (queueType === 'quorum') return 'full'
  return autoDelete ? 'overlapping' : 'returning'
}
