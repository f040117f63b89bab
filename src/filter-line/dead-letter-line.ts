import type { DeadLetterFilter } from '../bus/index.ts'
import { type FilterKeys, filterLineOf, lineWriterOf } from './filter-line.ts'
import { integer, oneOf, text, time } from './values.ts'

const REASONS = [
  'max_retries_exceeded',
  'rejected',
  'deserialization_error',
  'delivery_limit_exceeded',
  'handler_not_found',
] as const

const KEYS: FilterKeys<DeadLetterFilter> = {
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

export const DEAD_LETTER_KEYS = Object.keys(KEYS).join(', ')

/** The line of a filter. */
export const writeDeadLetterLine = lineWriterOf<DeadLetterFilter>(KEYS)

export const deadLetterLine = filterLineOf<DeadLetterFilter>(KEYS, '--all means all dead letters')
