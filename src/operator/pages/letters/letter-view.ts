import type { DeadLetter, DeadLetterQueue } from '../../../bus/index.ts'
import type { RequestContext } from '../../context.ts'
import { HttpError } from '../../http-error.ts'
import type { Masker } from '../../mask.ts'
import { hiddenIn } from '../../masked-body.ts'
import type { Verb } from '../../viewer.ts'

/** A dead letter as the page may show it: without what is masked. */
export interface LetterView {
  readonly letter: DeadLetter
  /** The payload as it is stored, masked; undefined if the body is no event. */
  readonly payload: Readonly<Record<string, unknown>> | undefined
  readonly error: string
  readonly stack: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly correlationId: string | undefined
  readonly causationId: string | undefined
}

/**
 * How long a page waits for one dead letter, in milliseconds: RabbitMQ reads its queue up to it.
 */
export const LETTER_MS = 10_000

/** The queue of the bus. @throws HttpError 404 if the bus keeps no dead letters. */
export function queueOf(context: RequestContext): DeadLetterQueue {
  const { deadLetters } = context
  if (deadLetters === undefined) {
    throw new HttpError(404, 'A bus in memory keeps no dead letters: it reports failures to its publisher.')
  }
  return deadLetters
}

/** @throws HttpError 403 if the viewer may not do that to dead letters of the group. */
export function checkRole(context: RequestContext, verb: Verb, group: string | undefined): void {
  context.require(verb, group)
}

/** The error with its name, as it was. Never show it. */
export function textOfError({ errorName, errorMessage }: DeadLetter): string {
  return [errorName, errorMessage].filter((part) => part !== undefined && part !== '').join(': ')
}

export function viewOf(letter: DeadLetter, queue: DeadLetterQueue, mask: Masker): LetterView {
  const stored = queue.storedEvent(letter)
  const payload = stored === undefined ? undefined : mask.payload(stored.data, stored.eventType)
  const hidden = payload?.hidden ?? hiddenIn(letter.body, mask)
  const { errorStack } = letter
  return {
    letter,
    // The masking keeps an object an object.
    payload: payload?.value as LetterView['payload'],
    error: mask.text(textOfError(letter), hidden),
    stack: errorStack === undefined ? undefined : mask.text(errorStack, hidden),
    headers: mask.headers(letter.headers),
    correlationId: stored?.correlationId,
    causationId: stored?.causationId,
  }
}
