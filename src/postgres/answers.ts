import { setImmediate as nextTurn } from 'node:timers/promises'
import { settledWithin } from '../kit/time.ts'

const NO_ANSWER = 'NoAnswerError'

/** The server did not answer in time: it hangs, or the connection is half open. */
export class NoAnswerError extends Error {
  override readonly name = NO_ANSWER

  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs} ms`)
  }
}

/** @throws NoAnswerError after `timeoutMs`; the rejection of the answer. */
export async function answered<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
  if (timeoutMs === Number.POSITIVE_INFINITY || (await settledWithin(answer, timeoutMs))) return answer
  // After a pause of the process, timers run before it reads the answers that have arrived meanwhile.
  await nextTurn()
  if (await settledWithin(answer, 0)) return answer
  throw new NoAnswerError(timeoutMs)
}

/** True for a missing answer, also as the cause of a typed error. A cause may be a copy without secrets, so its name counts. */
export function isNoAnswer(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false
  return thrown.name === NO_ANSWER || (thrown.cause instanceof Error && thrown.cause.name === NO_ANSWER)
}
