import { ConfigError, describeValue } from '../../errors.ts'
import {
  nonEmptyText,
  nonNegativeInteger,
  type OptionRule,
  oneOf,
  optional,
  resolveOptions,
} from '../../kit/options.ts'
import type { DeadLetterReason } from '../../transport/transport.ts'

/** Selects the dead letters that match every given field. */
export interface DeadLetterFilter {
  readonly eventId?: string
  readonly eventType?: string
  readonly aggregateId?: string
  readonly consumerGroup?: string
  readonly handlerName?: string
  readonly reason?: DeadLetterReason['kind']
  /** The `name` of the error. */
  readonly errorName?: string
  /** A part of the error's text. */
  readonly errorMessage?: string
  /** The `errorSignature` of a dead letter, or the `key` of a group of `summary({ by: 'error' })`. */
  readonly errorSignature?: string
  /** Only dead letters whose last failure was before this time. One without a time matches no time. */
  readonly failedBefore?: Date
  /** Only dead letters whose last failure was at this time or later. */
  readonly failedSince?: Date
  /** Only dead letters that were replayed at least this often. */
  readonly minReplays?: number
  /** Only dead letters that were replayed at most this often. */
  readonly maxReplays?: number
}

const time: OptionRule = {
  rule: 'a valid Date',
  isValid: (value) => value instanceof Date && !Number.isNaN(value.getTime()),
}

const filterRules: Readonly<Record<keyof DeadLetterFilter, OptionRule>> = {
  eventId: optional(nonEmptyText),
  eventType: optional(nonEmptyText),
  aggregateId: optional(nonEmptyText),
  consumerGroup: optional(nonEmptyText),
  handlerName: optional(nonEmptyText),
  errorName: optional(nonEmptyText),
  errorMessage: optional(nonEmptyText),
  errorSignature: optional(nonEmptyText),
  minReplays: optional(nonNegativeInteger),
  maxReplays: optional(nonNegativeInteger),
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

/**
 * @param action - what the call does to dead letters that match: `{}` matches all of them.
 * @throws ConfigError also for a field that is undefined, because the call would match more than intended.
 */
export function checkWhich(call: string, which: unknown, action: string): void {
  if (typeof which === 'string') return
  if (typeof which !== 'object' || which === null) {
    throw new ConfigError(call, [
      `pass the id of a dead letter, or a filter ({} ${action} all), got ${describeValue(which)}`,
    ])
  }
  const unset = Object.keys(which).filter((name) => (Reflect.get(which, name) ?? undefined) === undefined)
  if (unset.length > 0) {
    throw new ConfigError(call, [`${unset.join(' and ')} must have a value; omit a field to match all`])
  }
  checkFilter(call, which)
}
