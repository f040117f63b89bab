let last = 0

/**
 * The time of day in milliseconds, which all processes of a run and the dead letters share. Later calls of one process return
 * a later time, so that facts of one millisecond keep their order. `performance.timeOrigin` would differ between processes by
 * as long as the system interrupts one while it starts.
 */
export function now(): number {
  last = Math.max(Date.now(), last + 0.001)
  return last
}
