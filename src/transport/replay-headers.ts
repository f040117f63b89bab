import type { MessageHeaders } from '../codec/index.ts'

/** Header of a replayed message: a JSON array with the names of the handlers that must handle it. */
export const REPLAY_HANDLERS = 'replay_handlers'

/** The handlers that a replayed message is for. A message that was not replayed has no target. */
export interface ReplayTarget {
  readonly handlerNames: readonly string[]
  /**
   * Handlers that had succeeded. Undefined if an earlier release stored the dead letter; its handler names may then be
   * names of functions.
   */
  readonly settledHandlers: readonly string[] | undefined
}

/** Header for the replay of a dead letter. */
export function replayHeader({
  handlerNames = [],
  settledHandlers,
}: {
  readonly handlerNames?: readonly string[] | undefined
  readonly settledHandlers?: readonly string[] | undefined
}): string {
  if (handlerNames.length === 0) return '[]'
  return JSON.stringify({ handlers: handlerNames, settled: settledHandlers })
}

/**
 * Returns the handlers that a replayed message is for; undefined if it is for all handlers. A malformed header is
 * ignored. Call it only for a message from the transport's own replay stream, queue or topic, because any producer can
 * write the header.
 */
export function replayTarget(headers: MessageHeaders): ReplayTarget | undefined {
  const text = headers[REPLAY_HANDLERS]
  if (text === undefined) return undefined
  const { handlers, settled } = parseTarget(text)
  if (handlers === undefined || handlers.length === 0) return undefined
  return { handlerNames: handlers, settledHandlers: settled }
}

function parseTarget(text: string): { handlers?: readonly string[]; settled?: readonly string[] } {
  const value = parseJson(text)
  // Earlier releases wrote the names alone.
  if (isNames(value)) return { handlers: value }
  if (typeof value !== 'object' || value === null || !('handlers' in value) || !isNames(value.handlers))
    return {}
  const settled = 'settled' in value && isNames(value.settled) ? { settled: value.settled } : {}
  return { handlers: value.handlers, ...settled }
}

/** The strings of a JSON array; undefined if the text is not such an array. */
export function parseNames(text: string): readonly string[] | undefined {
  const value = parseJson(text)
  return isNames(value) ? value : undefined
}

function isNames(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((name) => typeof name === 'string')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // anything may stand in a header
  }
}
