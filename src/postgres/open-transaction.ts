import { TransactionRequiredError } from '../store/index.ts'
import type { PostgresClient } from './client.ts'
import { sqlStateOf } from './errors.ts'

/** SQLSTATE for a statement that is allowed only in a transaction. */
const NO_TRANSACTION = '25P01'

/** @throws TransactionRequiredError for a pool, which would run each statement on any of its connections. */
export function refusePool(client: PostgresClient): void {
  if (typeof Reflect.get(client, 'totalCount') !== 'number') return
  throw new TransactionRequiredError('within', 'a pool')
}

/** Checks whether a caller's connection has an open transaction. */
export class OpenTransactionCheck {
  readonly #client: PostgresClient
  #wasFound = false

  constructor(client: PostgresClient) {
    this.#client = client
  }

  /** @throws TransactionRequiredError */
  async assertOpen(operation: string): Promise<void> {
    const status = statusOf(this.#client)
    if (status === 'I') throw new TransactionRequiredError(operation, 'a connection without one')
    if (status !== undefined || this.#wasFound) return
    await this.#probe(operation)
    this.#wasFound = true
  }

  /**
   * Used for a client that does not know its transaction status. The server allows a savepoint only in a transaction.
   */
  async #probe(operation: string): Promise<void> {
    try {
      await this.#client.query({ text: 'savepoint eventspine_probe' })
    } catch (thrown) {
      if (sqlStateOf(thrown) !== NO_TRANSACTION) throw thrown
      throw new TransactionRequiredError(operation, 'a connection without one')
    }
    await this.#client.query({ text: 'release savepoint eventspine_probe' })
  }
}

/**
 * The transaction status that a client of `pg` knows; `I` means no transaction. Undefined if the client does not know
 * it.
 */
function statusOf(client: PostgresClient): string | undefined {
  if (!('getTransactionStatus' in client) || typeof client.getTransactionStatus !== 'function') {
    return undefined
  }
  const status: unknown = client.getTransactionStatus()
  return typeof status === 'string' ? status : undefined
}
