import type { StoredEvent } from '../store/index.ts'

/** Events that are handled together: a single event, or the batch of a batch handler. */
export type Unit = readonly [StoredEvent, ...StoredEvent[]]
