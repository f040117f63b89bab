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

/** A checkpoint with the name of its subscription. */
export interface NamedCheckpoint extends Checkpoint {
  readonly name: string
  /** When it was saved, by the clock of the store. */
  readonly savedAt: Date
}

/** The checkpoints of durable stores, which an operator can list. */
export interface ListedCheckpoints extends CheckpointStore {
  /** All checkpoints, sorted by name in the order of Unicode code points. */
  list(): Promise<readonly NamedCheckpoint[]>
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
export class InMemoryCheckpointStore implements CheckpointTransaction, ListedCheckpoints {
  readonly #checkpoints: MemoryTable<NamedCheckpoint>

  /** @param table - the table of a transaction. Default: a new table. */
  constructor(table = new MemoryTable<NamedCheckpoint>()) {
    this.#checkpoints = table
  }

  async load(name: string): Promise<Checkpoint | undefined> {
    const found = this.#checkpoints.get(name)
    if (found === undefined) return undefined
    const { position, storeId, eventId, fence } = found
    return { position, storeId, eventId, fence }
  }

  async save(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    const { position, storeId, eventId, fence } = checkpoint
    const plain = { position, storeId, eventId, fence }
    const saved = replacement(name, this.#checkpoints.get(name), plain, previous)
    this.#checkpoints.set(name, { ...saved, name, savedAt: new Date() })
  }

  async advance(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    checkStrictly(name, this.#checkpoints.get(name), previous)
    await this.save(name, checkpoint, previous)
  }

  async list(): Promise<readonly NamedCheckpoint[]> {
    return sortedByName(this.#checkpoints.rows())
  }
}

/** In the order of code points, which no setting of a database changes. */
export function sortedByName(checkpoints: readonly NamedCheckpoint[]): readonly NamedCheckpoint[] {
  return checkpoints.toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
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
