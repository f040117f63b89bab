import type { HistoryWriter } from './history.ts'

const TICK_MS = 50
const REPORT_MS = 1000
/** Less than this in a second is how timers are. */
const USUAL_MS = 100

/**
 * Measures how much later than asked a process gets its turns: that is what a machine with too little time for all does
 * to it, and no bus can help. Each second that was slow is written down, with what was missing from it.
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
      this.#history.tell({ kind: 'late', ms, overMs })
    }
    this.#reportedAt = at
    this.#lateMs = 0
  }
}

/** Writes down what a process does that nobody handles. */
export function watchUnhandled(history: HistoryWriter): void {
  const tell = (what: string, error: unknown) =>
    history.tell({ kind: 'unhandled', what, error: String(error) })
  process.on('uncaughtException', (error, origin) => {
    tell(origin, error instanceof Error ? error.stack : error)
    process.exit(1)
  })
  process.on('warning', (warning) => {
    // Such as MaxListenersExceededWarning, which tells of a leak.
    if (warning.name !== 'ExperimentalWarning') tell('warning', warning)
  })
}

/** What keeps the process alive, by kind and number: sockets, timers, and so on. */
export function openHandles(): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1
  return counts
}

/** Waits a little for handles that are just being closed. */
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
