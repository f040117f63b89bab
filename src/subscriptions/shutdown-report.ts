import type { SessionEnd } from './session.ts'

/** The outcome of a stop. */
export interface StopReport {
  /**
   * `'completed'`: all running handlers ended and all checkpoints are saved. `'timedOut'`: the timeout passed first;
   * unfinished events will be handled again. `'forced'`: a second signal ended the stop at once. `'stopping'`: a
   * handler called `stop`, which waits for that handler, so the report describes the start of the stop; the stop
   * continues.
   */
  readonly phase: 'completed' | 'timedOut' | 'forced' | 'stopping'
  /** The cause of the stop: the name of a signal, or `'stop'`. */
  readonly reason: string
  readonly durationMs: number
  readonly subscriptionsStopped: number
  /** Number of handlers that ran when the stop started. */
  readonly inFlight: number
  /** Number of those that ended in time. */
  readonly drained: number
  readonly notDrained: number
  /** Number of subscriptions whose checkpoint includes all finished events. */
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
