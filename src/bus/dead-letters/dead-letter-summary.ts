import type { StoredDeadLetter } from '../../transport/transport.ts'
import { type LetterReader, signatureOf } from './describe-letter.ts'

/** What the dead letters of a summary are grouped by. */
export type SummaryKey = 'error' | 'eventType' | 'handler' | 'group' | 'reason'

/** The dead letters with one error, event type, handler, group or reason. */
export interface DeadLetterGroup {
  /** The error's signature, or the name; `(none)` if the dead letters have none. */
  readonly key: string
  readonly count: number
  /** Times of the last failure of the dead letters. */
  readonly firstAt: Date | undefined
  readonly lastAt: Date | undefined
  /** The consumer groups of the dead letters, and the handlers that failed; at most 20 of each. */
  readonly consumerGroups: readonly string[]
  readonly handlerNames: readonly string[]
  /** One of the dead letters. */
  readonly sample: Pick<StoredDeadLetter, 'id'> & {
    readonly errorName: string | undefined
    readonly errorMessage: string | undefined
  }
}

/** The dead letters of a queue in groups, with their numbers. */
export interface DeadLetterSummary {
  /** The largest group first. */
  readonly groups: readonly DeadLetterGroup[]
  /** Number of dead letters that match. One that several handlers gave up counts in each of their groups, and once here. */
  readonly matched: number
  /** Number of dead letters that were read. */
  readonly scanned: number
  /** False if `maxScanned` or the signal ended the scan: the counts are those of the oldest `scanned` dead letters. */
  readonly isComplete: boolean
}

/** Most groups of a summary. Dead letters of further ones count as `(other)`. */
const MAX_GROUPS = 1000

/** Most names that are kept of a group. */
const MAX_NAMES = 20

/** A longer body of a sample is not kept. */
const MAX_SAMPLE_LENGTH = 16 * 1024

/** The bodies of samples. They are no part of a summary, which is printed. */
const bodies = new WeakMap<DeadLetterGroup['sample'], Uint8Array | string>()

/** The body of the message of a sample; undefined if it is long. */
export function bodyOfSample(sample: DeadLetterGroup['sample']): Uint8Array | undefined {
  const body = bodies.get(sample)
  return body === undefined ? undefined : Buffer.from(body)
}

interface Group {
  readonly key: string
  readonly consumerGroups: string[]
  readonly handlerNames: string[]
  count: number
  firstAt: Date | undefined
  lastAt: Date | undefined
  readonly sample: DeadLetterGroup['sample']
}

/** Counts dead letters by what they have in common. */
export class SummaryBuilder {
  readonly #by: SummaryKey
  readonly #reader: LetterReader
  readonly #groups = new Map<string, Group>()

  constructor(by: SummaryKey, reader: LetterReader) {
    this.#by = by
    this.#reader = reader
  }

  add(letter: StoredDeadLetter): void {
    for (const key of this.#keysOf(letter)) this.#count(key, letter)
  }

  groups(): readonly DeadLetterGroup[] {
    return [...this.#groups.values()].toSorted((a, b) => b.count - a.count)
  }

  #keysOf(letter: StoredDeadLetter): readonly string[] {
    const { reason } = letter
    switch (this.#by) {
      case 'error':
        return [signatureOf(letter) ?? NONE]
      case 'eventType':
        return [this.#reader.eventTypeOf(letter) ?? NONE]
      case 'handler':
        return reason.handlerNames === undefined || reason.handlerNames.length === 0
          ? [NONE]
          : reason.handlerNames
      case 'group':
        return [reason.consumerGroup ?? NONE]
      case 'reason':
        return [reason.kind ?? NONE]
    }
  }

  #count(wanted: string, { id, reason, message }: StoredDeadLetter): void {
    const key = this.#groups.has(wanted) || this.#groups.size < MAX_GROUPS ? wanted : OTHER
    const { failedAt, errorName, errorMessage } = reason
    const sample = { id, errorName, errorMessage }
    const names = { consumerGroups: [], handlerNames: [] }
    const known = this.#groups.get(key)
    if (known === undefined && message.body.length <= MAX_SAMPLE_LENGTH) bodies.set(sample, message.body)
    const group = known ?? {
      key,
      ...names,
      count: 0,
      firstAt: failedAt,
      lastAt: failedAt,
      sample,
    }
    group.count += 1
    if (reason.consumerGroup !== undefined) note(group.consumerGroups, reason.consumerGroup)
    for (const name of reason.handlerNames ?? []) note(group.handlerNames, name)
    if (failedAt !== undefined) {
      if (group.firstAt === undefined || failedAt < group.firstAt) group.firstAt = failedAt
      if (group.lastAt === undefined || failedAt > group.lastAt) group.lastAt = failedAt
    }
    this.#groups.set(key, group)
  }
}

function note(names: string[], name: string): void {
  if (names.length < MAX_NAMES && !names.includes(name)) names.push(name)
}

const NONE = '(none)'
const OTHER = '(other)'
