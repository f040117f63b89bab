import type { HandlerEntry } from './handler-entry.ts'

/** A handler that failed, and its error. */
export interface HandlerFailure {
  readonly handler: HandlerEntry
  readonly error: Error
}

export type Failures = readonly HandlerFailure[]
