import { answered } from './answers.ts'
import type { PooledPostgresClient } from './client.ts'
import { translated } from './errors.ts'

export interface TransactionLimits {
  readonly idleTransactionTimeoutMs: number
  readonly transactionStatementTimeoutMs: number
  readonly answerTimeoutMs: number
}

/** Opens the transactions of the stores. */
export class TransactionOpener {
  readonly #begin: string
  readonly #answerTimeoutMs: number
  /** False for a pool whose clients do not return the answer of each statement. */
  #answersEach = true

  constructor({
    idleTransactionTimeoutMs,
    transactionStatementTimeoutMs,
    answerTimeoutMs,
  }: TransactionLimits) {
    const idle = localSetting('idle_in_transaction_session_timeout', idleTransactionTimeoutMs)
    const statement = localSetting('statement_timeout', transactionStatementTimeoutMs)
    this.#begin = `begin${idle}${statement}`
    this.#answerTimeoutMs = answerTimeoutMs
  }

  /**
   * @param first - a statement without parameters, which is sent together with `begin`, so that it takes no round trip.
   * @returns the number of rows of the first statement; 0 without one.
   * @throws the typed error. The transaction may be open then.
   */
  async open(client: PooledPostgresClient, first?: string): Promise<number> {
    if (first === undefined) {
      await this.#send(client, this.#begin)
      return 0
    }
    if (this.#answersEach) {
      const rows = rowsOf(lastOf(await this.#send(client, `${this.#begin}; ${first}`)))
      if (rows !== undefined) return rows
      // One answer for all statements does not tell the rows of the last one.
      this.#answersEach = false
      await this.#send(client, 'rollback')
    }
    await this.#send(client, this.#begin)
    return rowsOf(await this.#send(client, first)) ?? 0
  }

  async #send(client: PooledPostgresClient, text: string): Promise<unknown> {
    try {
      return await answered(client.query({ text }), this.#answerTimeoutMs)
    } catch (thrown) {
      throw translated(thrown, false)
    }
  }
}

/** The last answer of a text with several statements. A client of `pg` returns an array for it. */
const lastOf = (answer: unknown): unknown => (Array.isArray(answer) ? answer.at(-1) : undefined)

function rowsOf(answer: unknown): number | undefined {
  if (typeof answer !== 'object' || answer === null || !('rows' in answer)) return undefined
  return Array.isArray(answer.rows) ? answer.rows.length : undefined
}

/** A setting for one transaction, to follow another statement. Empty for Infinity. */
function localSetting(name: string, ms: number): string {
  return ms === Number.POSITIVE_INFINITY ? '' : `; set local ${name} = ${ms}`
}
