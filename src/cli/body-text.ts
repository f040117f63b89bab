import type { DeadLetter } from '../bus/index.ts'
import { Masker } from '../operator/mask.ts'
import { hiddenIn, maskedBody, maskedEnvelope, parsed } from '../operator/masked-body.ts'

/** Hides only what event classes mark as sensitive. */
const MARKS = new Masker({ keys: [] })

/** The body of a message as text, without its sensitive values, or, if it is none, as `base64:…`. */
export function bodyText(body: Uint8Array): string {
  const bytes = withoutMarked(body)
  const text = bytes.toString('utf8')
  return Buffer.from(text).equals(bytes) ? text : `base64:${bytes.toString('base64')}`
}

function withoutMarked(body: Uint8Array): Buffer {
  const value = parsed(body)
  if (typeof value !== 'object' || value === null) return Buffer.from(maskedBody(body, MARKS))
  const masked = maskedEnvelope(value, MARKS)
  return Buffer.from(masked.hidesField ? JSON.stringify(masked.value) : body)
}

/** A dead letter whose error repeats no sensitive value. */
export function shownLetter(letter: DeadLetter): DeadLetter {
  const hidden = hiddenIn(letter.body, MARKS)
  if (hidden.length === 0) return letter
  const clean = (text: string | undefined) => text && MARKS.text(text, hidden)
  return { ...letter, errorMessage: clean(letter.errorMessage), errorStack: clean(letter.errorStack) }
}
