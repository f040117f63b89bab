import type { BusNotice } from '../../transport/notices.ts'
import type { BusCounters } from '../telemetry/bus-counters.ts'

/** Maximum number of lines that are remembered. */
const MAX_LINES = 1000

/** How many events of an aggregate wait behind one, for a handler. */
export interface WaitingLine {
  readonly handlerName: string
  readonly aggregateId: string
  readonly count: number
  readonly limit: number
}

/** Reports lines of waiting events that are long: each once when it is half full, and once when it is full. */
export class LineWatch {
  readonly #counters: BusCounters
  readonly #notify: (notice: BusNotice) => void
  /** The share of its limit at which each line was reported. */
  readonly #reported = new Map<string, number>()

  constructor(counters: BusCounters, notify: (notice: BusNotice) => void) {
    this.#counters = counters
    this.#notify = notify
  }

  /** Called when an event has joined a line, or has found it full or empty. */
  seen(line: WaitingLine): void {
    const { handlerName, aggregateId, count, limit } = line
    if (count === 0 && this.#reported.size === 0) return
    const key = JSON.stringify([handlerName, aggregateId])
    const share = count >= limit ? 1 : count >= limit / 2 ? 0.5 : 0
    const before = this.#reported.get(key) ?? 0
    if (share === 0) {
      if (before > 0) this.#forget(key)
      return
    }
    this.#counters.longLines.set(key, { handlerName, seenAt: performance.now() })
    if (share <= before) return
    if (this.#reported.size >= MAX_LINES) this.#forget(this.#reported.keys().next().value ?? '')
    this.#reported.set(key, share)
    this.#notify({ type: 'waitingLineLong', ...line, isFull: share === 1 })
  }

  #forget(key: string): void {
    this.#reported.delete(key)
    this.#counters.longLines.delete(key)
  }
}
