import type { EventRow } from './event-row.ts'

/** Default of `maxBytes`: the size at which a page of the feed ends. */
export const PAGE_BYTES = 1024 * 1024

/** The size of a row as a page counts it. */
export function bytesOf({ payload, metadata }: Pick<EventRow, 'payload' | 'metadata'>): number {
  return Buffer.byteLength(payload) + (metadata === null ? 0 : Buffer.byteLength(metadata))
}

/** The first rows, up to the one with which they reach a size. */
export function upToBytes<Row extends EventRow>(rows: readonly Row[], maxBytes: number): readonly Row[] {
  let bytes = 0
  for (const [index, row] of rows.entries()) {
    bytes += bytesOf(row)
    if (bytes >= maxBytes) return rows.slice(0, index + 1)
  }
  return rows
}

/** True if the page of these rows ended because of its size. */
export function isCut(rows: readonly EventRow[], limit: number, maxBytes: number): boolean {
  if (rows.length >= limit) return false
  let bytes = 0
  for (const row of rows) bytes += bytesOf(row)
  return bytes >= maxBytes
}
