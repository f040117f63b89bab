import { MemoryTable } from './memory-table.ts'

/** The state of an aggregate at one version, so that loading it need not begin at its first event. */
export interface Snapshot {
  readonly aggregateId: string
  readonly aggregateType: string
  /** Version of the aggregate whose state it is. */
  readonly version: number
  /** Version of the state's shape; a snapshot of another one is left aside. */
  readonly schemaVersion: number
  readonly state: unknown
  readonly takenAt: Date
}

/** Keeps the latest snapshot of each aggregate. Losing one costs time, never data. */
export interface SnapshotStore {
  load(aggregateType: string, aggregateId: string): Promise<Snapshot | undefined>
  /** Replaces the aggregate's snapshot, unless the one there has a higher version of the same schema. */
  save(snapshot: Snapshot): Promise<void>
  delete(aggregateType: string, aggregateId: string): Promise<void>
}

/** Keeps snapshots in memory. States are copied by `structuredClone`, both in and out. */
export class InMemorySnapshotStore implements SnapshotStore {
  readonly #snapshots: MemoryTable<Snapshot>

  /** @param table - of the transaction that it belongs to; one of its own by default. */
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
