import { UNNAMED_HANDLER } from '../../handling/handler-entry.ts'
import {
  booleanOption,
  functionOption,
  nonEmptyText,
  type OptionRule,
  oneOf,
  optional,
  positiveInteger,
  positiveIntegerOrInfinity,
} from '../../kit/options.ts'
import { type Actor, actorDefaults, actorRules, type Change } from '../audit.ts'
import { type BulkOptions, bulkDefaults, bulkRules, signalRule } from './bulk-options.ts'
import type { DeadLetter } from './dead-letter.ts'
import type { DeadLetterFilter } from './dead-letter-filter.ts'
import type { DeadLetterSummary, SummaryKey } from './dead-letter-summary.ts'

/** Where a replay goes. */
export interface DeadLetterReplayOptions {
  /** Names of the handlers that get the event, instead of those that failed. They get it even if they had succeeded. */
  readonly handlers?: readonly string[]
  /** The consumer group that gets the event, instead of the one that failed. Without `handlers`, all of its handlers do. */
  readonly group?: string
}

/** Where a replay goes, who replays, and why. */
export interface ReplayOneOptions extends DeadLetterReplayOptions, Actor {}

/** Options of `replayEdited`. */
export interface ReplayEditedOptions extends ReplayOneOptions {
  /** Only check the payload and the destination. Default false. */
  readonly dryRun?: boolean
}

/** Options of `replayAll`. */
export interface ReplayAllOptions extends DeadLetterReplayOptions, BulkOptions {}

/** Which dead letters a page lists. */
export interface DeadLetterListOptions {
  /** Only the dead letters that match. Default: all. */
  readonly filter?: DeadLetterFilter
  /** Order by the time at which they became dead letters. Default `'oldest'`: the oldest first. */
  readonly order?: 'oldest' | 'newest'
  /** Maximum number of dead letters on the page. Default 100. */
  readonly limit?: number
  /** The `cursor` of the previous page, whose filter and order must be the same. */
  readonly cursor?: string
  /**
   * Maximum number of dead letters that are read for the page. It can then have fewer than `limit`, or none, and a cursor with
   * which the search continues. Default Infinity. RabbitMQ reads the whole queue for `'newest'`.
   */
  readonly maxScanned?: number
  /** Ends the search for dead letters that match; the page then has those that were found. */
  readonly signal?: AbortSignal
}

/** A page of dead letters. */
export interface DeadLetterList {
  readonly deadLetters: readonly DeadLetter[]
  /** Pass it to `list` for the next page; undefined after the last page. */
  readonly cursor: string | undefined
}

/** A summary that is not complete yet. */
export interface SummaryProgress extends DeadLetterSummary {
  /** Number of dead letters at the start: those of the group that the filter names, or all. */
  readonly total: number
}

/** Which dead letters a summary counts, and by what. */
export interface SummaryOptions {
  /** What the dead letters are grouped by. Default `'error'`. */
  readonly by?: SummaryKey
  /** Only the dead letters that match. Default: all. */
  readonly filter?: DeadLetterFilter
  /** Maximum number of dead letters that are read. Default Infinity. */
  readonly maxScanned?: number
  /** Called after each page that was read, with the counts so far. The next page waits for it. */
  readonly onProgress?: (progress: SummaryProgress) => void | Promise<void>
  /** Ends the scan; the summary then covers the dead letters that were read. */
  readonly signal?: AbortSignal
}

export const destination = {
  handlers: undefined as readonly string[] | undefined,
  group: undefined as string | undefined,
}

const destinationRules: Readonly<Record<keyof typeof destination, OptionRule>> = {
  handlers: optional({
    rule: `a non-empty array of names other than ${UNNAMED_HANDLER}`,
    isValid: (value) => Array.isArray(value) && value.length > 0 && value.every(isHandlerName),
  }),
  group: optional(nonEmptyText),
}

export const replayOneDefaults = { ...destination, ...actorDefaults }

export const replayOneRules: Readonly<Record<keyof typeof replayOneDefaults, OptionRule>> = {
  ...destinationRules,
  ...actorRules,
}

export const replayEditedDefaults = { ...replayOneDefaults, dryRun: false }

export const replayEditedRules: Readonly<Record<keyof typeof replayEditedDefaults, OptionRule>> = {
  ...replayOneRules,
  dryRun: booleanOption,
}

export const replayDefaults = { ...destination, ...bulkDefaults }

export const replayRules: Readonly<Record<keyof typeof replayDefaults, OptionRule>> = {
  ...destinationRules,
  ...bulkRules,
}

const anyFilter: OptionRule = {
  rule: 'a filter of dead letters',
  isValid: (value) => typeof value === 'object' && value !== null,
}

export const listDefaults = {
  filter: {} as DeadLetterFilter,
  order: 'oldest' as 'oldest' | 'newest',
  limit: 100,
  cursor: undefined as string | undefined,
  maxScanned: Number.POSITIVE_INFINITY,
  signal: undefined as AbortSignal | undefined,
}

export const listRules: Readonly<Record<keyof typeof listDefaults, OptionRule>> = {
  filter: anyFilter,
  order: oneOf('oldest', 'newest'),
  limit: positiveInteger,
  cursor: optional(nonEmptyText),
  maxScanned: positiveIntegerOrInfinity,
  signal: optional(signalRule),
}

export const summaryDefaults = {
  by: 'error' as SummaryKey,
  filter: {} as DeadLetterFilter,
  maxScanned: Number.POSITIVE_INFINITY,
  onProgress: undefined as SummaryOptions['onProgress'],
  signal: undefined as AbortSignal | undefined,
}

export const summaryRules: Readonly<Record<keyof typeof summaryDefaults, OptionRule>> = {
  by: oneOf('error', 'eventType', 'handler', 'group', 'reason'),
  filter: anyFilter,
  maxScanned: positiveIntegerOrInfinity,
  onProgress: optional(functionOption),
  signal: optional(signalRule),
}

export const importDefaults = { ...actorDefaults, signal: undefined as AbortSignal | undefined }

export const importRules: Readonly<Record<keyof typeof importDefaults, OptionRule>> = {
  ...actorRules,
  signal: optional(signalRule),
}

/** Options of a sweep that changes nothing. */
export const READ_ONLY = { batchSize: 100, beforeBatch: () => Promise.resolve(), onProgress: () => undefined }

/** A change for the record. */
export function changeOf(
  action: Change['action'],
  target: Change['target'],
  { by, why, ...options }: typeof actorDefaults & Partial<typeof destination>,
): Change {
  return {
    action,
    target: { ...target, ...replayTargetOf(options) },
    ...(by !== undefined && { by }),
    ...(why !== undefined && { why }),
  }
}

export function replayTargetOf({
  handlers,
  group,
}: {
  readonly handlers?: readonly string[] | undefined
  readonly group?: string | undefined
}): Record<string, unknown> {
  return { ...(handlers !== undefined && { handlers }), ...(group !== undefined && { group }) }
}

function isHandlerName(value: unknown): boolean {
  return nonEmptyText.isValid(value) && value !== UNNAMED_HANDLER
}
