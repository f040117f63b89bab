import { answered } from './answers.ts'
import type { PostgresClient, PostgresQuery } from './client.ts'
import { translated } from './errors.ts'

export type Cell = string | null

/** The columns of a row as text, in the order of the statement. */
export type Row = readonly Cell[]

/** The channel of all stores of a database. The payload names the store. */
export const CHANNEL = 'eventspine'

export interface Statement {
  /** Name of the prepared statement on a connection. */
  readonly key: string
  readonly text: string
  /** True if it is unknown after a lost response whether the statement has stored something. */
  readonly isWrite?: boolean
}

/** Runs statements: on any connection of a pool, or in a transaction. */
export interface Session {
  /** @throws the typed error for an error of the server or the network. */
  run(statement: Statement, values?: readonly unknown[]): Promise<readonly Row[]>
}

/** Returns every column as text, so that the application's global type parsers do not apply. */
const AS_TEXT = { getTypeParser: () => (text: string) => text }

/** How statements are sent. */
export interface StatementStyle {
  /** Prefix of the names of prepared statements; undefined to use none. */
  readonly prefix: string | undefined
  /** Maximum wait for an answer, in milliseconds; Infinity for no limit. */
  readonly answerTimeoutMs: number
}

/** One connection. Runs one statement at a time, as the client requires. */
export class ClientSession implements Session {
  readonly #client: PostgresClient
  readonly #style: StatementStyle
  #last: Promise<unknown> | undefined

  constructor(client: PostgresClient, style: StatementStyle) {
    this.#client = client
    this.#style = style
  }

  async run(statement: Statement, values: readonly unknown[] = []): Promise<readonly Row[]> {
    try {
      return await this.send(statement, values)
    } catch (thrown) {
      throw translated(thrown, statement.isWrite === true)
    }
  }

  /** As `run`, with the client's own errors. */
  send(statement: Statement, values: readonly unknown[] = []): Promise<readonly Row[]> {
    return this.#inTurn(() => sendStatement(this.#client, this.#style, statement, values))
  }

  /** A client of `pg` must run one statement at a time. */
  #inTurn<T>(send: () => Promise<T>): Promise<T> {
    const before = this.#last
    const answer = before === undefined ? send() : before.then(send)
    const settled = Promise.allSettled([answer])
    this.#last = settled
    void settled.then(() => {
      if (this.#last === settled) this.#last = undefined
    })
    return answer
  }
}

/**
 * Sends one statement to a client that runs no other statement meanwhile.
 * @throws the client's own errors, or NoAnswerError: then the client still waits, and must be discarded.
 */
export async function sendStatement(
  client: PostgresClient,
  { prefix, answerTimeoutMs }: StatementStyle,
  { key, text }: Statement,
  values: readonly unknown[],
): Promise<readonly Row[]> {
  const query: PostgresQuery = {
    text,
    values: [...values],
    rowMode: 'array',
    types: AS_TEXT,
    ...(prefix !== undefined && { name: prefix + key }),
  }
  const { rows } = await answered(client.query(query), answerTimeoutMs)
  // Rows are arrays of texts by rowMode and types.
  return rows as readonly Row[]
}

export const textOf = (cell: Cell | undefined): string => cell ?? ''

export const numberOf = (cell: Cell | undefined): number => Number(cell)

/** A limit as the server accepts it: a `bigint`, which has no Infinity. */
export const atMost = (limit: number): number => Math.min(limit, Number.MAX_SAFE_INTEGER)

export const optionalNumber = (cell: Cell | undefined): number | undefined =>
  cell === null || cell === undefined ? undefined : Number(cell)

export const isTrue = (cell: Cell | undefined): boolean => cell === 't'

/** Converts seconds since 1970 to milliseconds, truncated; the server stores microseconds. */
export const millisecondsOf = (cell: Cell | undefined): number => Math.floor(Number(cell) * 1000 + 0.0005)

/** Converts seconds since 1970 to a time. */
export const dateOf = (cell: Cell | undefined): Date => new Date(millisecondsOf(cell))

/** A quoted name for SQL. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

/**
 * A text as a literal for SQL. The form with `E` means the same whatever `standard_conforming_strings` is. The text must
 * have no zero byte.
 */
export function literal(text: string): string {
  const doubled = text.replaceAll("'", "''")
  return doubled.includes('\\') ? ` E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`
}
