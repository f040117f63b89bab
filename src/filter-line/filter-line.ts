import { nearest } from '../kit/spelling.ts'
import { UsageError } from './usage-error.ts'
import type { ValueReader } from './values.ts'

/** The keys of a filter line, each with the field of a filter and the reader of its value. */
export type FilterKeys<F> = Readonly<Record<string, readonly [field: keyof F, read: ValueReader<unknown>]>>

/**
 * Reads a filter line such as `group:billing error:TypeError text:"no such order" since:2h`.
 * @param empty - what the user can do instead of an empty line.
 */
export function filterLineOf<F extends object>(keys: FilterKeys<F>, empty: string): ValueReader<F> {
  return (line) => {
    const filter: Record<string, unknown> = {}
    for (const [key, value] of pairsOf(line)) {
      const known = keys[key]
      if (known === undefined) {
        const hint = nearest(key, Object.keys(keys))
        const remedy =
          hint === undefined ? `the keys are ${Object.keys(keys).join(', ')}` : `did you mean ${hint}?`
        throw new UsageError(`has an unknown key ${JSON.stringify(key)}: ${remedy}`)
      }
      const [field, read] = known
      const name = String(field)
      if (name in filter) throw new UsageError(`names ${key} twice`)
      filter[name] = read(value)
    }
    if (Object.keys(filter).length === 0) throw new UsageError(`is empty: ${empty}`)
    // Each field was read by the reader of its key.
    return filter as F
  }
}

/** The pairs `key:value` of a line. A value with spaces stands in double quotes. */
function pairsOf(line: string): readonly (readonly [key: string, value: string])[] {
  const pairs: (readonly [string, string])[] = []
  let rest = line.trim()
  while (rest !== '') {
    const colon = rest.indexOf(':')
    if (colon < 1) throw new UsageError(`must have the form key:value, got ${JSON.stringify(rest)}`)
    const key = rest.slice(0, colon)
    const isQuoted = rest[colon + 1] === '"'
    const start = colon + (isQuoted ? 2 : 1)
    const found = rest.indexOf(isQuoted ? '"' : ' ', start)
    if (isQuoted && found < 0) throw new UsageError(`lacks the closing quote of ${key}`)
    const end = found < 0 ? rest.length : found
    if (end === start) throw new UsageError(`lacks the value of ${key}`)
    pairs.push([key, rest.slice(start, end)])
    rest = rest.slice(end + 1).trim()
  }
  return pairs
}
