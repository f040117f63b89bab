import type { PostgresClient, PostgresQuery } from './client.ts'
import { translated } from './errors.ts'

export type Cell = string | null

/** Columns as the server writes them, in the order of the statement. */
export type Row = readonly Cell[]

export interface Statement {
  /** Names it among the prepared statements of a connection. */
  readonly key: string
  readonly text: string
  /** A lost answer leaves open whether it is stored. */
  readonly isWrite?: boolean
}

/** Where statements run: on any connection of a pool, or in a transaction. */
export interface Session {
  /** @throws the typed error of what the server, or the network, reports. */
  run(statement: Statement, values?: readonly unknown[]): Promise<readonly Row[]>
}

/** Every column as text: no global type parser of the application is in between. */
const AS_TEXT = { getTypeParser: () => (text: string) => text }

/** How statements are sent. */
export interface StatementStyle {
  /** Begins the names of prepared statements; undefined for none. */
  readonly prefix: string | undefined
}

/** One connection: one statement at a time, as the client wants it. */
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

  /** `pg` wants to be asked one thing at a time. */
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

/** Sends one statement to a client that is asked nothing else meanwhile. @throws the client's own errors. */
export async function sendStatement(
  client: PostgresClient,
  { prefix }: StatementStyle,
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
  const { rows } = await client.query(query)
  // Rows are arrays of texts by rowMode and types.
  return rows as readonly Row[]
}

export const textOf = (cell: Cell | undefined): string => cell ?? ''

export const numberOf = (cell: Cell | undefined): number => Number(cell)

export const optionalNumber = (cell: Cell | undefined): number | undefined =>
  cell === null || cell === undefined ? undefined : Number(cell)

export const isTrue = (cell: Cell | undefined): boolean => cell === 't'

/** A time from its seconds since 1970, cut to milliseconds: the server keeps microseconds. */
export const dateOf = (cell: Cell | undefined): Date => new Date(Math.floor(Number(cell) * 1000 + 0.0005))

/** A name as it stands in SQL. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
