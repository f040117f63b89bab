import type { Snapshot, SnapshotStore } from '../store/index.ts'
import { checkKey } from './append-statement.ts'
import { dateOf, numberOf, type Session, type Statement } from './session.ts'

/** The latest snapshot of each aggregate. States are stored as JSON. */
export class PostgresSnapshotStore implements SnapshotStore {
  readonly #session: Session
  readonly #statements: ReturnType<typeof statementsFor>

  constructor(session: Session, schema: string) {
    this.#session = session
    this.#statements = statementsFor(`${schema}.snapshots`)
  }

  async load(aggregateType: string, aggregateId: string): Promise<Snapshot | undefined> {
    const [row] = await this.#session.run(this.#statements.load, [aggregateType, aggregateId])
    if (row === undefined) return undefined
    const [version, schemaVersion, state, takenAt] = row
    return {
      aggregateType,
      aggregateId,
      version: numberOf(version),
      schemaVersion: numberOf(schemaVersion),
      state: state === null || state === undefined ? undefined : JSON.parse(state),
      takenAt: dateOf(takenAt),
    }
  }

  async save({
    aggregateType,
    aggregateId,
    version,
    schemaVersion,
    state,
    takenAt,
  }: Snapshot): Promise<void> {
    checkKey('aggregateType', aggregateType)
    checkKey('aggregateId', aggregateId)
    const json = state === undefined ? null : JSON.stringify(state)
    const values = [aggregateType, aggregateId, version, schemaVersion, json, takenAt.toISOString()]
    await this.#session.run(this.#statements.save, values)
  }

  async delete(aggregateType: string, aggregateId: string): Promise<void> {
    await this.#session.run(this.#statements.delete, [aggregateType, aggregateId])
  }
}

function statementsFor(table: string) {
  return {
    load: {
      key: 'load_snapshot',
      text:
        `select version, schema_version, state::text, date_part('epoch', taken_at) from ${table} ` +
        'where aggregate_type = $1 and aggregate_id = $2',
    },
    save: {
      key: 'save_snapshot',
      text:
        `insert into ${table} as present (aggregate_type, aggregate_id, version, schema_version, state, taken_at) ` +
        'values ($1, $2, $3, $4, $5, $6) on conflict (aggregate_type, aggregate_id) do update set ' +
        'version = excluded.version, schema_version = excluded.schema_version, state = excluded.state, ' +
        'taken_at = excluded.taken_at ' +
        'where present.schema_version <> excluded.schema_version or present.version <= excluded.version',
      isWrite: true,
    },
    delete: {
      key: 'delete_snapshot',
      text: `delete from ${table} where aggregate_type = $1 and aggregate_id = $2`,
      isWrite: true,
    },
  } satisfies Record<string, Statement>
}
