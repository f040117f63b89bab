import { MemoryTable } from '../store/memory-table.ts'
import { CheckpointConflictError } from './errors.ts'

/** How far a subscription has come, and in which store. */
export interface Checkpoint {
  /** Everything up to it is finished. */
  readonly position: number
  /** Identity of the event store that the position belongs to; undefined in a checkpoint of an older release. */
  readonly storeId: string | undefined
  /** Id of the event at the position; undefined where it is not known. */
  readonly eventId: string | undefined
  /** Fencing number of the lease under which it was saved; undefined without a lease. */
  readonly fence: number | undefined
}

/** Keeps how far each subscription has come. `describeStores` in `eventspine/testing` is the contract as tests. */
export interface CheckpointStore {
  /** The checkpoint that was saved last; undefined when there is none. */
  load(name: string): Promise<Checkpoint | undefined>
  /**
   * Saves a checkpoint in place of the previous one. Saving what is there already succeeds: an answer may have been lost.
   *
   * @param previous - the position that the store is expected to have; undefined for none.
   * @throws CheckpointConflictError when neither the position nor the previous one is there, and when a checkpoint with a
   * higher fencing number is there. A save without a fencing number is not compared with one.
   */
  save(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void>
}

/** Stores checkpoints in memory; they are lost when the process ends. */
export class InMemoryCheckpointStore implements CheckpointStore {
  readonly #checkpoints: MemoryTable<Checkpoint>

  /** @param table - of the transaction that it belongs to; one of its own by default. */
  constructor(table = new MemoryTable<Checkpoint>()) {
    this.#checkpoints = table
  }

  async load(name: string): Promise<Checkpoint | undefined> {
    return this.#checkpoints.get(name)
  }

  async save(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    checkPrevious(name, this.#checkpoints.get(name), checkpoint, previous)
    this.#checkpoints.set(name, checkpoint)
  }
}

/** @throws CheckpointConflictError */
export function checkPrevious(
  name: string,
  actual: Checkpoint | undefined,
  { position, fence }: Checkpoint,
  previous: number | undefined,
): void {
  const isInPlace = actual?.position === previous || actual?.position === position
  const isFenced = actual?.fence !== undefined && fence !== undefined && fence < actual.fence
  if (!isInPlace || isFenced) throw new CheckpointConflictError(name, previous, actual?.position)
}
