// Whether memory grows while events go through.

/** Highest values in MiB. */
export interface Peaks {
  /** While the beginning was handled: a tenth for the heap, half for RSS, which V8 lets grow for a while. */
  readonly early: number
  readonly all: number
}

export interface Memory {
  readonly heap: Peaks
  readonly rss: Peaks
}

const SAMPLES = 20

/** Samples by the number of events handled: of the heap what a garbage collection leaves, of RSS what there is. */
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
