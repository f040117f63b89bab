import { StoreOutcomeUnknownError } from '../store/index.ts'
import type { Checkpoint } from './checkpoint-store.ts'
import { CheckpointConflictError } from './errors.ts'
import type { FeedMark } from './feed-mark.ts'
import type { UnitCheckpoint } from './unit-checkpoint.ts'

/** Moves the checkpoint of a running subscription by transactions. */
export class MovingUnits {
  readonly #checkpoint: UnitCheckpoint
  readonly #load: () => Promise<Checkpoint | undefined>
  /** The position of a transaction whose commit had no answer. */
  #inDoubt: number | undefined

  constructor(checkpoint: UnitCheckpoint, load: () => Promise<Checkpoint | undefined>) {
    this.#checkpoint = checkpoint
    this.#load = load
  }

  /** Runs a transaction that moves the checkpoint to the mark, unless an earlier attempt has committed it. */
  async through(
    mark: FeedMark,
    signal: AbortSignal,
    transact: (next: Checkpoint, previous: number | undefined) => Promise<void>,
  ): Promise<void> {
    const checkpoint = this.#checkpoint
    const next = checkpoint.at(mark)
    await checkpoint.exclusively(async () => {
      if (await this.#wasCommitted(next)) return checkpoint.adopt(next)
      try {
        await transact(next, checkpoint.saved?.position)
      } catch (thrown) {
        if (thrown instanceof StoreOutcomeUnknownError) this.#inDoubt = next.position
        if (!(thrown instanceof CheckpointConflictError)) throw thrown
        // The commit without an answer may have come through only now.
        if (!(await this.#wasCommitted(next))) {
          checkpoint.conflict(thrown)
          throw thrown
        }
      }
      checkpoint.adopt(next)
    }, signal)
  }

  async #wasCommitted({ position, eventId, fence }: Checkpoint): Promise<boolean> {
    if (this.#inDoubt !== position) return false
    const found = await this.#load()
    return found?.position === position && found.eventId === eventId && found.fence === fence
  }
}
