import { MAX_STACK } from '../errors.ts'
import { parseNames } from './replay-headers.ts'
import type { DeadLetterReason, StoredDeadLetter } from './transport.ts'

/** Maximum length of the error text of a dead letter, in characters; eventsource-py's limit on Kafka. */
const MAX_ERROR_TEXT = 1000

/**
 * Writes a reason as text fields: the fields that eventsource-py has on Kafka, with its names, and further fields,
 * which it ignores. Each transport may spell the names differently.
 */
export function writeReason(reason: DeadLetterReason): Record<string, string> {
  return {
    dlq_reason: reason.kind,
    dlq_error_type: reason.errorName.slice(0, MAX_ERROR_TEXT),
    dlq_error_message: reason.errorMessage.slice(0, MAX_ERROR_TEXT),
    ...(reason.errorStack !== undefined && { dlq_error_stack: reason.errorStack.slice(0, MAX_STACK) }),
    dlq_retry_count: String(Math.max(0, reason.attempts - 1)),
    dlq_timestamp: pythonTime(reason.failedAt),
    dlq_consumer_group: reason.consumerGroup,
    dlq_handlers: JSON.stringify(reason.handlerNames),
    dlq_settled_handlers: JSON.stringify(reason.settledHandlers),
    dlq_attempts: String(reason.attempts),
    ...(isAny(reason.parkedFor) && { dlq_parked_for: JSON.stringify(reason.parkedFor) }),
    dlq_first_failed_at: pythonTime(reason.firstFailedAt),
  }
}

/** How often and when a message was replayed. */
export type ReplayHistory = Pick<StoredDeadLetter, 'replayCount' | 'lastReplayedAt'>

/** Writes the replay history of a message as text fields, with this replay in it. */
export function writeReplay({ replayCount = 0 }: ReplayHistory): Record<string, string> {
  return {
    dlq_replay_count: String(Math.min(replayCount, MAX_REPLAYS) + 1),
    dlq_replayed_at: pythonTime(new Date()),
  }
}

/** Reads the replay history from such fields. */
export function readReplays(fields: Readonly<Record<string, string | undefined>>): ReplayHistory {
  return definedOnly({
    replayCount: wholeNumber(fields['dlq_replay_count']),
    lastReplayedAt: timeOf(fields['dlq_replayed_at']),
  })
}

/** The fields of a dead letter that was read elsewhere. Those that it does not have are left out. */
export function writeImported(
  letter: ReplayHistory & Pick<StoredDeadLetter, 'reason'>,
): Record<string, string> {
  const now = new Date()
  const { reason, replayCount, lastReplayedAt } = letter
  const whole = writeReason({
    kind: 'max_retries_exceeded',
    errorName: '',
    errorMessage: '',
    handlerNames: [],
    settledHandlers: [],
    consumerGroup: '',
    attempts: 0,
    firstFailedAt: now,
    failedAt: now,
    ...definedOnly(reason),
    // Messages that wait behind a dead letter do not come with it.
    parkedFor: undefined,
  })
  const absent = new Set<string>(
    Object.entries(FIELD_OF).flatMap(([name, field]) =>
      reason[name as keyof typeof FIELD_OF] === undefined ? [field] : [],
    ),
  )
  if (reason.attempts === undefined) absent.add('dlq_retry_count')
  const fields = Object.entries(whole).filter(([name]) => !absent.has(name))
  if (replayCount !== undefined) fields.push(['dlq_replay_count', String(replayCount)])
  if (lastReplayedAt !== undefined) fields.push(['dlq_replayed_at', pythonTime(lastReplayedAt)])
  return Object.fromEntries(fields)
}

const FIELD_OF = {
  kind: 'dlq_reason',
  errorName: 'dlq_error_type',
  errorMessage: 'dlq_error_message',
  handlerNames: 'dlq_handlers',
  settledHandlers: 'dlq_settled_handlers',
  consumerGroup: 'dlq_consumer_group',
  attempts: 'dlq_attempts',
  firstFailedAt: 'dlq_first_failed_at',
  failedAt: 'dlq_timestamp',
} as const

/** Larger counts are not read. */
const MAX_REPLAYS = 999_999_998

/** Reads a reason from such fields. Fields that eventsource-py does not write are absent from its dead letters. */
export function readReason(fields: Readonly<Record<string, string | undefined>>): Partial<DeadLetterReason> {
  const retries = wholeNumber(fields['dlq_retry_count'])
  return definedOnly({
    kind: kindOf(fields['dlq_reason']),
    errorName: fields['dlq_error_type'],
    errorMessage: fields['dlq_error_message'],
    errorStack: fields['dlq_error_stack'] || undefined,
    handlerNames: fields['dlq_handlers'] === undefined ? undefined : parseNames(fields['dlq_handlers']),
    settledHandlers:
      fields['dlq_settled_handlers'] === undefined ? undefined : parseNames(fields['dlq_settled_handlers']),
    parkedFor: fields['dlq_parked_for'] === undefined ? undefined : parseNames(fields['dlq_parked_for']),
    consumerGroup: fields['dlq_consumer_group'],
    attempts: wholeNumber(fields['dlq_attempts']) ?? (retries === undefined ? undefined : retries + 1),
    firstFailedAt: timeOf(fields['dlq_first_failed_at']),
    failedAt: timeOf(fields['dlq_timestamp']),
  })
}

const KINDS: readonly string[] = [
  'max_retries_exceeded',
  'rejected',
  'deserialization_error',
  'delivery_limit_exceeded',
  'handler_not_found',
] satisfies readonly DeadLetterReason['kind'][]

function kindOf(text: string | undefined): DeadLetterReason['kind'] | undefined {
  // The list above holds exactly the kinds.
  return text !== undefined && KINDS.includes(text) ? (text as DeadLetterReason['kind']) : undefined
}

function isAny(names: readonly string[] | undefined): boolean {
  return names !== undefined && names.length > 0
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined
}

function timeOf(text: string | undefined): Date | undefined {
  if (text === undefined) return undefined
  const time = new Date(text)
  return Number.isNaN(time.getTime()) ? undefined : time
}

function pythonTime(time: Date): string {
  return time.toISOString().replace('Z', '+00:00')
}

function definedOnly<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined)
  // Only undefined values were taken out.
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> }
}
