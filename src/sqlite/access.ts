import type { RowDecoder } from '../store/event-row.ts'
import type { Read } from './reads.ts'
import type { ArgumentsOf, ResultOf, WriteName } from './writes.ts'

/** Where stores read and write: the file, through the queue, or one transaction. */
export interface SqliteAccess {
  readonly read: Read
  write<N extends WriteName>(name: N, args: ArgumentsOf<N>, characters?: number): Promise<ResultOf<N>>
  readonly decoder: RowDecoder
}
