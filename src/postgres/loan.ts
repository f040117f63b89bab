import type { PooledPostgresClient } from './client.ts'

/** A pool that reports each client that it hands out, as those of `pg` do. */
interface ReportingPool {
  on(event: 'acquire', listener: (client: PooledPostgresClient) => void): unknown
}

type LostClients = WeakMap<PooledPostgresClient, Error>

/** Stores of several schemas may share a pool, which needs one listener only. */
const lostClients = new WeakMap<object, LostClients>()

/**
 * The clients of a pool that broke while it handed them out. The pool stops listening to a client before `connect`
 * resolves. An error that the server sends in the same packet as its last answer is emitted in between, and would end
 * the process.
 */
export function lostClientsOf(pool: object): LostClients {
  const known = lostClients.get(pool)
  if (known !== undefined) return known
  const lost: LostClients = new WeakMap()
  lostClients.set(pool, lost)
  if (isReporting(pool)) {
    pool.on('acquire', (client) => {
      const note = (error: Error) => void lost.set(client, error)
      client.on?.('error', note)
      setImmediate(() => client.off?.('error', note))
    })
  }
  return lost
}

const isReporting = (pool: object): pool is ReportingPool => 'on' in pool && typeof pool.on === 'function'

/** A client that was taken from the pool. The pool listens to a client's errors only while it is idle. */
export class Loan {
  readonly client: PooledPostgresClient
  /** The error that broke the connection between two statements. */
  lost: Error | undefined
  readonly #onError = (error: Error) => {
    this.lost = error
  }

  /** @param lost - the error that broke the connection while the pool handed it out. */
  constructor(client: PooledPostgresClient, lost: Error | undefined) {
    this.client = client
    this.lost = lost
    client.on?.('error', this.#onError)
  }

  end(isBroken: boolean): void {
    this.client.off?.('error', this.#onError)
    this.client.release(isBroken || this.lost !== undefined)
  }
}
