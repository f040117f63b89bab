import type { Lease, LeaseStore } from '../subscriptions/index.ts'
import type { SqliteAccess } from './access.ts'
import type { SqliteWatch } from './watch.ts'

export class SqliteLeaseStore implements LeaseStore {
  readonly #access: SqliteAccess
  readonly #watch: SqliteWatch

  constructor(access: SqliteAccess, watch: SqliteWatch) {
    this.#access = access
    this.#watch = watch
  }

  acquire(name: string, owner: string, ttlMs: number): Promise<Lease | undefined> {
    return this.#access.write('acquireLease', { name, owner, ttlMs })
  }

  async release(name: string, owner: string): Promise<void> {
    await this.#access.write('releaseLease', { name, owner })
  }

  onRelease(listener: () => void): () => void {
    return this.#watch.onRelease(listener)
  }
}
