import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash } from 'node:crypto'
import { IdleCounter } from '../kit/idle-counter.ts'
import { settledWithin } from '../kit/time.ts'
import type { Logger } from '../observability/logger.ts'
import { StoreClosedError, TransactionBypassError } from '../store/index.ts'
import { answered, isNoAnswer } from './answers.ts'
import { TransactionOpener } from './begin.ts'
import { type DedicatedClient, loadPostgres, type PooledPostgresClient, type PostgresPool } from './client.ts'
import {
  connectionFailure,
  isBroken,
  isTransient,
  PostgresTransactionAbortedError,
  STORE,
  translated,
} from './errors.ts'
import { Loan, lostClientsOf } from './loan.ts'
import type { ResolvedPostgresOptions } from './options.ts'
import { type Row, type Session, type Statement, type StatementStyle, sendStatement } from './session.ts'

/** Maximum number of attempts for a statement of the stores that the server aborts because of another one. */
const MAX_ATTEMPTS = 5

/** Maximum delay before such a statement is sent again, in milliseconds. */
const MAX_PAUSE_MS = 50

/** Maximum wait for connections to close, in milliseconds. */
const CLOSE_MS = 5000

/** Work in a transaction. @param rows - the number of rows of its first statement, if one was given. */
type TransactionWork<T> = (client: PooledPostgresClient, rows: number) => Promise<T>

interface OpenPool extends PostgresPool {
  readonly idleCount?: number
  end?(): Promise<void>
}

/** The pool. Every statement of the stores outside of a caller's transaction uses it. */
export class PostgresConnections implements Session {
  readonly style: StatementStyle
  readonly #options: ResolvedPostgresOptions
  readonly #logger: Logger
  readonly #opener: TransactionOpener
  readonly #inside = new AsyncLocalStorage<{ isOpen: boolean }>()
  readonly #underWay = new IdleCounter()
  #pool: Promise<OpenPool> | undefined
  #isClosed = false

  constructor(options: ResolvedPostgresOptions) {
    this.#options = options
    this.#logger = options.logger
    const id = createHash('sha256').update(options.schema).digest('hex').slice(0, 8)
    const prefix = options.prepare ? `eventspine_${id}_` : undefined
    this.#opener = new TransactionOpener(options)
    this.style = { prefix, answerTimeoutMs: options.answerTimeoutMs }
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
   * @param first - its first statement, without parameters. The work gets the number of its rows.
   * @throws the error of the work; StoreOutcomeUnknownError if the response to the commit was lost.
   */
  async transaction<T>(work: TransactionWork<T>, first?: string): Promise<T> {
    this.assertOutside('transaction')
    if (this.#isClosed) throw new StoreClosedError(STORE)
    const inside = { isOpen: true }
    try {
      return await this.#underWay.track(this.#inside.run(inside, () => this.#transact(work, first)))
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

  /** A connection did not answer. The idle ones of the pool may be as dead: they are closed, and the pool opens others. */
  dropIdle(): void {
    void this.#pool?.then(
      (pool) => {
        const idle = this.#isClosed ? 0 : (pool.idleCount ?? 0)
        for (let count = 0; count < idle; count += 1) giveBackLater(pool.connect(), true)
      },
      () => undefined, // its callers get the error
    )
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
    const ended = pool?.end?.()
    if (ended !== undefined) await settledWithin(ended, Math.min(this.style.answerTimeoutMs, CLOSE_MS))
  }

  async #lend<T>(work: (client: PooledPostgresClient) => Promise<T>): Promise<T> {
    const loan = await this.#borrow()
    try {
      const result = await work(loan.client)
      loan.end(false)
      return result
    } catch (thrown) {
      loan.end(isBroken(thrown))
      if (isNoAnswer(thrown)) this.dropIdle()
      throw thrown
    }
  }

  async #transact<T>(work: TransactionWork<T>, first: string | undefined): Promise<T> {
    const loan = await this.#borrow()
    const watch = this.#watch()
    try {
      const rows = await this.#opener.open(loan.client, first)
      const result = await work(loan.client, rows)
      // Nothing was stored, because the commit was not sent.
      if (loan.lost !== undefined) throw translated(loan.lost, false)
      await commit(loan.client, this.style.answerTimeoutMs)
      loan.end(false)
      return result
    } catch (thrown) {
      if (isNoAnswer(thrown)) this.#drop(loan)
      else await this.#rollback(loan)
      throw thrown
    } finally {
      clearTimeout(watch)
    }
  }

  /** Reports a transaction that stays open: no limit applies to the statements and the code of the caller. */
  #watch(): NodeJS.Timeout | undefined {
    const { answerTimeoutMs } = this.#options
    if (answerTimeoutMs === Number.POSITIVE_INFINITY) return undefined
    const report = () => this.#logger.warn('transaction still open', { openForMs: answerTimeoutMs })
    return setTimeout(report, answerTimeoutMs).unref()
  }

  /** Never rejects: if the rollback fails, the connection is closed, which also rolls back. */
  async #rollback(loan: Loan): Promise<void> {
    try {
      await answered(loan.client.query({ text: 'rollback' }), this.style.answerTimeoutMs)
      loan.end(false)
    } catch {
      loan.end(true) // the caller already gets the first error
    }
  }

  /** Closes a connection that does not answer. The server then rolls back. */
  #drop(loan: Loan): void {
    loan.end(true)
    this.dropIdle()
  }

  async #borrow(): Promise<Loan> {
    const pool = await this.#open()
    const lost = lostClientsOf(pool)
    const client = await this.#connect(pool)
    const loan = new Loan(client, lost.get(client))
    if (loan.lost === undefined) return loan
    loan.end(true)
    throw connectionFailure(loan.lost, pool)
  }

  async #connect(pool: OpenPool): Promise<PooledPostgresClient> {
    const connecting = pool.connect()
    try {
      // The stores' own pool has connectTimeoutMs. A given one may have no limit.
      if (this.#options.pool === undefined) return await connecting
      const { connectTimeoutMs, answerTimeoutMs } = this.#options
      return await answered(connecting, Math.max(connectTimeoutMs, answerTimeoutMs))
    } catch (thrown) {
      if (isNoAnswer(thrown)) giveBackLater(connecting, false)
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
    pool.on('error', (error) => {
      // The pool adds the client, which holds the password.
      Reflect.deleteProperty(error, 'client')
      this.#logger.warn('idle connection lost', { store: STORE, error })
    })
    return pool
  }
}

/** @throws StoreOutcomeUnknownError, PostgresTransactionAbortedError, or the server's error for the commit. */
async function commit(client: PooledPostgresClient, answerTimeoutMs: number): Promise<void> {
  let command: string | undefined
  try {
    command = (await answered(client.query({ text: 'commit' }), answerTimeoutMs)).command
  } catch (thrown) {
    throw translated(thrown, true)
  }
  if (command === 'ROLLBACK') throw new PostgresTransactionAbortedError()
}

/** Releases a connection that nobody uses, as soon as the pool gives it. */
function giveBackLater(connecting: Promise<PooledPostgresClient>, isBroken: boolean): void {
  connecting.then(
    (client) => client.release(isBroken),
    () => undefined, // there is none
  )
}
