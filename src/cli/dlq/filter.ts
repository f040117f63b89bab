import type { DeadLetterFilter } from '../../bus/index.ts'
import { UsageError } from '../exit-code.ts'
import { nearest } from '../nearest.ts'
import { integer, oneOf, text, time, type ValueReader } from '../values.ts'

const REASONS = [
  'max_retries_exceeded',
  'rejected',
  'deserialization_error',
  'delivery_limit_exceeded',
  'handler_not_found',
] as const

/** The keys of a filter line, with the field of a filter and its reader. */
const KEYS: Readonly<Record<string, readonly [field: keyof DeadLetterFilter, read: ValueReader<unknown>]>> = {
  group: ['consumerGroup', text],
  handler: ['handlerName', text],
  type: ['eventType', text],
  aggregate: ['aggregateId', text],
  event: ['eventId', text],
  reason: ['reason', oneOf(...REASONS)],
  error: ['errorName', text],
  text: ['errorMessage', text],
  signature: ['errorSignature', text],
  since: ['failedSince', time],
  before: ['failedBefore', time],
  'min-replays': ['minReplays', integer(0)],
  'max-replays': ['maxReplays', integer(0)],
}

export const FILTER_KEYS = Object.keys(KEYS).join(', ')

/** Reads a filter line such as `group:billing error:TypeError text:"no such order" since:2h`. */
export const filterLine: ValueReader<DeadLetterFilter> = (line) => {
  const filter: Record<string, unknown> = {}
  for (const [key, value] of pairsOf(line)) {
    const known = KEYS[key]
    if (known === undefined) {
      const hint = nearest(key, Object.keys(KEYS))
      const remedy = hint === undefined ? `the keys are ${FILTER_KEYS}` : `did you mean ${hint}?`
      throw new UsageError(`has an unknown key ${JSON.stringify(key)}: ${remedy}`)
    }
    const [field, read] = known
    if (field in filter) throw new UsageError(`names ${key} twice`)
    filter[field] = read(value)
  }
  if (Object.keys(filter).length === 0) throw new UsageError('is empty: --all means all dead letters')
  return filter
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
