import type { SessionEnd } from './session.ts'

/** What a stop came to. */
export interface StopReport {
  /**
   * `'completed'`: every handler that ran has ended and every checkpoint is saved. `'timedOut'`: the time was up before;
   * what did not finish comes again. `'forced'`: a second signal ended it at once. `'stopping'`: a handler called `stop`,
   * which waits for that handler, so the report is of the beginning; the stop goes on.
   */
  readonly phase: 'completed' | 'timedOut' | 'forced' | 'stopping'
  /** What asked for it: the name of a signal, or `'stop'`. */
  readonly reason: string
  readonly durationMs: number
  readonly subscriptionsStopped: number
  /** Handlers that ran when it began. */
  readonly inFlight: number
  /** Of those, how many ended in time. */
  readonly drained: number
  readonly notDrained: number
  /** Subscriptions whose checkpoint tells of all that they finished. */
  readonly checkpointsSaved: number
}

export function stopReport(ends: readonly SessionEnd[], durationMs: number, reason: string): StopReport {
  const sum = (count: (end: SessionEnd) => number) => ends.reduce((total, end) => total + count(end), 0)
  const notDrained = sum((end) => end.notDrained)
  const inFlight = Math.max(
    sum((end) => end.inFlight),
    notDrained,
  )
  const checkpointsSaved = sum((end) => (end.isSaved ? 1 : 0))
  const isComplete = notDrained === 0 && checkpointsSaved === ends.length
  return {
    phase: isComplete ? 'completed' : 'timedOut',
    reason,
    durationMs,
    subscriptionsStopped: ends.length,
    inFlight,
    drained: inFlight - notDrained,
    notDrained,
    checkpointsSaved,
  }
}
