import { nearest } from '../kit/spelling.ts'
import { UsageError } from './usage-error.ts'
import type { ValueReader } from './values.ts'

/** The keys of a filter line, each with the field of a filter and the reader of its value. */
export type FilterKeys<F> = Readonly<Record<string, readonly [field: keyof F, read: ValueReader<unknown>]>>

/**
 * Reads a filter line such as `group:billing error:TypeError text:"no such order" since:2h`. The grammar is closed: it has no
 * patterns and no code.
 * @param empty - what the user can do instead of an empty line.
 */
export function filterLineOf<F extends object>(keys: FilterKeys<F>, empty: string): ValueReader<F> {
  return (line) => {
    const filter: Record<string, unknown> = {}
    for (const [key, value] of pairsOf(line)) {
      const known = Object.hasOwn(keys, key) ? keys[key] : undefined
      if (known === undefined) {
        const hint = nearest(key, Object.keys(keys))
        const remedy =
          hint === undefined ? `the keys are ${Object.keys(keys).join(', ')}` : `did you mean ${hint}?`
        throw new UsageError(`has an unknown key ${JSON.stringify(key)}: ${remedy}`)
      }
      const [field, read] = known
      const name = String(field)
      if (Object.hasOwn(filter, name)) throw new UsageError(`names ${key} twice`)
      filter[name] = read(value)
    }
    if (Object.keys(filter).length === 0) throw new UsageError(`is empty: ${empty}`)
    // Each field was read by the reader of its key.
    return filter as F
  }
}

/** The line that the reader of these keys reads as the filter; empty for an empty filter. */
export function lineWriterOf<F extends object>(keys: FilterKeys<F>): (filter: F) => string {
  return (filter) =>
    Object.entries(keys)
      .flatMap(([key, [field]]) => {
        const value: unknown = filter[field]
        return value === undefined ? [] : [`${key}:${valueText(value)}`]
      })
      .join(' ')
}

function valueText(value: unknown): string {
  const text = value instanceof Date ? value.toISOString() : String(value)
  const isPlain = !text.startsWith('"') && !text.includes(' ') && text.trim() === text
  return isPlain ? text : `"${text.replaceAll('"', '""')}"`
}

type Found = readonly [value: string, end: number]

/** The pairs `key:value` of a line. A value with spaces stands in double quotes; a quote within it is doubled. */
function pairsOf(line: string): readonly (readonly [key: string, value: string])[] {
  const pairs: (readonly [string, string])[] = []
  let rest = line.trim()
  while (rest !== '') {
    const colon = rest.indexOf(':')
    if (colon < 1) throw new UsageError(`must have the form key:value, got ${JSON.stringify(rest)}`)
    const key = rest.slice(0, colon)
    const isQuoted = rest[colon + 1] === '"'
    const [value, end] = isQuoted ? quotedValue(rest, key, colon + 2) : plainValue(rest, colon + 1)
    if (value === '') throw new UsageError(`lacks the value of ${key}`)
    pairs.push([key, value])
    rest = rest.slice(end + 1).trim()
  }
  return pairs
}

function plainValue(line: string, start: number): Found {
  const space = line.indexOf(' ', start)
  const end = space < 0 ? line.length : space
  return [line.slice(start, end), end]
}

function quotedValue(line: string, key: string, start: number): Found {
  let value = ''
  for (let from = start; ; ) {
    const quote = line.indexOf('"', from)
    if (quote < 0) throw new UsageError(`lacks the closing quote of ${key}`)
    value += line.slice(from, quote)
    if (line[quote + 1] !== '"') return [value, quote]
    value += '"'
    from = quote + 2
  }
}
