import { EventspineError } from '../errors.ts'

/** A statement as the client of the npm package `pg` takes it. */
export interface PostgresQuery {
  readonly text: string
  readonly values?: unknown[]
  /** A named statement is prepared once per connection. */
  readonly name?: string
  readonly rowMode?: 'array'
  readonly types?: { getTypeParser(): (text: string) => unknown }
}

/** What the server answers. */
export interface PostgresResult {
  readonly rows: unknown[]
  readonly rowCount: number | null
  readonly command?: string
}

/**
 * What the stores use of a `pg` client: its `Client`, and whatever answers like it. Kysely, Drizzle, Knex and TypeORM
 * pass on the one that they hold.
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

/** What the stores use of a `pg` pool. */
export interface PostgresPool<Client extends PooledPostgresClient = PooledPostgresClient> {
  connect(): Promise<Client>
  // As `pg` has it: the type of the client is inferred from overloads pair by pair.
  connect(callback: never): void
}

/** A connection outside of a pool, for what must not queue for one: wake-ups and leases. */
export interface DedicatedClient extends PostgresClient {
  connect(): Promise<unknown>
  end(): Promise<unknown>
  on(event: 'error' | 'end' | 'notification', listener: (value: unknown) => void): unknown
  /** Process id of the session as the server, or a pooler between, said at the start. */
  readonly processID?: number | null
}

/** The package that is loaded when the first connection is made. */
export interface PostgresPackage {
  readonly Pool: new (config: object) => PostgresPool & { end(): Promise<void> } & EventSource
  readonly Client: new (config: object) => DedicatedClient
}

interface EventSource {
  on(event: 'error', listener: (error: Error) => void): unknown
}

/** The npm package that speaks PostgreSQL's protocol. A variable, so that its types stay out of ours. */
const PACKAGE: string = 'pg'

/** True when the npm package `pg` can be loaded. */
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
  // The package is CommonJS: all that it exports is the default export, too.
  return loaded.default as PostgresPackage
}

function canResolve(): boolean {
  try {
    import.meta.resolve(PACKAGE)
    return true
  } catch {
    // Not installed: what the constant says.
    return false
  }
}
