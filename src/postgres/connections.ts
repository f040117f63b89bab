import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash } from 'node:crypto'
import { IdleCounter } from '../kit/idle-counter.ts'
import type { Logger } from '../observability/logger.ts'
import { StoreClosedError, TransactionBypassError } from '../store/index.ts'
import { type DedicatedClient, loadPostgres, type PooledPostgresClient, type PostgresPool } from './client.ts'
import {
  connectionFailure,
  isBroken,
  isTransient,
  PostgresTransactionAbortedError,
  STORE,
  translated,
} from './errors.ts'
import type { ResolvedPostgresOptions } from './options.ts'
import { type Row, type Session, type Statement, type StatementStyle, sendStatement } from './session.ts'

/** Maximum number of attempts for a statement of the stores that the server aborts because of another one. */
const MAX_ATTEMPTS = 5

/** Maximum delay before such a statement is sent again, in milliseconds. */
const MAX_PAUSE_MS = 50

interface OpenPool extends PostgresPool {
  end?(): Promise<void>
}

/** The pool. Every statement of the stores outside of a caller's transaction uses it. */
export class PostgresConnections implements Session {
  readonly style: StatementStyle
  readonly #options: ResolvedPostgresOptions
  readonly #logger: Logger
  readonly #inside = new AsyncLocalStorage<{ isOpen: boolean }>()
  readonly #underWay = new IdleCounter()
  #pool: Promise<OpenPool> | undefined
  #isClosed = false

  constructor(options: ResolvedPostgresOptions) {
    this.#options = options
    this.#logger = options.logger
    const id = createHash('sha256').update(options.schema).digest('hex').slice(0, 8)
    this.style = { prefix: options.prepare ? `eventspine_${id}_` : undefined }
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Runs a statement on any connection. Repeats it if the server aborts it because of another one. */
  async run(statement: Statement, values: readonly unknown[] = []): Promise<readonly Row[]> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.withClient((client) => sendStatement(client, this.style, statement, values))
      } catch (thrown) {
        if (!isTransient(thrown) || attempt >= MAX_ATTEMPTS)
          throw translated(thrown, statement.isWrite === true)
        await new Promise((resolve) => setTimeout(resolve, Math.random() * MAX_PAUSE_MS))
      }
    }
  }

  /** Runs work with a connection of the pool, and closes it if it broke. @throws the error of the work. */
  async withClient<T>(work: (client: PooledPostgresClient) => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new StoreClosedError(STORE)
    this.#underWay.start()
    try {
      return await this.#lend(work)
    } finally {
      this.#underWay.end()
    }
  }

  /**
   * Runs work in a transaction.
   * @throws the error of the work; StoreOutcomeUnknownError if the response to the commit was lost.
   */
  async transaction<T>(work: (client: PooledPostgresClient) => Promise<T>): Promise<T> {
    this.assertOutside('transaction')
    if (this.#isClosed) throw new StoreClosedError(STORE)
    const inside = { isOpen: true }
    try {
      return await this.#underWay.track(this.#inside.run(inside, () => this.#transact(work)))
    } finally {
      inside.isOpen = false
    }
  }

  /** @throws TransactionBypassError inside `transaction`. */
  assertOutside(operation: string): void {
    if (this.#inside.getStore()?.isOpen === true) throw new TransactionBypassError(operation)
  }

  /** A connection outside of the pool; undefined if the pool does not expose how to create one. */
  async dedicated(): Promise<DedicatedClient | undefined> {
    const pool = await this.#open()
    const config: unknown = Reflect.get(pool, 'options')
    const Client: unknown = Reflect.get(pool, 'Client')
    if (typeof config !== 'object' || typeof Client !== 'function') return undefined
    const options = { ...config, keepAlive: true, connectionTimeoutMillis: this.#options.connectTimeoutMs }
    // A pool of `pg` has the class of its clients as `Client`.
    return new (Client as new (config: object) => DedicatedClient)(options)
  }

  /** Resolves when no call is in flight. */
  settled(): Promise<void> {
    return this.#underWay.whenIdle()
  }

  /** Waits for calls in flight, then closes the pool if the stores created it. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#underWay.whenIdle()
    if (this.#options.pool !== undefined || this.#pool === undefined) return
    const pool = await this.#pool.catch(() => undefined)
    await pool?.end?.()
  }

  async #lend<T>(work: (client: PooledPostgresClient) => Promise<T>): Promise<T> {
    const loan = await this.#borrow()
    try {
      const result = await work(loan.client)
      loan.end(false)
      return result
    } catch (thrown) {
      loan.end(isBroken(thrown))
      throw thrown
    }
  }

  async #transact<T>(work: (client: PooledPostgresClient) => Promise<T>): Promise<T> {
    const loan = await this.#borrow()
    try {
      await this.#begin(loan.client)
      const result = await work(loan.client)
      // Nothing was stored, because the commit was not sent.
      if (loan.lost !== undefined) throw translated(loan.lost, false)
      await commit(loan.client)
      loan.end(false)
      return result
    } catch (thrown) {
      await this.#rollback(loan)
      throw thrown
    }
  }

  async #begin(client: PooledPostgresClient): Promise<void> {
    const { idleTransactionTimeoutMs } = this.#options
    const isLimited = idleTransactionTimeoutMs !== Number.POSITIVE_INFINITY
    const limit = `; set local idle_in_transaction_session_timeout = ${idleTransactionTimeoutMs}`
    try {
      await client.query({ text: `begin${isLimited ? limit : ''}` })
    } catch (thrown) {
      throw translated(thrown, false)
    }
  }

  /** Never rejects: if the rollback fails, the connection is closed, which also rolls back. */
  async #rollback(loan: Loan): Promise<void> {
    try {
      await loan.client.query({ text: 'rollback' })
      loan.end(false)
    } catch {
      loan.end(true) // the caller already gets the first error
    }
  }

  async #borrow(): Promise<Loan> {
    const pool = await this.#open()
    try {
      return new Loan(await pool.connect())
    } catch (thrown) {
      throw connectionFailure(thrown, pool)
    }
  }

  #open(): Promise<OpenPool> {
    this.#pool ??= this.#create()
    return this.#pool
  }

  async #create(): Promise<OpenPool> {
    const { pool: given, postgresUrl, poolSize, connectTimeoutMs } = this.#options
    if (given !== undefined) return given
    const { Pool } = await loadPostgres()
    const pool = new Pool({
      connectionString: postgresUrl,
      max: poolSize,
      connectionTimeoutMillis: connectTimeoutMs,
      keepAlive: true,
      application_name: 'eventspine',
    })
    // A connection broke while it was idle; the pool creates another one.
    pool.on('error', (error) => this.#logger.warn('idle connection lost', { store: STORE, error }))
    return pool
  }
}

/** A client that was taken from the pool. The pool listens to a client's errors only while it is idle. */
class Loan {
  readonly client: PooledPostgresClient
  /** The error that broke the connection between two statements. */
  lost: Error | undefined
  readonly #onError = (error: Error) => {
    this.lost = error
  }

  constructor(client: PooledPostgresClient) {
    this.client = client
    client.on?.('error', this.#onError)
  }

  end(isBroken: boolean): void {
    this.client.off?.('error', this.#onError)
    this.client.release(isBroken || this.lost !== undefined)
  }
}

/** @throws StoreOutcomeUnknownError, PostgresTransactionAbortedError, or the server's error for the commit. */
async function commit(client: PooledPostgresClient): Promise<void> {
  let command: string | undefined
  try {
    command = (await client.query({ text: 'commit' })).command
  } catch (thrown) {
    throw translated(thrown, true)
  }
  if (command === 'ROLLBACK') throw new PostgresTransactionAbortedError()
}
