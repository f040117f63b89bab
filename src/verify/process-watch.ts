import type { HistoryWriter } from './history.ts'

const TICK_MS = 50
const REPORT_MS = 1000
/** Delays of less than this per second are normal for timers. */
const USUAL_MS = 100

/**
 * Measures how long a process is starved of CPU, by the delay of its timers. An overloaded machine causes that, and no bus can
 * prevent it. Records each slow second with its delay.
 */
export class LatenessWatch {
  readonly #history: HistoryWriter
  readonly #timer: NodeJS.Timeout
  #lastTickAt = performance.now()
  #reportedAt = performance.now()
  #lateMs = 0

  constructor(history: HistoryWriter) {
    this.#history = history
    this.#timer = setInterval(() => this.#tick(), TICK_MS).unref()
  }

  end(): void {
    clearInterval(this.#timer)
  }

  #tick(): void {
    const at = performance.now()
    this.#lateMs += Math.max(0, at - this.#lastTickAt - TICK_MS)
    this.#lastTickAt = at
    if (at - this.#reportedAt < REPORT_MS) return
    if (this.#lateMs > USUAL_MS) {
      const [ms, overMs] = [Math.round(this.#lateMs), Math.round(at - this.#reportedAt)]
      this.#history.record({ kind: 'late', ms, overMs })
    }
    this.#reportedAt = at
    this.#lateMs = 0
  }
}

/** Records unhandled errors and warnings of a process. */
export function watchUnhandled(history: HistoryWriter): void {
  const record = (what: string, error: unknown) =>
    history.record({ kind: 'unhandled', what, error: String(error) })
  process.on('uncaughtException', (error, origin) => {
    record(origin, error instanceof Error ? error.stack : error)
    process.exit(1)
  })
  process.on('warning', (warning) => {
    // Such as MaxListenersExceededWarning, which indicates a leak.
    if (warning.name !== 'ExperimentalWarning') record('warning', warning)
  })
}

/** The handles that keep the process alive, such as sockets and timers: the number of each kind. */
export function openHandles(): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1
  return counts
}

/** Waits briefly for handles that are being closed. */
export async function handlesAfterwards(
  before: Readonly<Record<string, number>>,
  patienceMs = 1000,
): Promise<Readonly<Record<string, number>>> {
  const end = performance.now() + patienceMs
  for (;;) {
    const after = openHandles()
    const isMore = Object.entries(after).some(([kind, count]) => count > (before[kind] ?? 0))
    if (!isMore || performance.now() > end) return after
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
