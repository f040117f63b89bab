import type { Lease, LeaseStore } from '../subscriptions/index.ts'
import { checkKey } from './append-statement.ts'
import { numberOf, type Session, type Statement } from './session.ts'

/** Notifies other processes of a released lease. */
export interface ReleaseSignal {
  send(): void
  listen(listener: () => void): () => void
}

/** Leases as rows, timed by the server's clock. They survive the loss of a connection, and all processes can read them. */
export class PostgresLeaseStore implements LeaseStore {
  readonly #session: Session
  readonly #signal: ReleaseSignal
  readonly #statements: ReturnType<typeof statementsFor>

  constructor(session: Session, schema: string, signal: ReleaseSignal) {
    this.#session = session
    this.#signal = signal
    this.#statements = statementsFor(`${schema}.leases`)
  }

  async acquire(name: string, owner: string, ttlMs: number): Promise<Lease | undefined> {
    checkKey('name', name)
    checkKey('owner', owner)
    const [row] = await this.#session.run(this.#statements.acquire, [name, owner, ttlMs])
    return row && { fence: numberOf(row[0]) }
  }

  async release(name: string, owner: string): Promise<void> {
    const released = await this.#session.run(this.#statements.release, [name, owner])
    if (released.length > 0) this.#signal.send()
  }

  onRelease(listener: () => void): () => void {
    return this.#signal.listen(listener)
  }
}

function statementsFor(table: string) {
  const now = 'clock_timestamp()'
  return {
    acquire: {
      key: 'acquire_lease',
      text:
        `insert into ${table} as present (name, owner, fence, expires_at) ` +
        `values ($1, $2, (date_part('epoch', ${now}) * 1000)::bigint, ${now} + $3 * interval '1 ms') ` +
        'on conflict (name) do update set owner = excluded.owner, expires_at = excluded.expires_at, ' +
        'fence = case when present.owner = excluded.owner then present.fence ' +
        'else greatest(present.fence + 1, excluded.fence) end ' +
        `where present.owner = excluded.owner or present.expires_at <= ${now} returning fence`,
      isWrite: true,
    },
    // The row stays, because its fencing number must not be used again.
    release: {
      key: 'release_lease',
      text: `update ${table} set owner = '', expires_at = '-infinity' where name = $1 and owner = $2 returning 1`,
      isWrite: true,
    },
  } satisfies Record<string, Statement>
}
