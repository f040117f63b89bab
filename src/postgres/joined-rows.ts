import type { StoredRow } from '../store/event-row.ts'
import { EVENT_COLUMNS, eventColumns, storedRow } from './event-columns.ts'
import type { Cell, Row } from './session.ts'

/** The columns that may be null. In a joined row their text is empty then, and otherwise has a sign before the value. */
const NULLABLE: ReadonlySet<string> = new Set(['tenant_id', 'causation_id', 'actor_id', 'metadata::text'])

const columns = eventColumns.map((column) =>
  NULLABLE.has(column) ? `coalesce('=' || ${column}, '')` : column,
)

const nullable = eventColumns.flatMap((column, index) => (NULLABLE.has(column) ? [index] : []))

/** Separates the columns of a joined row. JSON does not contain it; an id may. */
const COLUMN = '\x1f'

/**
 * All columns of a row as one text. The client needs about as long for each value that it receives as for a whole row of
 * this form. Several rows in one text would be faster for the client and slower altogether: the server would send nothing
 * until it has read the last row.
 */
const JOINED_ROW = `concat_ws(chr(31), ${columns.join(', ')})`

/** The rows of a source: in position order with a column for each value, or joined. */
export const rowsOf = (source: string, joined: boolean): string =>
  `select ${joined ? JOINED_ROW : EVENT_COLUMNS} from ${source} order by position`

/**
 * Reads a page.
 * @param joined - true to try the joined form.
 * @param run - runs the statement of the page in one of the forms.
 */
export async function pageRows(
  joined: boolean,
  run: (joined: boolean) => Promise<readonly Row[]>,
): Promise<readonly StoredRow[]> {
  const rows = joined ? separated(await run(true)) : undefined
  return rows ?? (await run(false)).map(storedRow)
}

/**
 * The columns of rows of {@link JOINED_ROW}.
 * @returns undefined if a value has the separator in it: then the rows must be read with a column for each value.
 */
function separated(joined: readonly Row[]): readonly StoredRow[] | undefined {
  const rows: StoredRow[] = []
  for (const [text] of joined) {
    const cells = text?.split(COLUMN)
    if (cells?.length !== columns.length) return undefined
    rows.push(storedRow(withNulls(cells)))
  }
  return rows
}

function withNulls(cells: Cell[]): Row {
  for (const index of nullable) {
    const cell = cells[index]
    cells[index] = cell ? cell.slice(1) : null
  }
  return cells
}
