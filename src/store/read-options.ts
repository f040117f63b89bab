import { observabilityRules } from '../kit/observability-options.ts'
import {
  booleanOption,
  checkedOptions,
  functionOption,
  nonNegativeIntegerOrInfinity,
  type OptionRule,
  optional,
  positiveIntegerOrInfinity,
} from '../kit/options.ts'
import type { GetEventsOptions, ReadAllOptions, StreamName } from './event-store.ts'

const text: OptionRule = { rule: 'a string', isValid: (value) => typeof value === 'string' }
const texts: OptionRule = {
  rule: 'an array of strings',
  isValid: (value) => Array.isArray(value) && value.every((item) => typeof item === 'string'),
}
/** Below 0, a range starts at the first event or ends before it. */
const integer: OptionRule = {
  rule: 'an integer, or Infinity for no limit',
  isValid: (value) => value === Number.POSITIVE_INFINITY || Number.isSafeInteger(value),
}

const streamRules = {
  aggregateType: optional(text),
  fromVersion: optional(integer),
  toVersion: optional(integer),
}
const feedRules = {
  eventTypes: optional(texts),
  aggregateTypes: optional(texts),
  tenantId: optional(text),
  correlationId: optional(text),
  fromPosition: optional(integer),
  toPosition: optional(integer),
  limit: optional(nonNegativeIntegerOrInfinity),
  maxBytes: optional(positiveIntegerOrInfinity),
  undecoded: optional(booleanOption),
}
const storeRules = { logger: optional(observabilityRules.logger), now: optional(functionOption) }
const archiveRules = { ...feedRules, includeArchived: optional(booleanOption) }
const prefixRules = { upTo: integer }
const nameRules = { aggregateId: text, aggregateType: text }

/** The options of stores in memory. @throws ConfigError */
export function checkedStoreOptions<O extends object>(subject: string, options: O): O {
  return checkedOptions(subject, options, storeRules)
}

/** The options of `getEvents`. @throws ConfigError, so that a misspelt one does not return the whole stream. */
export function checkedGetEvents(options: GetEventsOptions): GetEventsOptions {
  return checkedOptions('getEvents', options, streamRules)
}

/** The options of `readAll` or `readPage`. @throws ConfigError, so that a misspelt filter does not return every event. */
export function checkedRead<O extends ReadAllOptions>(call: 'readAll' | 'readPage', options: O): O {
  return checkedOptions(call, options, feedRules)
}

/** The same for a store with an archive. @throws ConfigError */
export function checkedReadWithArchive<O extends ReadAllOptions>(
  call: 'readAll' | 'readPage',
  options: O,
): O {
  return checkedOptions(call, options, archiveRules)
}

/** What to archive: a stream, or all events up to a position. @throws ConfigError */
export function checkedArchiveTarget<T extends StreamName | { readonly upTo: number }>(target: T): T {
  const isStream = typeof target === 'object' && target !== null && 'aggregateId' in target
  return checkedOptions<T>('archive', target, isStream ? nameRules : prefixRules)
}
