import { EventspineError } from '../errors.ts'

/** A statement in the form that the client of the npm package `pg` accepts. */
export interface PostgresQuery {
  readonly text: string
  readonly values?: unknown[]
  /** A named statement is prepared once per connection. */
  readonly name?: string
  readonly rowMode?: 'array'
  readonly types?: { getTypeParser(): (text: string) => unknown }
}

/** The server's answer. */
export interface PostgresResult {
  readonly rows: unknown[]
  readonly rowCount: number | null
  readonly command?: string
}

/**
 * The part of a `pg` client that the stores use: a `Client` of `pg`, or any object with the same methods. Kysely,
 * Drizzle, Knex and TypeORM give access to their client.
 */
export interface PostgresClient {
  query(query: PostgresQuery): Promise<PostgresResult>
}

/** A client of a pool. `release(true)` closes its connection. */
export interface PooledPostgresClient extends PostgresClient {
  release(destroy?: boolean | Error): void
  on?(event: 'error', listener: (error: Error) => void): unknown
  off?(event: 'error', listener: (error: Error) => void): unknown
}

/** A client of the pool that the stores create for `postgresUrl`: it also takes a text and values, as `pg` does. */
export interface OwnPoolClient extends PooledPostgresClient {
  query(query: PostgresQuery): Promise<PostgresResult>
  query(text: string, values?: unknown[]): Promise<PostgresResult>
}

/** The part of a `pg` pool that the stores use. */
export interface PostgresPool<Client extends PooledPostgresClient = PooledPostgresClient> {
  connect(): Promise<Client>
  // The overloads of `pg`: TypeScript infers the type of the client from them, pair by pair.
  connect(callback: never): void
}

/** A connection outside of the pool, for wake-ups and leases, which must not wait for a connection of the pool. */
export interface DedicatedClient extends PostgresClient {
  connect(): Promise<unknown>
  end(): Promise<unknown>
  on(event: 'error' | 'end' | 'notification', listener: (value: unknown) => void): unknown
  /** Process id of the session as reported at the start, by the server or by a pooler in between. */
  readonly processID?: number | null
}

/** The exports of `pg` that are used. It is loaded when the first connection is opened. */
export interface PostgresPackage {
  readonly Pool: new (config: object) => PostgresPool & { end(): Promise<void> } & EventSource
  readonly Client: new (config: object) => DedicatedClient
}

interface EventSource {
  on(event: 'error', listener: (error: Error) => void): unknown
}

/** The npm package that speaks PostgreSQL's protocol. A variable, so that its types stay out of the declarations. */
const PACKAGE: string = 'pg'

/** True if the npm package `pg` can be loaded. */
export const POSTGRES_AVAILABLE: boolean = canResolve()

/** The npm package `pg` is not installed. */
export class PostgresNotAvailableError extends EventspineError {
  static override readonly name = 'PostgresNotAvailableError'
  readonly code = 'POSTGRES_NOT_AVAILABLE'

  constructor() {
    super('PostgresStores needs the npm package "pg", which is not installed. Run: npm install pg@8')
  }
}

/** @throws PostgresNotAvailableError */
export async function loadPostgres(): Promise<PostgresPackage> {
  if (!POSTGRES_AVAILABLE) throw new PostgresNotAvailableError()
  const loaded: { readonly default?: unknown } = await import(PACKAGE)
  // The package is CommonJS: its default export has all its exports.
  return loaded.default as PostgresPackage
}

function canResolve(): boolean {
  try {
    import.meta.resolve(PACKAGE)
    return true
  } catch {
    // Not installed: the constant stays false.
    return false
  }
}
