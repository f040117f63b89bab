import { setImmediate as nextTurn } from 'node:timers/promises'
import { settledWithin } from '../kit/time.ts'

/** The server did not answer in time: it hangs, or the connection is half open. */
export class NoAnswerError extends Error {
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

/** True for a missing answer, also as the cause of a typed error. */
export function isNoAnswer(thrown: unknown): boolean {
  return thrown instanceof NoAnswerError || (thrown instanceof Error && thrown.cause instanceof NoAnswerError)
}
