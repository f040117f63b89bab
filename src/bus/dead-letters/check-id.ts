import { describeValue } from '../../errors.ts'

/** @throws TypeError if the argument of `deadLetters.get` or `deadLetters.replay` is no text. */
export function checkId(method: 'get' | 'replay', id: unknown): void {
  if (typeof id === 'string') return
  throw new TypeError(`deadLetters.${method} takes the id of a dead letter, got ${describeValue(id)}.`)
}
