import { EventspineError } from '../errors.ts'

/** Codes of the errors by which a bus or a broker refuses an event because of its content. */
const REFUSALS: ReadonlySet<string> = new Set(['EVENT_LIMIT_EXCEEDED', 'MESSAGE_REFUSED'])

/**
 * True if a handler has published an event that the bus refuses because of its content, so that no repetition helps: without
 * this check, a relay would repeat it forever. Errors that concern all events, such as a missing right, do not count: an
 * operator fixes them, and the relay continues.
 */
export function isRefusedEvent(error: Error): boolean {
  if (isRefusal(error)) return true
  if (!(error instanceof EventspineError) || error.code !== 'PUBLISH_FAILED') return false
  // The errors of the failed events of a publish.
  return 'errors' in error && Array.isArray(error.errors) && error.errors.some(isRefusal)
}

function isRefusal(error: unknown): boolean {
  return error instanceof EventspineError && !error.retryable && REFUSALS.has(error.code)
}
