const VARIABLE = 'EVENTSPINE_TORTURE_CLOCK'

/** The monotonic clock of the system, which all processes share, in milliseconds. */
const monotonic = (): number => Number(process.hrtime.bigint()) / 1e6

// The first process of a run chooses the offset, and those that it starts inherit it. `performance.timeOrigin` differs between
// processes by as long as the system interrupts one while it starts.
process.env[VARIABLE] ??= String(Date.now() - monotonic())
const offset = Number(process.env[VARIABLE])

/** The time by one clock for all processes of a run, in milliseconds; about the time of day. */
export function now(): number {
  return offset + monotonic()
}
