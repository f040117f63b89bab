import type { Checkpoint, NamedCheckpoint } from '../subscriptions/index.ts'
import { optionalText, text } from './rows.ts'
import type { SqliteRow, SqliteStatements } from './statements.ts'

/** The stored checkpoint that made a save fail; undefined if the save succeeded. */
export interface FoundCheckpoint {
  readonly actual: number | undefined
}

export interface CheckpointArguments {
  readonly name: string
  readonly checkpoint: Checkpoint
  readonly previous: number | undefined
  /** True if the stored position must be the previous one, even if the new one is stored already. */
  readonly isStrict?: boolean
}

/** The tables of checkpoints: of the subscriptions to the event store, and of the relays of the outbox. */
export type CheckpointTable = 'eventspine_checkpoints' | 'eventspine_outbox_relays'

export function loadCheckpoint(
  db: SqliteStatements,
  table: CheckpointTable,
  name: string,
): Checkpoint | undefined {
  const row = db.get(`select position, store_id, event_id, fence from ${table} where name = ?`, name)
  return row && checkpointOf(row)
}

/** In byte order, as SQLite compares texts. */
export function listCheckpoints(db: SqliteStatements, table: CheckpointTable): readonly NamedCheckpoint[] {
  const rows = db.all(
    `select name, position, store_id, event_id, fence, saved_at from ${table} order by name`,
  )
  return rows.map((row) => ({
    ...checkpointOf(row),
    name: text(row['name']),
    savedAt: new Date(Number(row['saved_at'])),
  }))
}

/** @returns the stored checkpoint because of which nothing was saved; undefined if it was saved. */
export function saveCheckpointIn(
  db: SqliteStatements,
  table: CheckpointTable,
  { name, checkpoint, previous, isStrict = false }: CheckpointArguments,
): FoundCheckpoint | undefined {
  const present = loadCheckpoint(db, table, name)
  const { position, storeId = null, eventId = null, fence = null } = checkpoint
  const actual = present?.position
  const isFenced = fence !== null && fence < (present?.fence ?? 0)
  const isInPlace = actual === previous || (actual === position && !isStrict)
  if (!isInPlace || isFenced) return { actual }
  db.run(
    `insert or replace into ${table} (name, position, store_id, event_id, fence, saved_at) values (?, ?, ?, ?, ?, ?)`,
    ...[name, position, storeId, eventId, fence ?? present?.fence ?? null, Date.now()],
  )
  return undefined
}

function checkpointOf(row: SqliteRow): Checkpoint {
  const fence = row['fence']
  return {
    position: Number(row['position']),
    storeId: optionalText(row['store_id']) ?? undefined,
    eventId: optionalText(row['event_id']) ?? undefined,
    fence: typeof fence === 'number' ? fence : undefined,
  }
}
