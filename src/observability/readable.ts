import { shorten } from '../errors.ts'
import type { LogFields } from './logger.ts'

/** Longest text of a field, in characters. Texts from messages and servers have no limit of their own. */
const MAX_FIELD = 1000

/** Controls of C0 and C1, and marks that change the direction or the lines of the text around them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it finds them to escape them.
const UNREADABLE = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** Escapes characters that a terminal or a viewer of logs obeys instead of showing them. */
export function escapeControls(text: string): string {
  return text.replace(UNREADABLE, (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** The fields with their texts cut. Errors and other objects stay as they are. */
export function shortFields(fields: LogFields | undefined): LogFields | undefined {
  return mapTexts(fields, (text) => shorten(text, MAX_FIELD))
}

/** The fields with their texts escaped. Errors and other objects stay as they are. */
export function escapedFields(fields: LogFields | undefined): LogFields | undefined {
  return mapTexts(fields, escapeControls)
}

function mapTexts(fields: LogFields | undefined, change: (text: string) => string): LogFields | undefined {
  if (fields === undefined) return undefined
  const entries = Object.entries(fields)
  return Object.fromEntries(
    entries.map(([name, value]) => [name, typeof value === 'string' ? change(value) : value]),
  )
}
