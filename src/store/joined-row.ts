/** Separates the columns of a joined row. JSON does not contain it; an id may. */
const COLUMN = '\x1f'

/**
 * The columns of a row as one text, in SQL. A driver needs about as long for each value that it returns as for a whole row
 * of this form. A column that may be null is empty for a null, and otherwise has a sign before the value.
 */
export class JoinedRow {
  /** The text of a row as an expression of SQL. */
  readonly sql: string
  readonly #count: number
  readonly #nullable: readonly number[]

  /**
   * @param columns - the columns as expressions of SQL.
   * @param nullable - those that may be null.
   * @param character - the name of the function that returns the character of a code.
   */
  constructor(columns: readonly string[], nullable: readonly string[], character: 'char' | 'chr') {
    const parts = columns.map((column) =>
      nullable.includes(column) ? `coalesce('=' || ${column}, '')` : column,
    )
    this.sql = `concat_ws(${character}(${COLUMN.charCodeAt(0)}), ${parts.join(', ')})`
    this.#count = columns.length
    this.#nullable = nullable.map((column) => columns.indexOf(column))
  }

  /** @returns the values; undefined if one of them contains the separator, so that they must be read as columns. */
  valuesOf(text: string): (string | null)[] | undefined {
    const values: (string | null)[] = text.split(COLUMN)
    if (values.length !== this.#count) return undefined
    for (const index of this.#nullable) {
      const value = values[index]
      values[index] = value ? value.slice(1) : null
    }
    return values
  }
}
