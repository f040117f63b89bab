import type { StoredRow } from '../store/event-row.ts'
import { JoinedRow } from '../store/joined-row.ts'
import { EVENT_COLUMNS, eventColumns, storedRow } from './event-columns.ts'
import type { Row } from './session.ts'

/**
 * All columns of a row as one text. Several rows in one text would be faster for the client and slower altogether: the
 * server would send nothing until it has read the last row.
 */
const joinedRow = new JoinedRow(
  eventColumns,
  ['tenant_id', 'causation_id', 'actor_id', 'metadata::text'],
  'chr',
)

/** The rows of a source in position order: with a column for each value, or joined. */
export const rowsOf = (source: string, joined: boolean): string =>
  `select ${joined ? joinedRow.sql : EVENT_COLUMNS} from ${source} order by position`

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

function separated(joined: readonly Row[]): readonly StoredRow[] | undefined {
  const rows: StoredRow[] = []
  for (const [text] of joined) {
    const values = joinedRow.valuesOf(text ?? '')
    if (values === undefined) return undefined
    rows.push(storedRow(values))
  }
  return rows
}
