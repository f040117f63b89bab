import { MemoryTable } from '../store/memory-table.ts'
import { CheckpointConflictError } from './errors.ts'

/** The position of a subscription in a store. */
export interface Checkpoint {
  /** Everything up to this position is finished. */
  readonly position: number
  /** Identity of the event store that the position belongs to; undefined in a checkpoint of an older release. */
  readonly storeId: string | undefined
  /** Id of the event at the position; undefined if it is unknown. */
  readonly eventId: string | undefined
  /** Fencing number of the lease under which it was saved; undefined without a lease. */
  readonly fence: number | undefined
}

/** Stores the checkpoint of each subscription. `describeStores` in `eventspine/testing` tests this contract. */
export interface CheckpointStore {
  /** The last saved checkpoint; undefined if there is none. */
  load(name: string): Promise<Checkpoint | undefined>
  /**
   * Replaces the previous checkpoint. Saving the stored position again succeeds, because the response to the first save
   * may have been lost.
   *
   * @param previous - the position that the store should have at present; undefined if it should have none.
   * @throws CheckpointConflictError if the stored position is neither the new nor the previous one, or if the stored
   * checkpoint has a higher fencing number. For a save without a fencing number, the fencing numbers are not compared,
   * and the stored number stays.
   */
  save(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void>
}

/** The checkpoints inside a transaction. */
export interface CheckpointTransaction extends CheckpointStore {
  /**
   * As `save`, for a transaction whose other writes must happen once per position: the stored position must be the previous one.
   * A concurrent transaction that moves the same checkpoint is waited for.
   *
   * @throws CheckpointConflictError also if the new position is stored already.
   */
  advance(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void>
}

/** Stores checkpoints in memory; they are lost when the process ends. */
export class InMemoryCheckpointStore implements CheckpointTransaction {
  readonly #checkpoints: MemoryTable<Checkpoint>

  /** @param table - the table of a transaction. Default: a new table. */
  constructor(table = new MemoryTable<Checkpoint>()) {
    this.#checkpoints = table
  }

  async load(name: string): Promise<Checkpoint | undefined> {
    return this.#checkpoints.get(name)
  }

  async save(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    this.#checkpoints.set(name, replacement(name, this.#checkpoints.get(name), checkpoint, previous))
  }

  async advance(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    checkStrictly(name, this.#checkpoints.get(name), previous)
    await this.save(name, checkpoint, previous)
  }
}

/** @throws CheckpointConflictError unless the checkpoint is at the previous position. */
export function checkStrictly(
  name: string,
  actual: Checkpoint | undefined,
  previous: number | undefined,
): void {
  if (actual?.position !== previous) throw new CheckpointConflictError(name, previous, actual?.position)
}

/**
 * The checkpoint to store: the given one, with the stored fencing number if it has none.
 * @throws CheckpointConflictError
 */
export function replacement(
  name: string,
  actual: Checkpoint | undefined,
  checkpoint: Checkpoint,
  previous: number | undefined,
): Checkpoint {
  const { position, fence } = checkpoint
  const isInPlace = actual?.position === previous || actual?.position === position
  const isFenced = actual?.fence !== undefined && fence !== undefined && fence < actual.fence
  if (!isInPlace || isFenced) throw new CheckpointConflictError(name, previous, actual?.position)
  return fence === undefined ? { ...checkpoint, fence: actual?.fence } : checkpoint
}
