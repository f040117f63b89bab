import type { MessageHeaders } from '../codec/index.ts'

/** Header of a replayed message: a JSON array with the names of the handlers that must handle it. */
export const REPLAY_HANDLERS = 'replay_handlers'

export function replayHeader(handlerNames: readonly string[]): string {
  return JSON.stringify(handlerNames)
}

/** Names of the handlers that must handle a replayed message; undefined means all. A malformed header is ignored. */
export function replayHandlers(headers: MessageHeaders): readonly string[] | undefined {
  const text = headers[REPLAY_HANDLERS]
  const names = text === undefined ? undefined : parseNames(text)
  return names === undefined || names.length === 0 ? undefined : names
}

/** Parses a JSON array of strings; undefined if the text is anything else. */
export function parseNames(text: string): readonly string[] | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) && value.every((name) => typeof name === 'string') ? value : undefined
  } catch {
    // A header may hold anything, so a malformed one is no error.
    return undefined
  }
}
