import { ConfigError, describeValue } from '../../errors.ts'
import { nonEmptyText, type OptionRule, oneOf, optional, resolveOptions } from '../../kit/options.ts'
import type { DeadLetterReason } from '../../transport/transport.ts'
import type { DeadLetter } from './dead-letter.ts'

/** Selects the dead letters that match every given field. */
export interface DeadLetterFilter {
  readonly eventType?: string
  readonly aggregateId?: string
  readonly consumerGroup?: string
  readonly handlerName?: string
  readonly reason?: DeadLetterReason['kind']
  /** The `name` of the error. */
  readonly errorName?: string
  /** A part of the error's text. */
  readonly errorMessage?: string
  /** Only dead letters whose last failure was before this time. One without a time matches no time. */
  readonly failedBefore?: Date
  /** Only dead letters whose last failure was at this time or later. */
  readonly failedSince?: Date
}

const time: OptionRule = {
  rule: 'a valid Date',
  isValid: (value) => value instanceof Date && !Number.isNaN(value.getTime()),
}

const filterRules: Readonly<Record<keyof DeadLetterFilter, OptionRule>> = {
  eventType: optional(nonEmptyText),
  aggregateId: optional(nonEmptyText),
  consumerGroup: optional(nonEmptyText),
  handlerName: optional(nonEmptyText),
  errorName: optional(nonEmptyText),
  errorMessage: optional(nonEmptyText),
  failedBefore: optional(time),
  failedSince: optional(time),
  reason: optional(
    oneOf(
      'max_retries_exceeded',
      'rejected',
      'deserialization_error',
      'delivery_limit_exceeded',
      'handler_not_found',
    ),
  ),
}

/** @throws ConfigError */
export function checkFilter(call: string, filter: unknown): void {
  resolveOptions(call, filter, {}, filterRules)
}

/** @throws ConfigError */
export function checkPurge(which: unknown): void {
  const call = 'deadLetters.purge'
  if (typeof which === 'string') return
  if (typeof which !== 'object' || which === null) {
    throw new ConfigError(call, [
      `pass the id of a dead letter, or a filter ({} removes all), got ${describeValue(which)}`,
    ])
  }
  const unset = Object.keys(which).filter((name) => (Reflect.get(which, name) ?? undefined) === undefined)
  if (unset.length > 0) {
    throw new ConfigError(call, [`${unset.join(' and ')} must have a value; omit a field to match all`])
  }
  checkFilter(call, which)
}

export function matches(letter: DeadLetter, filter: DeadLetterFilter): boolean {
  return (
    (filter.eventType === undefined || letter.eventType === filter.eventType) &&
    (filter.aggregateId === undefined || letter.aggregateId === filter.aggregateId) &&
    (filter.consumerGroup === undefined || letter.consumerGroup === filter.consumerGroup) &&
    (filter.handlerName === undefined || (letter.handlerNames?.includes(filter.handlerName) ?? false)) &&
    (filter.reason === undefined || letter.reason === filter.reason) &&
    (filter.errorName === undefined || letter.errorName === filter.errorName) &&
    (filter.errorMessage === undefined || (letter.errorMessage?.includes(filter.errorMessage) ?? false)) &&
    isWithin(letter.lastFailedAt, filter)
  )
}

function isWithin(failedAt: Date | undefined, { failedBefore, failedSince }: DeadLetterFilter): boolean {
  if (failedBefore === undefined && failedSince === undefined) return true
  if (failedAt === undefined) return false
  return (
    (failedBefore === undefined || failedAt < failedBefore) &&
    (failedSince === undefined || failedAt >= failedSince)
  )
}
