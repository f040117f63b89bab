import type { SqliteConnection, SqliteStatement, SqliteValue } from './driver.ts'

/** A row as the driver returns it. */
export type SqliteRow = Readonly<Record<string, SqliteValue>>

/** Runs statements on one connection, and prepares each once. */
export class SqliteStatements {
  readonly connection: SqliteConnection
  readonly #prepared = new Map<string, SqliteStatement>()

  constructor(connection: SqliteConnection) {
    this.connection = connection
  }

  /** @returns the number of changed rows. */
  run(sql: string, ...values: readonly SqliteValue[]): number {
    return Number(this.#prepare(sql).run(...values).changes)
  }

  /** @returns the id of the inserted row; 0 if none was inserted. */
  insert(sql: string, ...values: readonly SqliteValue[]): number {
    const { changes, lastInsertRowid } = this.#prepare(sql).run(...values)
    return Number(changes) === 0 ? 0 : Number(lastInsertRowid)
  }

  get(sql: string, ...values: readonly SqliteValue[]): SqliteRow | undefined {
    // The tables are strict and have no blobs: rows are texts, numbers and nulls.
    return this.#prepare(sql).get(...values) as SqliteRow | undefined
  }

  all(sql: string, ...values: readonly SqliteValue[]): readonly SqliteRow[] {
    // As above.
    return this.#prepare(sql).all(...values) as SqliteRow[]
  }

  /**
   * Reads row by row, so a caller that stops early reads no further rows. The connection can run no other statement
   * meanwhile.
   */
  iterate(sql: string, ...values: readonly SqliteValue[]): Iterable<SqliteRow> {
    // As above.
    return this.#prepare(sql).iterate(...values) as Iterable<SqliteRow>
  }

  /** The rows of a statement with one column named `row`, which is a text or null. */
  texts(sql: string, ...values: readonly SqliteValue[]): readonly (string | null)[] {
    let statement = this.#prepared.get(sql)
    if (statement === undefined) {
      statement = this.#prepare(sql)
      // Creating an object for each row takes longer.
      statement.setReturnArrays?.(true)
      statement.pluck?.(true)
    }
    // In the form that was chosen above, or an object.
    type Text = string | null | readonly [string | null] | { readonly row: string | null }
    return (statement.all(...values) as readonly Text[]).map((one) => {
      if (typeof one === 'string' || one === null) return one
      return 'row' in one ? one.row : one[0]
    })
  }

  #prepare(sql: string): SqliteStatement {
    const known = this.#prepared.get(sql)
    if (known !== undefined) return known
    const prepared = this.connection.prepare(sql)
    this.#prepared.set(sql, prepared)
    return prepared
  }
}
