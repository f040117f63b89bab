import { parseNames, type ReplayTarget, replayTarget } from '../../transport/replay-headers.ts'
import type { LogListener } from '../client/topic-log.ts'
import { keyOf } from '../wire/message.ts'
import type { StoredRecord } from '../wire/stored-record.ts'

/** When the wait of a record is over, in milliseconds since 1970. */
export const DUE = 'waiting_due'
/** The key of the original record. The key of the copy identifies the wait, so that compaction can remove it. */
export const KEY = 'waiting_key'
/** The offset that decides the place of the record in its line, if the record was stored again. */
export const PLACE = 'waiting_place'
/** Header of a record that only keeps the place of a dead letter. It is never due. */
export const PARKED = 'waiting_parked'
/** Header of a note about the first record of a line: `[id of the wait, offset of the copy, id of the replay topic]`. */
export const RELEASED = 'waiting_released'

/** A record that waits. */
export interface WaitingRecord {
  readonly partition: number
  readonly offset: number
  readonly dueAt: number
  /** Since when it waits, in milliseconds since 1970. */
  readonly since: number
  /** The line in which the record keeps its place; undefined if it keeps no order. */
  readonly line: string | undefined
  /** The offset of the first record of this wait: records of a line follow each other in this order. */
  readonly place: number
  /** True if it keeps the place of a dead letter. */
  readonly isParked: boolean
  /** True once it is stored in the replay topic. */
  isReleased: boolean
}

/** Identifies the records of one handler that keep the order of a key. */
export function lineOf(handlerName: string, key: string): string {
  return JSON.stringify([handlerName, key])
}

/**
 * What the waiting topic holds, as far as it was read. Every reader comes to the same lines, because they follow from the
 * order of the log alone.
 */
export class KafkaWaitingIndex implements LogListener {
  /** By the id of the wait, which is the key of the record. */
  readonly #records = new Map<string, WaitingRecord>()
  /** The ids of the waits of each line, in order. */
  readonly #lines = new Map<string, string[]>()
  /** The records that may be delivered when they are due: those without order, and the first one of each line. */
  readonly #front = new Map<string, WaitingRecord>()
  /** The ids of the topics to which records were released. */
  readonly #releases = new Map<string, string>()

  get isEmpty(): boolean {
    return this.#records.size === 0
  }

  /** Number of records that wait: those that are neither in the replay topic nor dead letters. */
  get unreleased(): number {
    let waiting = 0
    for (const { isReleased, isParked } of this.#records.values()) if (!isReleased && !isParked) waiting += 1
    return waiting
  }

  /** The earliest time since when one of these records waits; Infinity if there is none. */
  oldestSince(): number {
    let oldest = Number.POSITIVE_INFINITY
    for (const { isReleased, isParked, since } of this.#records.values())
      if (!isReleased && !isParked && since < oldest) oldest = since
    return oldest
  }

  /** The records that wait, at most `limit`. Only the first one of a line has a time. */
  waiting(limit: number): readonly (WaitingRecord & { readonly isFirst: boolean })[] {
    const found: (WaitingRecord & { readonly isFirst: boolean })[] = []
    for (const [id, record] of this.#records) {
      if (found.length >= limit) break
      if (!record.isReleased && !record.isParked) found.push({ ...record, isFirst: this.#front.has(id) })
    }
    return found
  }

  /** The records that are due, in the order in which they became due. */
  due(now: number): readonly (readonly [id: string, record: WaitingRecord])[] {
    const due = [...this.#front].filter(([, { isReleased, dueAt }]) => !isReleased && dueAt <= now)
    return due.sort(([, a], [, b]) => a.dueAt - b.dueAt)
  }

  /** When the next record is due; Infinity if none is. */
  nextDueAt(): number {
    let next = Number.POSITIVE_INFINITY
    for (const { isReleased, dueAt } of this.#front.values()) if (!isReleased && dueAt < next) next = dueAt
    return next
  }

  get(id: string): WaitingRecord | undefined {
    return this.#records.get(id)
  }

  /** The ids of the waits of a line, in order. */
  line(line: string): readonly string[] {
    return this.#lines.get(line) ?? []
  }

  /** Notes that a record is in the replay topic. */
  released(id: string, topicId: string): void {
    const record = this.#records.get(id)
    if (record === undefined) return
    record.isReleased = true
    this.#releases.set(id, topicId)
  }

  /** Makes records releasable again that went to a replay topic which has been replaced since. */
  undoReleases(topicId: string): void {
    for (const [id, releasedTo] of this.#releases) {
      const record = this.#records.get(id)
      if (releasedTo === topicId || record === undefined) continue
      this.#releases.delete(id)
      record.isReleased = false
    }
  }

  /** Forgets a record that the log no longer has. A later record of the same wait is read with the next ones. */
  forget(id: string): void {
    const record = this.#records.get(id)
    if (record === undefined) return
    this.#records.delete(id)
    this.#releases.delete(id)
    this.#front.delete(id)
    if (record.line !== undefined) this.#leave(record.line, id)
  }

  onTopic(): void {
    this.#records.clear()
    this.#lines.clear()
    this.#front.clear()
    this.#releases.clear()
  }

  onStart(): void {
    // Compaction removes only records whose waits are over, or were stored again.
  }

  onRecord(partition: number, record: StoredRecord): void {
    const note = record.headerTexts[RELEASED]
    const id = record.key?.toString('utf8') ?? ''
    if (note !== undefined) this.#onRelease(note)
    else if (record.value === null) this.forget(id)
    else this.#set(id, this.#read(partition, record, id))
  }

  #read(partition: number, { offset, headers, headerTexts }: StoredRecord, id: string): WaitingRecord {
    const former = this.#records.get(id)
    const target = replayTarget(headerTexts)
    const line = lineIn(target, headers)
    const isParked = headerTexts[PARKED] !== undefined
    const place = former?.line === line ? former?.place : undefined
    return {
      partition,
      offset,
      dueAt: isParked ? Number.POSITIVE_INFINITY : (numberIn(headerTexts[DUE]) ?? 0),
      since: (target?.earlier?.firstFailedAt ?? new Date()).getTime(),
      line,
      place: place ?? numberIn(headerTexts[PLACE]) ?? offset,
      isParked,
      isReleased: false,
    }
  }

  #set(id: string, record: WaitingRecord): void {
    const former = this.#records.get(id)
    this.#records.set(id, record)
    this.#releases.delete(id)
    const { line } = record
    const hasPlace = line !== undefined && former?.line === line
    if (former?.line !== undefined && !hasPlace) this.#leave(former.line, id)
    if (line !== undefined && !hasPlace) this.#join(line, id, record.place)
    if (line === undefined || this.line(line)[0] === id) this.#front.set(id, record)
  }

  #join(line: string, id: string, place: number): void {
    const ids = this.#lines.get(line) ?? []
    this.#lines.set(line, ids)
    let at = ids.length
    // A record that was stored again may stand behind later ones in a compacted log.
    while (at > 0 && (this.#records.get(ids[at - 1] ?? '')?.place ?? 0) > place) at -= 1
    if (at === 0) this.#front.delete(ids[0] ?? '')
    ids.splice(at, 0, id)
  }

  #leave(line: string, id: string): void {
    const ids = this.#lines.get(line) ?? []
    const at = ids.indexOf(id)
    if (at >= 0) ids.splice(at, 1)
    const [first] = ids
    const next = first === undefined ? undefined : this.#records.get(first)
    if (first === undefined) this.#lines.delete(line)
    else if (next !== undefined) this.#front.set(first, next)
  }

  /** A note that comes late refers to a wait that is over, or to an earlier copy of it, and has no effect. */
  #onRelease(note: string): void {
    const [id = '', offset = '', topicId = ''] = parseNames(note) ?? []
    if (this.#records.get(id)?.offset === Number(offset)) this.released(id, topicId)
  }
}

function lineIn(target: ReplayTarget | undefined, headers: StoredRecord['headers']): string | undefined {
  const [handlerName] = target?.handlerNames ?? []
  if (handlerName === undefined || target?.earlier?.place === undefined) return undefined
  const key = headers.find(([name]) => name?.toString('utf8') === KEY)?.[1]
  return key === undefined || key === null ? undefined : lineOf(handlerName, keyOf(key) ?? '')
}

function numberIn(text: string | undefined): number | undefined {
  const number = Number(text)
  return Number.isFinite(number) ? number : undefined
}
