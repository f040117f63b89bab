import type { MessageHeaders } from '../codec/index.ts'

/** Header of a replayed message: JSON array with the names of the handlers it is for. */
export const REPLAY_HANDLERS = 'replay_handlers'

export function replayHeader(handlerNames: readonly string[]): string {
  return JSON.stringify(handlerNames)
}

/** Who a replayed message is for; undefined when it is for all handlers. A malformed header is as good as none. */
export function replayHandlers(headers: MessageHeaders): readonly string[] | undefined {
  const text = headers[REPLAY_HANDLERS]
  const names = text === undefined ? undefined : parseNames(text)
  return names === undefined || names.length === 0 ? undefined : names
}

/** A JSON array of strings, or undefined. */
export function parseNames(text: string): readonly string[] | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) && value.every((name) => typeof name === 'string') ? value : undefined
  } catch {
    // Anything may stand in a header; what is no array of names names nobody.
    return undefined
  }
}
