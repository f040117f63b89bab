import { MemoryTable } from './memory-table.ts'

/** The state of an aggregate at one version, so that loading does not have to start at the first event. */
export interface Snapshot {
  readonly aggregateId: string
  readonly aggregateType: string
  /** Version of the aggregate that has this state. */
  readonly version: number
  /** Version of the state's shape. Snapshots of other versions are ignored. */
  readonly schemaVersion: number
  readonly state: unknown
  readonly takenAt: Date
}

/** Stores the latest snapshot of each aggregate. If a snapshot is lost, loading takes longer, but no data is lost. */
export interface SnapshotStore {
  load(aggregateType: string, aggregateId: string): Promise<Snapshot | undefined>
  /** Replaces the snapshot of the aggregate, unless the stored one has a higher version of the same schema. */
  save(snapshot: Snapshot): Promise<void>
  delete(aggregateType: string, aggregateId: string): Promise<void>
}

/** Keeps snapshots in memory. States are copied by `structuredClone` when they are saved and loaded. */
export class InMemorySnapshotStore implements SnapshotStore {
  readonly #snapshots: MemoryTable<Snapshot>

  /** @param table - the table of a transaction. Default: a new table. */
  constructor(table = new MemoryTable<Snapshot>()) {
    this.#snapshots = table
  }

  async load(aggregateType: string, aggregateId: string): Promise<Snapshot | undefined> {
    return structuredClone(this.#snapshots.get(keyOf(aggregateType, aggregateId)))
  }

  async save(snapshot: Snapshot): Promise<void> {
    const key = keyOf(snapshot.aggregateType, snapshot.aggregateId)
    const present = this.#snapshots.get(key)
    if (present?.schemaVersion === snapshot.schemaVersion && present.version > snapshot.version) return
    this.#snapshots.set(key, structuredClone(snapshot))
  }

  async delete(aggregateType: string, aggregateId: string): Promise<void> {
    this.#snapshots.delete(keyOf(aggregateType, aggregateId))
  }
}

function keyOf(aggregateType: string, aggregateId: string): string {
  return JSON.stringify([aggregateType, aggregateId])
}
