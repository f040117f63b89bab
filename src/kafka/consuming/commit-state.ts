import type { AttemptHistory, PartitionProgress } from '../wire/progress.ts'
import type { HeldRecord } from './held-record.ts'

/** The state of a partition that a commit writes. */
export interface CommitState {
  readonly offset: number
  /** Epoch of the leader that wrote the record before the offset; undefined if it is unknown. */
  readonly epoch: number | undefined
  readonly progress: PartitionProgress
  readonly version: number
  /** Finished records that no earlier commit contained. */
  readonly finished: number
}

/** Adds an offset to ranges. Ranges that only a gap of the log separates become one. */
export function addFinished(ranges: [number, number][], offset: number, previous: number | undefined): void {
  const last = ranges.at(-1)
  if (last !== undefined && previous !== undefined && last[1] === previous + 1) last[1] = offset + 1
  else ranges.push([offset, offset + 1])
}

export function addUnfinished(
  attempts: Map<number, AttemptHistory>,
  record: HeldRecord,
  isFinal: boolean,
): void {
  const { attemptsStarted, settledSoFar: settledHandlers, isAttempting } = record
  // A stop interrupts an attempt without failing it. Before that, the announced range implies one attempt.
  const count = isFinal && isAttempting ? attemptsStarted - 1 : attemptsStarted
  if (count > (isFinal ? 0 : 1) || settledHandlers.length > 0) {
    attempts.set(record.offset, { count, settledHandlers })
  }
}
