import { ConfigError, describeValue } from '../errors.ts'

/** A position in a log that numbers its events. */
export const NUMBERED = /^\d{1,15}$/

/**
 * @param call - the call and its option, such as `browse: from`.
 * @param isPosition - true for a text that a log of this kind returns as a position.
 * @throws ConfigError for a text that is neither an end of the log nor a position.
 */
export function checkPlace(call: string, place: Date | string, isPosition: (text: string) => boolean): void {
  if (place instanceof Date || place === 'first' || place === 'last' || isPosition(place)) return
  const [subject = '', option = ''] = call.split(': ')
  throw new ConfigError(subject, [
    `${option} must be 'first', 'last', a Date, or the position of an event, got ${describeValue(place)}`,
  ])
}

/** For a cursor that no list of this kind returns. */
export function wrongCursor(cursor: string): ConfigError {
  return new ConfigError('deadLetters.list', [
    `cursor must be that of the previous page of the same list, got ${describeValue(cursor)}`,
  ])
}
