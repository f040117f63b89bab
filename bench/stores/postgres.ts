import { randomUUID } from 'node:crypto'
import type { DomainEvent } from 'eventspine'
import { PostgresStores, type PostgresStoresOptions, postgresMigrationSql } from 'eventspine/postgres'
import { Pool } from 'pg'
import { launchBroker } from '../../test/brokers/launch-broker.ts'
import { addressVariables } from '../../test/brokers/shared-brokers.ts'
import { type BarePostgres, openBare } from './postgres-bare.ts'
import { OrderPlaced, OrderShipped } from './store-bench.ts'

/** A server, and stores on it. */
export interface PostgresScene {
  readonly postgresUrl: string
  readonly pool: Pool
  readonly version: string
  /** Stores in a schema of their own, unless one is named. */
  open(options?: PostgresStoresOptions): Promise<PostgresStores>
  /** The bare client in a schema of its own. */
  bare(): Promise<BarePostgres>
  close(): Promise<void>
}

export const freshSchema = (): string => `bench_${randomUUID().slice(0, 8)}`

export async function openPostgres(): Promise<PostgresScene> {
  const given = process.env[addressVariables.postgres]
  const config = ['fsync = on', 'shared_buffers = 512MB', 'max_wal_size = 4GB']
  const server =
    given === undefined ? await launchBroker('postgres', { config, isMeasured: true }) : undefined
  const postgresUrl = given ?? server?.url ?? ''
  const pool = new Pool({ connectionString: postgresUrl, max: 20 })
  const opened: PostgresStores[] = []
  const [{ server_version: version }] = (await pool.query('show server_version')).rows
  return {
    postgresUrl,
    pool,
    version: String(version),
    async open(options = {}) {
      const events = [OrderPlaced, OrderShipped]
      const own = { postgresUrl, schema: freshSchema(), events, migrate: 'run' as const }
      const stores = new PostgresStores({ ...own, ...options })
      opened.push(stores)
      await stores.ready()
      return stores
    },
    async bare() {
      const schema = freshSchema()
      await pool.query(postgresMigrationSql({ schema }))
      return openBare(pool, schema)
    },
    async close() {
      for (const stores of opened) await stores.close()
      await pool.end()
      await server?.dispose()
    },
  }
}

/** Appends events to a new stream. */
export function append({ events: store }: PostgresStores, events: readonly DomainEvent[]): Promise<unknown> {
  const aggregateId = events[0]?.aggregateId ?? ''
  const stream = { aggregateId, aggregateType: 'Order' }
  return store.appendEvents({ ...stream, events, expectedVersion: 'noStream' })
}
