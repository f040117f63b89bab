import type { DeadLetter, DeadLetterQueue } from '../../../bus/index.ts'
import type { RequestContext } from '../../context.ts'
import { HttpError } from '../../http-error.ts'
import type { Masker } from '../../mask.ts'
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

export function viewOf(letter: DeadLetter, queue: DeadLetterQueue, mask: Masker): LetterView {
  const stored = queue.storedEvent(letter)
  const payload = stored === undefined ? undefined : mask.payload(stored.data)
  const hidden = payload?.hidden ?? hiddenIn(letter, mask)
  const { errorName, errorMessage, errorStack } = letter
  const error = [errorName, errorMessage].filter((part) => part !== undefined && part !== '').join(': ')
  return {
    letter,
    // The masking keeps an object an object.
    payload: payload?.value as LetterView['payload'],
    error: mask.text(error, hidden),
    stack: errorStack === undefined ? undefined : mask.text(errorStack, hidden),
    headers: mask.headers(letter.headers),
    correlationId: stored?.correlationId,
    causationId: stored?.causationId,
  }
}

/** A body as it may be downloaded: bit for bit, unless it has values that are hidden. */
export function maskedBody(body: Uint8Array, mask: Masker): Uint8Array {
  const value = parsed(body)
  if (typeof value !== 'object' || value === null) return body
  const { value: masked, hidden } = maskedEnvelope(value, mask)
  return hidden.length === 0 ? body : Buffer.from(JSON.stringify(masked))
}

function hiddenIn({ body }: DeadLetter, mask: Masker): readonly string[] {
  const value = parsed(body)
  return typeof value === 'object' && value !== null ? maskedEnvelope(value, mask).hidden : []
}

/** The payload is the body itself, or the `data` of a CloudEvent. */
export function maskedEnvelope(value: object, mask: Masker): ReturnType<Masker['payload']> {
  const whole = mask.payload(value)
  if (typeof whole.value !== 'object' || whole.value === null) return whole
  const data: unknown = Reflect.get(whole.value, 'data')
  if (typeof data !== 'object' || data === null) return whole
  const inner = mask.payload(data)
  return {
    value: { ...whole.value, data: inner.value },
    hidden: [...new Set([...whole.hidden, ...inner.hidden])].toSorted((a, b) => b.length - a.length),
  }
}

function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'))
  } catch {
    return undefined // not JSON: nothing in it has a name by which it could be hidden
  }
}
