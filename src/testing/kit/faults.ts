import type { HandlingContext } from '../../handling/index.ts'

/** How a handler of a kit fails. */
export interface FailOptions {
  /** Number of runs that fail. Default 1; Infinity for all. */
  readonly times?: number
  /** The error. Default: one that names the kit. */
  readonly error?: Error
}

interface Failing {
  left: number
  readonly error: Error
}

/** The faults that a test has ordered, by handler. */
export class PlannedFaults {
  readonly #failing = new Map<string, Failing>()
  readonly #crashing = new Set<string>()

  fail(handlerName: string, { times = 1, error }: FailOptions): void {
    this.#failing.set(handlerName, {
      left: times,
      error: error ?? new Error(`The test lets ${handlerName} fail.`),
    })
  }

  crash(handlerName: string): void {
    this.#crashing.add(handlerName)
  }

  /** The faults that have not happened, as names of handlers. */
  get open(): readonly string[] {
    const failing = [...this.#failing].filter(([, { left }]) => left > 0 && left !== Number.POSITIVE_INFINITY)
    return [...failing.map(([name]) => name), ...this.#crashing]
  }

  /** @throws the error of a run that is to fail. */
  beforeRun({ handlerName }: HandlingContext): void {
    const failing = this.#failing.get(handlerName)
    if (failing === undefined || failing.left <= 0) return
    failing.left -= 1
    throw failing.error
  }

  /** @returns true if the process is to crash after this run. */
  crashesAfter({ handlerName }: HandlingContext): boolean {
    return this.#crashing.delete(handlerName)
  }
}
