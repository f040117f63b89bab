import { sensitivePaths } from '../events/index.ts'
import { redact } from '../redaction.ts'

/** Which values the page never shows. */
export interface MaskOptions {
  /**
   * Parts of the names of fields and headers whose values are hidden, whatever their case. Default: `pass`, `token`, `secret`,
   * `authorization`, `iban`, `ssn`.
   */
  readonly keys?: readonly string[]
  /** Paths in payloads whose values are hidden, such as `card.number` or `lines.*.price`; `*` is any one field or index. */
  readonly paths?: readonly string[]
}

export const DEFAULT_MASKED_KEYS: readonly string[] = [
  'pass',
  'token',
  'secret',
  'authorization',
  'iban',
  'ssn',
]

/** Stands for a value that is hidden. */
export const MASK = '••••'
/** A value that is hidden is removed from other texts, too, if it is at least this long. */
const MIN_LENGTH = 4
/** Values that are remembered of one payload. */
const MAX_HIDDEN = 1000
/** The names of fields in a text of JSON, or of something like it. */
const FIELD_NAMES = /["']([^"']{1,200})["']\s?:/g
/** What lies deeper is not shown. */
const MAX_DEPTH = 50

/** A value as the page may show it. */
export interface Masked {
  readonly value: unknown
  /** The texts that are hidden, longest first, for {@link Masker.text}. Short ones are not among them. Never show them. */
  readonly hidden: readonly string[]
  /** True if a field is hidden. */
  readonly hidesField: boolean
  /** True if `value` differs from the payload: it also lacks passwords of URLs, and what is too deep. */
  readonly isChanged: boolean
}

/** The masking of one payload. */
interface Run {
  readonly paths: readonly (readonly string[])[]
  readonly hidden: Set<string>
  hidesField: boolean
  isChanged: boolean
}

/** Hides values on the server. Pages show no payload, header or error of an event that has not passed through it. */
export class Masker {
  readonly #keys: readonly string[]
  readonly #paths: readonly (readonly string[])[]

  constructor({ keys = DEFAULT_MASKED_KEYS, paths = [] }: MaskOptions = {}) {
    this.#keys = keys.map((key) => key.toLowerCase())
    this.#paths = paths.map((path) => path.split('.'))
  }

  /**
   * A payload, decoded from JSON, as it may be shown.
   * @param eventType - without it, or if no class has it, the fields that any class marks as sensitive are hidden.
   */
  payload(value: unknown, eventType?: string): Masked {
    const paths = [...this.#paths, ...sensitivePaths(eventType)]
    const run: Run = { paths, hidden: new Set(), hidesField: false, isChanged: false }
    const masked = this.#mask(value, [], run)
    const hidden = [...run.hidden].sort((a, b) => b.length - a.length)
    return { value: masked, hidden, hidesField: run.hidesField, isChanged: run.isChanged }
  }

  headers(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    return Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, this.#isSecret(name) ? MASK : redact(value)]),
    )
  }

  /** True if a text that cannot be decoded, such as the beginning of a JSON text, names a field that is hidden. */
  namesSecret(text: string): boolean {
    const ends = [...this.#paths, ...sensitivePaths(undefined)].map((path) =>
      path.findLast((part) => part !== '*'),
    )
    const names = text.matchAll(FIELD_NAMES)
    return names.some(([, name = '']) => this.#isSecret(name) || ends.includes(name))
  }

  /** A text that may repeat values of a payload, such as an error, without those that are hidden. */
  text(text: string, hidden: readonly string[] = []): string {
    return hidden.reduce((clean, value) => clean.replaceAll(value, MASK), redact(text))
  }

  #mask(value: unknown, path: readonly string[], run: Run): unknown {
    if (path.length > MAX_DEPTH) {
      run.isChanged = true
      return '…'
    }
    if (typeof value === 'string') {
      const clean = redact(value)
      if (clean !== value) run.isChanged = true
      return clean
    }
    if (typeof value !== 'object' || value === null) return value
    if (Array.isArray(value)) {
      return value.map((item, index) => this.#field(String(index), item, path, run))
    }
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [name, this.#field(name, item, path, run)]),
    )
  }

  #field(name: string, value: unknown, path: readonly string[], run: Run): unknown {
    const here = [...path, name]
    if (!this.#isSecret(name) && !run.paths.some((pattern) => matches(pattern, here))) {
      return this.#mask(value, here, run)
    }
    remember(value, run.hidden)
    run.hidesField = true
    run.isChanged = true
    return MASK
  }

  #isSecret(name: string): boolean {
    const lower = name.toLowerCase()
    return this.#keys.some((key) => lower.includes(key))
  }
}

function matches(pattern: readonly string[], path: readonly string[]): boolean {
  return (
    pattern.length === path.length && pattern.every((part, index) => part === '*' || part === path[index])
  )
}

function remember(value: unknown, hidden: Set<string>): void {
  if (hidden.size >= MAX_HIDDEN) return
  if (typeof value === 'object' && value !== null) {
    for (const item of Object.values(value)) remember(item, hidden)
  } else if (String(value).length >= MIN_LENGTH) hidden.add(String(value))
}
