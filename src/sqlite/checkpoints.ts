import { type Checkpoint, CheckpointConflictError, type CheckpointStore } from '../subscriptions/index.ts'
import type { SqliteAccess } from './access.ts'
import { optionalText } from './rows.ts'

export class SqliteCheckpointStore implements CheckpointStore {
  readonly #access: SqliteAccess

  constructor(access: SqliteAccess) {
    this.#access = access
  }

  async load(name: string): Promise<Checkpoint | undefined> {
    const sql = 'select position, store_id, event_id, fence from eventspine_checkpoints where name = ?'
    const row = await this.#access.read((db) => db.get(sql, name))
    if (row === undefined) return undefined
    const fence = row['fence']
    return {
      position: Number(row['position']),
      storeId: optionalText(row['store_id']) ?? undefined,
      eventId: optionalText(row['event_id']) ?? undefined,
      fence: typeof fence === 'number' ? fence : undefined,
    }
  }

  async save(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    const { position, storeId, eventId, fence } = checkpoint
    const plain = { position, storeId, eventId, fence }
    const found = await this.#access.write('saveCheckpoint', { name, checkpoint: plain, previous })
    if (found !== undefined) throw new CheckpointConflictError(name, previous, found.actual)
  }
}
