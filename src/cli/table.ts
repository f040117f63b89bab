import { stripVTControlCharacters, styleText } from 'node:util'
import type { Terminal } from './terminal.ts'

/** A column of a table: its heading, and the text of a row. */
export interface Column<R> {
  readonly heading: string
  readonly cell: (row: R) => string | number | undefined
  readonly align?: 'right'
}

/** Characters that would move the cursor, end the line or change its direction. */
const CONTROL = /[\p{Cc}\p{Cf}\u2028\u2029]/gu

/** A text of an event or a server, on one line and without control characters. */
export function plain(text: string): string {
  return stripVTControlCharacters(text).replace(CONTROL, ' ').toWellFormed()
}

/** A table for people. On a terminal it is cut to its width; in a pipe it is complete. */
export function tableOf<R>(
  rows: readonly R[],
  columns: readonly Column<R>[],
  { columns: width, hasColor }: Pick<Terminal, 'columns' | 'hasColor'>,
): string {
  const cells = rows.map((row) => columns.map(({ cell }) => plain(String(cell(row) ?? '-'))))
  const widths = columns.map(({ heading }, index) =>
    Math.max(heading.length, ...cells.map((line) => line[index]?.length ?? 0)),
  )
  const line = (texts: readonly string[]) =>
    cut(
      texts
        .map((text, index) =>
          columns[index]?.align === 'right'
            ? text.padStart(widths[index] ?? 0)
            : text.padEnd(widths[index] ?? 0),
        )
        .join('  ')
        .trimEnd(),
      width,
    )
  const heading = line(columns.map((column) => column.heading))
  return [
    hasColor ? styleText('bold', heading, { validateStream: false }) : heading,
    ...cells.map(line),
  ].join('\n')
}

function cut(text: string, width: number | undefined): string {
  return width === undefined || text.length <= width ? text : `${text.slice(0, Math.max(1, width - 1))}…`
}
