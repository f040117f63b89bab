import {
  type Checkpoint,
  CheckpointConflictError,
  type CheckpointTransaction,
  type ListedCheckpoints,
  type NamedCheckpoint,
} from '../subscriptions/index.ts'
import type { SqliteAccess } from './access.ts'
import { type CheckpointTable, listCheckpoints, loadCheckpoint } from './checkpoint-row.ts'

export class SqliteCheckpointStore implements CheckpointTransaction, ListedCheckpoints {
  readonly #access: SqliteAccess
  readonly #table: CheckpointTable

  constructor(access: SqliteAccess, table: CheckpointTable = 'eventspine_checkpoints') {
    this.#access = access
    this.#table = table
  }

  load(name: string): Promise<Checkpoint | undefined> {
    return this.#access.read((db) => loadCheckpoint(db, this.#table, name))
  }

  save(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    return this.#save(name, checkpoint, previous, false)
  }

  advance(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    return this.#save(name, checkpoint, previous, true)
  }

  list(): Promise<readonly NamedCheckpoint[]> {
    return this.#access.read((db) => listCheckpoints(db, this.#table))
  }

  async #save(
    name: string,
    checkpoint: Checkpoint,
    previous: number | undefined,
    isStrict: boolean,
  ): Promise<void> {
    const { position, storeId, eventId, fence } = checkpoint
    const plain = { position, storeId, eventId, fence }
    const write = this.#table === 'eventspine_checkpoints' ? 'saveCheckpoint' : 'saveRelay'
    const found = await this.#access.write(write, { name, checkpoint: plain, previous, isStrict })
    if (found !== undefined) throw new CheckpointConflictError(name, previous, found.actual)
  }
}
