import type { Checkpoint } from './checkpoint-store.ts'
import type { FeedMark } from './feed-mark.ts'

/** The checkpoint of a running subscription, for units that move it in their own transaction. */
export interface UnitCheckpoint {
  /** What the checkpoint store has; undefined if it has none. */
  readonly saved: Checkpoint | undefined
  /** The checkpoint that says that everything up to the mark is finished. */
  at(mark: FeedMark): Checkpoint
  /** Runs work during which the position is not saved in any other way, until the signal aborts. */
  exclusively(work: () => Promise<void>, signal: AbortSignal): Promise<void>
  /** A transaction has saved this checkpoint. */
  adopt(checkpoint: Checkpoint): void
  /** Another instance has moved the checkpoint. */
  conflict(error: Error): void
}
