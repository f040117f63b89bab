import type { EventRow } from './event-row.ts'

/** Default of `maxBytes`: the size at which a page of the feed ends. */
export const PAGE_BYTES = 1024 * 1024

type SizedRow = Pick<EventRow, 'payload' | 'metadata'>

/** The size of a row as a page counts it. */
export function bytesOf({ payload, metadata }: SizedRow): number {
  return Buffer.byteLength(payload) + (metadata === null ? 0 : Buffer.byteLength(metadata))
}

/** The rows of a page, and whether their size ended it. */
export interface SizedPage<Row> {
  readonly rows: readonly Row[]
  readonly isCut: boolean
}

/** The first rows, up to the one with which they reach a size. A page of `limit` rows was not ended by it. */
export function upToBytes<Row extends SizedRow>(
  rows: readonly Row[],
  limit: number,
  maxBytes: number,
): SizedPage<Row> {
  const last = reaching(rows, maxBytes)
  if (last === undefined) return { rows, isCut: false }
  return { rows: rows.slice(0, last + 1), isCut: last + 1 < limit }
}

/** Maximum bytes of a UTF-16 code unit in UTF-8. */
const BYTES_PER_UNIT = 3

/** Index of the row with which the rows reach a size; undefined if they stay below it. */
function reaching(rows: readonly SizedRow[], maxBytes: number): number | undefined {
  let units = 0
  for (const { payload, metadata } of rows) units += payload.length + (metadata?.length ?? 0)
  // Counting bytes takes longer than the length, and most pages are far below the limit.
  if (units * BYTES_PER_UNIT < maxBytes) return undefined
  let bytes = 0
  for (const [index, row] of rows.entries()) {
    bytes += bytesOf(row)
    if (bytes >= maxBytes) return index
  }
  return undefined
}
