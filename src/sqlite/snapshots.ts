import type { Snapshot, SnapshotStore } from '../store/index.ts'
import type { SqliteAccess } from './access.ts'
import { text } from './rows.ts'

export class SqliteSnapshotStore implements SnapshotStore {
  readonly #access: SqliteAccess

  constructor(access: SqliteAccess) {
    this.#access = access
  }

  async load(aggregateType: string, aggregateId: string): Promise<Snapshot | undefined> {
    const row = await this.#access.read((db) =>
      db.get(
        'select version, schema_version, state, taken_at from eventspine_snapshots where aggregate_type = ? and aggregate_id = ?',
        ...[aggregateType, aggregateId],
      ),
    )
    return (
      row && {
        ...{ aggregateType, aggregateId },
        version: Number(row['version']),
        schemaVersion: Number(row['schema_version']),
        state: JSON.parse(text(row['state'])),
        takenAt: new Date(Number(row['taken_at'])),
      }
    )
  }

  async save({ state, takenAt, ...snapshot }: Snapshot): Promise<void> {
    const json = JSON.stringify(state) ?? 'null'
    await this.#access.write(
      'saveSnapshot',
      { ...snapshot, state: json, takenAt: takenAt.getTime() },
      json.length,
    )
  }

  async delete(aggregateType: string, aggregateId: string): Promise<void> {
    await this.#access.write('deleteSnapshot', { aggregateType, aggregateId })
  }
}
