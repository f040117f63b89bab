import { readable, withoutSecrets } from '../redaction.ts'
import type { LogFields } from './logger.ts'

/** Maximum length of a text in a field, in characters. Otherwise, texts from messages and servers have no limit. */
const MAX_FIELD = 1000

/** Control characters (C0 and C1), and marks that change the direction or the lines of the surrounding text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it finds them to escape them.
const UNREADABLE = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** Escapes characters that a terminal or a log viewer interprets instead of showing them. */
export function escapeControls(text: string): string {
  return text.replace(UNREADABLE, (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Returns the fields with shortened texts, and without secrets in texts and errors. Other objects do not change. */
export function safeFields(fields: LogFields | undefined): LogFields | undefined {
  if (fields === undefined) return undefined
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, safe(value)]))
}

function safe(value: unknown): unknown {
  if (typeof value === 'string') return readable(value, MAX_FIELD)
  return value instanceof Error ? withoutSecrets(value) : value
}

/** Returns the fields with escaped texts. Errors and other objects do not change. */
export function escapedFields(fields: LogFields | undefined): LogFields | undefined {
  if (fields === undefined) return undefined
  const entries = Object.entries(fields)
  return Object.fromEntries(
    entries.map(([name, value]) => [name, typeof value === 'string' ? escapeControls(value) : value]),
  )
}
