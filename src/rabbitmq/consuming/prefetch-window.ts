import type { Intake } from '../../transport/transport.ts'

/** The size that a message is expected to have at most, if the prefetch cannot change later. */
const EXPECTED_BYTES = 1_048_576
/** The largest size counts for at least this many further arrivals. */
const MEMORY = 1000

export interface PrefetchWindowParts {
  readonly intake: Pick<Intake, 'roomBytes'>
  readonly maxPrefetch: number
  readonly maxBytes: number
  /** False if the consumer cannot be replaced: its queue would be deleted, pass to another one, or lose its order. */
  readonly isAdjustable: boolean
}

/** Chooses the prefetch of a consumer so that its messages fit into `maxInFlightBytes`, which AMQP cannot count. */
export class PrefetchWindow {
  readonly isAdjustable: boolean
  readonly #intake: Pick<Intake, 'roomBytes'>
  readonly #max: number
  #current: number
  /** Largest size among the last arrivals, and among those before. */
  #newest = 0
  #older = 0
  #arrivals = 0

  constructor({ intake, maxPrefetch, maxBytes, isAdjustable }: PrefetchWindowParts) {
    this.isAdjustable = isAdjustable
    this.#intake = intake
    this.#max = isAdjustable ? maxPrefetch : atMost(maxPrefetch, maxBytes / EXPECTED_BYTES)
    this.#current = this.#max
  }

  /** The prefetch of the consumer. */
  get prefetch(): number {
    return this.#current
  }

  /** True if there is room for many more messages than the consumer gets. */
  get isNarrow(): boolean {
    return this.#current < this.#max && this.#fitting >= Math.min(2 * this.#current, this.#max)
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
  }

  get #fitting(): number {
    return atMost(this.#max, this.#intake.roomBytes / Math.max(1, this.#newest, this.#older))
  }
}

/** From 1 to `max`. */
function atMost(max: number, wanted: number): number {
  return Math.max(1, Math.min(max, Math.floor(wanted)))
}
