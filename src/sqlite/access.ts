import type { RowDecoder } from '../store/event-row.ts'
import type { Read } from './reads.ts'
import type { ArgumentsOf, ResultOf, WriteName } from './writes.ts'

/** Reads and writes of the stores: on the file, through the queue, or in one transaction. */
export interface SqliteAccess {
  readonly read: Read
  write<N extends WriteName>(name: N, args: ArgumentsOf<N>, characters?: number): Promise<ResultOf<N>>
  readonly decoder: RowDecoder
}
