import type { StoredRow } from '../store/event-row.ts'
import { EVENT_COLUMNS, eventColumns, storedRow } from './event-columns.ts'
import { dateOf, millisecondsOf, numberOf, type Row, textOf } from './session.ts'

/** The columns that may be null. Their text is empty then, and otherwise has a sign before the value. */
const NULLABLE: ReadonlySet<string> = new Set(['tenant_id', 'causation_id', 'actor_id', 'metadata::text'])

const columns = eventColumns.map((column) =>
  NULLABLE.has(column) ? `coalesce('=' || ${column}, '')` : column,
)

/** Separates the rows of a joined page, and the columns of a row. JSON has neither; an id may have both. */
const [ROW, COLUMN] = ['\x1e', '\x1f']

/**
 * The number of rows, and all columns of all rows as one text. The client needs about as long for each value that it
 * receives as for a whole row of such a text. The rows may come in any order, because sorting them costs the server more
 * than checking their order costs the client.
 */
const JOINED_ROWS = `count(*), string_agg(concat_ws(chr(31), ${columns.join(', ')}), chr(30))`

/** The rows of a source: in position order with a column for each value, or joined. */
export const rowsOf = (source: string, joined: boolean): string =>
  joined ? `select ${JOINED_ROWS} from ${source}` : `select ${EVENT_COLUMNS} from ${source} order by position`

/**
 * Reads a page.
 * @param joined - true to try the joined form.
 * @param run - runs the statement of the page in one of the forms.
 */
export async function pageRows(
  joined: boolean,
  run: (joined: boolean) => Promise<readonly Row[]>,
): Promise<readonly StoredRow[]> {
  const rows = joined ? joinedRows((await run(true))[0] ?? []) : undefined
  return rows ?? (await run(false)).map(storedRow)
}

/**
 * The rows of {@link JOINED_ROWS} in position order.
 * @returns undefined if a value has a separator in it: then the rows must be read with a column for each value.
 */
function joinedRows([count, text]: Row): readonly StoredRow[] | undefined {
  const expected = numberOf(count)
  if (expected === 0) return []
  const rows = textOf(text)
    .split(ROW)
    .map((row) => row.split(COLUMN))
  // A separator of rows in a value adds a row, and one of columns adds a column to a row.
  if (rows.length !== expected || rows.some(({ length }) => length !== columns.length)) return undefined
  const parsed = rows.map(rowOf)
  const isInOrder = parsed.every(
    (row, index) => index === 0 || row.position > (parsed[index - 1]?.position ?? 0),
  )
  return isInOrder ? parsed : parsed.toSorted((a, b) => a.position - b.position)
}

function rowOf(cells: readonly string[]): StoredRow {
  return {
    position: numberOf(cells[0]),
    eventId: textOf(cells[1]),
    aggregateType: textOf(cells[2]),
    aggregateId: textOf(cells[3]),
    aggregateVersion: numberOf(cells[4]),
    eventType: textOf(cells[5]),
    eventVersion: numberOf(cells[6]),
    tenantId: optionalOf(cells[7]),
    correlationId: textOf(cells[8]),
    causationId: optionalOf(cells[9]),
    actorId: optionalOf(cells[10]),
    occurredAt: millisecondsOf(cells[11]),
    storedAt: dateOf(cells[12]),
    payload: textOf(cells[13]),
    metadata: optionalOf(cells[14]),
  }
}

const optionalOf = (cell: string | undefined): string | null =>
  cell === undefined || cell === '' ? null : cell.slice(1)
