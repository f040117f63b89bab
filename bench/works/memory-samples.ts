// Samples memory while events are handled, to detect growth.

/** Peak values in MiB. */
export interface Peaks {
  /** Peak of the first part: a tenth of the events for the heap, half for RSS, which V8 lets grow for a while. */
  readonly early: number
  readonly all: number
}

export interface Memory {
  readonly heap: Peaks
  readonly rss: Peaks
}

const SAMPLES = 20

/** Samples after a number of handled events: the heap after a garbage collection, and the current RSS. */
export class MemorySamples {
  readonly #every: number
  readonly #heap: number[] = []
  readonly #rss: number[] = []
  #handled = 0

  constructor(count: number) {
    this.#every = Math.ceil(count / SAMPLES)
  }

  readonly note = (): void => {
    this.#handled += 1
    if (this.#handled % this.#every !== 0) return
    this.#rss.push(process.memoryUsage.rss())
    globalThis.gc?.()
    this.#heap.push(process.memoryUsage().heapUsed)
  }

  get peaks(): Memory {
    return { heap: peaksOf(this.#heap, SAMPLES / 10), rss: peaksOf(this.#rss, SAMPLES / 2) }
  }
}

function peaksOf(samples: readonly number[], beginning: number): Peaks {
  const highest = (values: readonly number[]) => Math.max(...values) / 2 ** 20
  return { early: highest(samples.slice(0, beginning)), all: highest(samples) }
}
