import {
  booleanOption,
  functionOption,
  type OptionRule,
  optional,
  positiveInteger,
  positiveIntegerOrInfinity,
} from '../../kit/options.ts'
import { type Actor, actorDefaults, actorRules } from '../audit.ts'

/** The state of a bulk change. */
export interface BulkProgress {
  /** Number of dead letters that were read. */
  readonly scanned: number
  /** Number of dead letters at the start: those of the group that the filter names, or all. */
  readonly total: number
  /** Number of dead letters that match. */
  readonly matched: number
  /** Number of dead letters that were replayed or removed. */
  readonly changed: number
  /** Number of dead letters that could not be replayed, and were kept. */
  readonly failed: number
}

/** Limits, progress and author of a change of many dead letters. */
export interface BulkOptions extends Actor {
  /** Maximum number of dead letters that are changed. Default Infinity. */
  readonly limit?: number
  /** Maximum number of changes per second. Default Infinity. */
  readonly ratePerSecond?: number
  /** Maximum number of changes at once. A crash can duplicate as many replays. Default 100; on Redis, a crash duplicates none. */
  readonly batchSize?: number
  /** Only count the dead letters that match. Default false. */
  readonly dryRun?: boolean
  /** Called after each batch of changes, and after each page that was read. The next batch waits for it. */
  readonly onProgress?: (progress: BulkProgress) => void | Promise<void>
  /** Ends the call after the batch in progress. The other dead letters are kept, and a repeated call changes them. */
  readonly signal?: AbortSignal
}

export const signalRule: OptionRule = {
  rule: 'an AbortSignal',
  isValid: (value) => value instanceof AbortSignal,
}

export const bulkDefaults = {
  ...actorDefaults,
  limit: Number.POSITIVE_INFINITY,
  ratePerSecond: Number.POSITIVE_INFINITY,
  batchSize: 100,
  dryRun: false,
  onProgress: (() => undefined) as NonNullable<BulkOptions['onProgress']>,
  signal: undefined as AbortSignal | undefined,
}

/** The options with defaults applied. */
export type ResolvedBulkOptions = typeof bulkDefaults

export const bulkRules: Readonly<Record<keyof typeof bulkDefaults, OptionRule>> = {
  ...actorRules,
  limit: positiveIntegerOrInfinity,
  ratePerSecond: positiveIntegerOrInfinity,
  batchSize: positiveInteger,
  dryRun: booleanOption,
  onProgress: functionOption,
  signal: optional(signalRule),
}
