import { placesOf, REPLAY_HANDLERS, waitHeader } from '../../transport/replay-headers.ts'
import type { Wait, WaitingStore } from '../../transport/waiting.ts'
import { KafkaTopicLog, type KafkaTopicLogParts } from '../client/topic-log.ts'
import type { KafkaTopicDirectory, TopicProfile } from '../client/topics.ts'
import { originalHeaders } from '../dead-letters/store-dead-letter.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaPublisher } from '../publishing/publisher.ts'
import type { RecordToWrite } from '../wire/record-batch.ts'
import type { StoredRecord } from '../wire/stored-record.ts'
import type { HeldRecord } from './held-record.ts'
import { JoinedRecords } from './joined-records.ts'
import {
  DUE,
  KafkaWaitingIndex,
  KEY,
  lineOf,
  PARKED,
  PLACE,
  RELEASED,
  type WaitingRecord,
} from './waiting-index.ts'

const REPLAYS = { isBusOwned: true, partitions: 1 } as const
/** How the topic is created. */
export const WAITING_PROFILE: TopicProfile = {
  isBusOwned: true,
  partitions: 1,
  configs: [{ name: 'cleanup.policy', value: 'compact' }],
}
/** Headers of a copy that the record to deliver does not have. */
const OWN_HEADERS: ReadonlySet<string> = new Set([DUE, KEY, PLACE])
/** Interval between two readings of the owner while records wait, and for `BUSY_MS` afterwards: others may add more. */
const POLL_MS = 500
const BUSY_MS = 10_000
/** How old the knowledge about a line may be that was not empty, in milliseconds. */
const FRESH_MS = 200
/** Records that are delivered at the same time. */
const PAGE = 100

export interface KafkaWaitingRecordsParts extends KafkaTopicLogParts {
  readonly options: ResolvedKafkaOptions
  readonly topics: KafkaTopicDirectory
  readonly publisher: KafkaPublisher
  /** True while this process owns the replay topic of the group. Only the owner delivers, so that nothing comes twice. */
  readonly isOwner: () => boolean
  /** Called when the replay topic may have been created. */
  readonly onTopics: () => void
}

/**
 * Records that wait for an attempt of one handler, in a compacted topic of the group. Their keys identify the waits; a
 * tombstone ends one. The owner of the group's replay topic copies due records there. Records that keep their order form
 * lines: only the first one of a line may be delivered, and it keeps its place until it is handled. The owner of a partition
 * of the stream knows what waits for its records if it reads the topic once after it took over: from then on, it adds to
 * these lines itself.
 */
export class KafkaWaitingRecords implements WaitingStore {
  readonly parkProblem = undefined
  onReady: (() => void) | undefined
  readonly #parts: KafkaWaitingRecordsParts
  readonly #log: KafkaTopicLog
  readonly #topic: string
  readonly #index = new KafkaWaitingIndex()
  /** The partitions of the stream for which the topic was read since this process owns them. */
  readonly #known = new WeakSet<HeldRecord['partition']>()
  /** The records that have joined lines and may not have been read yet. */
  readonly #joined = new JoinedRecords()
  #releasing: Promise<unknown> = Promise.resolve()
  #busyUntil = 0
  /** When the last reading of the topic started, by the monotonic clock. */
  #readAt = Number.NEGATIVE_INFINITY

  constructor(parts: KafkaWaitingRecordsParts) {
    this.#parts = parts
    this.#topic = parts.options.topics.waiting(parts.options.consumerGroup)
    this.#log = new KafkaTopicLog(parts, this.#topic, this.#index)
  }

  async prepare(): Promise<void> {
    const { topics, options, onTopics } = this.#parts
    await topics.ensure(this.#topic, WAITING_PROFILE)
    await topics.ensure(options.topics.replays(options.consumerGroup), REPLAYS)
    onTopics()
  }

  async count(): Promise<number> {
    await this.#read()
    return this.#index.unreleased
  }

  async oldestSince(): Promise<Date | undefined> {
    await this.#read()
    const since = this.#index.oldestSince()
    return since === Number.POSITIVE_INFINITY ? undefined : new Date(since)
  }

  /** The first records that wait. */
  async waiting(limit: number) {
    await this.#read()
    return this.#log.read(this.#index.waiting(limit))
  }

  /** Resolves when a copy of the record is stored. It replaces the copy of an earlier try. */
  async add(held: HeldRecord, { keepsOrder, ...wait }: Wait): Promise<void> {
    const id = idOf(held, wait.handlerName)
    if (!keepsOrder || held.message.key === undefined) {
      await this.#store(held, wait)
      return
    }
    if (held.partition.isReplays && this.#index.get(id) === undefined) await this.#read()
    await this.#store(held, wait, id, this.#index.get(id)?.place)
    // The next record of the key must find this one.
    await this.#read()
  }

  /**
   * Stores a copy of the record behind those of the same line, unless `limit` of them do.
   * @returns how many there are.
   */
  async addBehind(held: HeldRecord, handlerName: string, limit: number): Promise<number> {
    const { key } = held.message
    if (key === undefined) return 0
    const line = lineOf(handlerName, key)
    const ids = await this.#line(held, line)
    const id = idOf(held, handlerName)
    const at = ids.indexOf(id)
    if (placesOf(held.replayTarget).has(handlerName)) {
      // It has its place, whatever the limit.
      return Math.min(limit - 1, await this.#replayed(held, handlerName, { id, at }))
    }
    // After a crash, the copy may exist.
    if (at >= 0) return Math.max(1, Math.min(limit - 1, at))
    const before = this.#joined.countWith(line, ids)
    if (before === 0) return 0
    if (before >= limit) return before
    // If its wait is over and later records wait, it was delivered before, and is delivered again before these.
    const later = held.deliveryCount === 1 ? undefined : ids.find((other) => isLater(other, id))
    const place = later === undefined ? undefined : this.#index.get(later)?.place
    const wait = { handlerName, attempts: 0, firstFailedAt: new Date(), delayMs: 0 }
    await this.#store(held, wait, id, place === undefined ? undefined : place - 0.5)
    this.#joined.add(line, id)
    return before
  }

  /** A dead letter that is replayed before others of its line waits at its place. */
  async #replayed(
    held: HeldRecord,
    handlerName: string,
    { id, at }: { readonly id: string; readonly at: number },
  ): Promise<number> {
    if (at <= 0) return 0
    const wait = { handlerName, attempts: 0, firstFailedAt: new Date(), delayMs: 0 }
    await this.#store(held, wait, id, this.#index.get(id)?.place)
    return at
  }

  /** Keeps the place of a record that has become a dead letter for a handler, so that no other follows. */
  async park(held: HeldRecord, handlerNames: readonly string[]): Promise<void> {
    if (held.partition.isReplays) await this.#read()
    await Promise.all(
      handlerNames.map(async (handlerName) => {
        const id = idOf(held, handlerName)
        const wait = { handlerName, attempts: 0, firstFailedAt: new Date() }
        const { key } = held.record
        const place = this.#index.get(id)?.place
        const headers = [
          [REPLAY_HANDLERS, waitHeader(wait, id)] as const,
          [PARKED, 'yes'] as const,
          ...(key === null ? [] : [[KEY, key] as const]),
          ...(place === undefined ? [] : [[PLACE, String(place)] as const]),
        ]
        await this.#write({ key: id, value: PARKED, headers })
      }),
    )
    // The next record of the key must find this one.
    await this.#read()
  }

  /** Ends the waits of a record that was delivered, so that the next ones of its lines follow. */
  async passOn({ replayTarget }: HeldRecord, except: readonly string[]): Promise<void> {
    const places = [...placesOf(replayTarget)].flatMap(([name, place]) =>
      except.includes(name) ? [] : [place],
    )
    if (places.length === 0) return
    // The note of its release must not come after its end.
    await this.#releasing.catch(() => undefined)
    await this.#endAll(places)
    for (const place of places) this.#index.forget(place)
  }

  /** Lets the records behind a dead letter follow, in the group that has given it up. */
  async endOf(places: ReadonlyMap<string, string>, group: string): Promise<void> {
    const { options, topics } = this.#parts
    const topic = options.topics.waiting(group)
    await topics.ensure(topic, WAITING_PROFILE)
    await this.#endAll([...places.values()], topic)
    this.onReady?.()
  }

  async #endAll(ids: readonly string[], topic = this.#topic): Promise<void> {
    await Promise.all(
      ids
        .flatMap((id) => [id, noteKey(id)])
        .map((key) => this.#write({ key, value: null, headers: [] }, topic)),
    )
  }

  async release(): Promise<number | undefined> {
    if (!this.#parts.isOwner()) {
      // The tombstones of a compacted topic exist for a day.
      if (!this.#index.isEmpty) await this.#read()
      return undefined
    }
    await this.#read()
    this.#index.undoReleases(this.#replaysId)
    const due = this.#index.due(Date.now())
    for (let start = 0; start < due.length && this.#parts.isOwner(); start += PAGE) {
      this.#releasing = this.#releaseAll(new Map(due.slice(start, start + PAGE)))
      await this.#releasing
    }
    if (!this.#index.isEmpty) this.#busyUntil = performance.now() + BUSY_MS
    const nextMs = Math.max(0, this.#index.nextDueAt() - Date.now())
    const atMostMs = performance.now() < this.#busyUntil ? POLL_MS : Number.POSITIVE_INFINITY
    const inMs = Math.min(nextMs, atMostMs)
    return inMs === Number.POSITIVE_INFINITY ? undefined : inMs
  }

  /** The ids of the waits of a line. */
  async #line({ partition }: HeldRecord, line: string): Promise<readonly string[]> {
    const ids = this.#index.line(line)
    const isOwn = this.#known.has(partition) && !partition.isReplays
    // Others may have ended the line by now. A record that joins it nevertheless is the first of a new one.
    const isEmpty = this.#joined.countWith(line, ids) === 0
    const isEnough = isOwn && (isEmpty || performance.now() - this.#readAt < FRESH_MS)
    if (isEnough) return ids
    await this.#read()
    this.#known.add(partition)
    return this.#index.line(line)
  }

  async #read(): Promise<void> {
    const startedAt = performance.now()
    const stored = this.#joined.all()
    await this.#log.readNew()
    this.#joined.remove(stored)
    this.#readAt = startedAt
  }

  /** @param inLine - the id of a wait that has a place in a line. @param place - decides that place, if it is known. */
  async #store(
    held: HeldRecord,
    wait: Omit<Wait, 'keepsOrder'>,
    inLine?: string,
    place?: number,
  ): Promise<void> {
    const { record } = held
    const headers = [
      ...originalHeaders(record),
      [REPLAY_HANDLERS, waitHeader(wait, inLine)] as const,
      [DUE, String(Math.ceil(Date.now() + wait.delayMs))] as const,
      ...(record.key === null ? [] : [[KEY, record.key] as const]),
      ...(place === undefined ? [] : [[PLACE, String(place)] as const]),
    ]
    await this.#write({ key: idOf(held, wait.handlerName), value: record.value, headers })
  }

  /** Stores the copies in the replay topic before it ends their waits: a crash in between can only duplicate them. */
  async #releaseAll(due: ReadonlyMap<string, WaitingRecord>): Promise<void> {
    const { publisher, options } = this.#parts
    const target = { topic: options.topics.replays(options.consumerGroup), profile: REPLAYS }
    const positions = [...due].map(([id, { partition, offset }]) => ({ id, partition, offset }))
    const found = await this.#log.read(positions)
    const isFound = new Set(found.map(({ position }) => position.id))
    for (const id of due.keys()) if (!isFound.has(id)) this.#index.forget(id)
    await Promise.all(
      found.map(async ({ position: { id, offset }, record }) => {
        await publisher.store(originalOf(record), target)
        this.#index.released(id, this.#replaysId)
        if (due.get(id)?.line === undefined) await this.#end(id)
        else await this.#note(id, offset)
      }),
    )
  }

  get #replaysId(): string {
    const { topics, options } = this.#parts
    return topics.cached(options.topics.replays(options.consumerGroup))?.id ?? ''
  }

  async #end(id: string): Promise<void> {
    await this.#write({ key: id, value: null, headers: [] })
    this.#index.forget(id)
  }

  /** The next owner of the replay topic does not release the record again. */
  #note(id: string, offset: number): Promise<void> {
    const note = JSON.stringify([id, String(offset), this.#replaysId])
    return this.#write({ key: noteKey(id), value: RELEASED, headers: [[RELEASED, note]] })
  }

  #write(record: RecordToWrite, topic = this.#topic): Promise<void> {
    return this.#parts.publisher.store(record, { topic, partition: 0, profile: WAITING_PROFILE })
  }
}

/**
 * The id of a wait. It stays the same while a record that keeps its order waits several times. A recreated topic has the same
 * offsets, but another id.
 */
export function idOf({ partition, offset, replayTarget }: HeldRecord, handlerName: string): string {
  const given = replayTarget?.earlier?.place ?? replayTarget?.places?.get(handlerName)
  return given ?? `${partition.topicId} ${partition.index} ${offset} ${handlerName}`
}

/** True if both waits are those of records from one partition, and the first record is the later one. */
function isLater(id: string, than: string): boolean {
  const [[topicId, index, offset], [otherId, otherIndex, otherOffset]] = [
    id.split(' ', 3),
    than.split(' ', 3),
  ]
  return topicId === otherId && index === otherIndex && Number(offset) > Number(otherOffset)
}

/** No other record of the topic has such a key: the id of a topic has no brace. */
function noteKey(id: string): string {
  return JSON.stringify({ released: id })
}

/** The record to deliver: the original with the header of a replay. */
function originalOf({ headers, value }: StoredRecord) {
  const nameOf = (name: Buffer | null) => name?.toString('utf8') ?? ''
  const key = headers.find(([name]) => nameOf(name) === KEY)?.[1] ?? null
  const kept = headers.filter(([name]) => !OWN_HEADERS.has(nameOf(name)))
  return { key, value, headers: kept.map(([name, text]) => [name ?? '', text] as const) }
}
