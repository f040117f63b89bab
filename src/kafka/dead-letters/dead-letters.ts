import { toError } from '../../errors.ts'
import { wrongCursor } from '../../kit/places.ts'
import { readReason, readReplays, writeImported, writeReplay } from '../../transport/dead-letter-fields.ts'
import type { SweepOptions, SweepReport, SweepVerdict } from '../../transport/dead-letter-store.ts'
import { MessageRefusedError } from '../../transport/errors.ts'
import { replayDestination } from '../../transport/replay-destination.ts'
import { REPLAY_HANDLERS, readPlaces, replayHeader } from '../../transport/replay-headers.ts'
import { type ActionOutcome, type SweepAction, SweepRun, type SweptLetter } from '../../transport/sweep.ts'
import type {
  DeadLetterListing,
  DeadLetterPage,
  DeadLetterStore,
  ReplayRequest,
  StoredDeadLetter,
} from '../../transport/transport.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import type { KafkaTopicDirectory } from '../client/topics.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaPublisher } from '../publishing/publisher.ts'
import { recordOf } from '../wire/message.ts'
import {
  type DeadLetterPosition,
  type DeadLetterRecord,
  KafkaDeadLetterIndex,
  REMOVED_OFFSET,
} from './dead-letter-index.ts'
import { ReplayTurns } from './replay-turns.ts'
import { LAST_OFFSET, originalHeaders, PROFILE } from './store-dead-letter.ts'

/** Dead letters that are read at once to find those that match, or to visit all. */
const SCAN_PAGE = 2000
/** Size of the bodies of such a page. */
const SCAN_BYTES = 8 * 1024 * 1024
/** The timestamp of a record, which is -1 if it has none, its partition and its offset. */
const CURSOR = /^(-?\d+)-(\d+)-(\d+)$/

export interface KafkaDeadLettersParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
  readonly publisher: KafkaPublisher
  /** Called after a replay to the topic of a group. */
  readonly onReplay: (group: string) => void
  /** Lets the records follow that wait behind a dead letter of the group. */
  readonly endPlaces: (places: ReadonlyMap<string, string>, group: string) => Promise<void>
}

/**
 * The dead letter topic. Kafka cannot delete single records. Instead, a marker record in the same partition removes a
 * replayed or purged dead letter from the list.
 */
export class KafkaDeadLetters implements DeadLetterStore {
  readonly #parts: KafkaDeadLettersParts
  readonly #index: KafkaDeadLetterIndex
  readonly #turns = new ReplayTurns()

  constructor(parts: KafkaDeadLettersParts) {
    this.#parts = parts
    this.#index = new KafkaDeadLetterIndex(parts)
  }

  async list(
    limit: number,
    cursor: string | undefined,
    listing?: DeadLetterListing,
  ): Promise<DeadLetterPage> {
    if (cursor !== undefined && !CURSOR.test(cursor)) throw wrongCursor(cursor)
    if (listing !== undefined) return this.#matching(limit, cursor, listing)
    const { records, isMore } = await this.page(limit, cursor)
    const last = records.at(-1)
    return {
      letters: records.map(readLetter),
      cursor: isMore && last !== undefined ? cursorOf(last.position) : undefined,
    }
  }

  async #matching(
    limit: number,
    cursor: string | undefined,
    { order, group: ofGroup, matches, maxScanned, signal }: DeadLetterListing,
  ): Promise<DeadLetterPage> {
    const oldestFirst = await this.#index.positions()
    const positions = order === 'oldest' ? oldestFirst : oldestFirst.toReversed()
    const isFurther = order === 'oldest' ? isAfter : isBefore
    const further =
      cursor === undefined ? positions : positions.filter((position) => isFurther(position, cursor))
    const letters: StoredDeadLetter[] = []
    let left = maxScanned ?? Number.POSITIVE_INFINITY
    for (const page of pagesOf(ofGroupOnly(further, ofGroup))) {
      for (const { position, record } of await this.#index.read(page)) {
        const letter = readLetter({ position, record })
        if (matches(letter)) letters.push(letter)
        left -= 1
        if (letters.length === limit || left === 0) return { letters, cursor: cursorOf(position) }
      }
      const last = page.at(-1)
      if (signal?.aborted && last !== undefined) return { letters, cursor: cursorOf(last) }
    }
    return { letters, cursor: undefined }
  }

  async sweep(
    visit: (letter: StoredDeadLetter) => SweepVerdict,
    options: SweepOptions,
  ): Promise<SweepReport> {
    const run = new SweepRun<SweptRecord>(visit, options, (actions) => this.#apply(actions))
    for (const page of pagesOf(ofGroupOnly(await this.#index.positions(), options.group))) {
      const records = await this.#index.read(page)
      if (!(await run.take(records.map((found) => ({ ...found, letter: readLetter(found) }))))) break
    }
    return run.report
  }

  async #apply(actions: readonly SweepAction<SweptRecord>[]): Promise<readonly ActionOutcome[]> {
    const isMine = ({ item, replay }: SweepAction<SweptRecord>) =>
      replay === undefined || this.#turns.take(idOf(item.position))
    const own = actions.filter(isMine)
    const outcomes = new Map<SweepAction<SweptRecord>, ActionOutcome>()
    try {
      const all = await this.#applyOwn(own)
      for (const [index, action] of own.entries()) outcomes.set(action, all[index] ?? false)
    } finally {
      for (const action of own) {
        if (action.replay !== undefined) {
          this.#turns.end(idOf(action.item.position), outcomes.get(action) === true)
        }
      }
    }
    const fault = [...outcomes.values()].find(
      (it) => it instanceof Error && !(it instanceof MessageRefusedError),
    )
    if (fault instanceof Error) throw fault
    return actions.map((action) => outcomes.get(action) ?? false)
  }

  /** Stores all copies before it removes any dead letter, each in one request if they fit. */
  async #applyOwn(actions: readonly SweepAction<SweptRecord>[]): Promise<readonly ActionOutcome[]> {
    const copies = await Promise.allSettled(
      actions.map(async ({ item, replay }) => replay && this.#copy(item, replay)),
    )
    const outcomes = await Promise.all(
      copies.map(async (copy, index): Promise<ActionOutcome> => {
        const position = actions[index]?.item.position
        if (copy.status === 'rejected' || position === undefined) {
          return copy.status === 'rejected' ? toError(copy.reason) : false
        }
        await this.#end(position, copy.value)
        return true
      }),
    )
    for (const group of new Set(
      copies.map((copy) => (copy.status === 'fulfilled' ? copy.value : undefined)),
    )) {
      if (group !== undefined) this.#parts.onReplay(group)
    }
    return outcomes
  }

  async append({ message, ...letter }: Omit<StoredDeadLetter, 'id'>, group: string): Promise<void> {
    const { publisher, options } = this.#parts
    const reason = { ...letter.reason, consumerGroup: letter.reason.consumerGroup ?? group }
    const { headers, body } = message
    await publisher.store(
      {
        key: headers['aggregate_id'] ?? null,
        value: typeof body === 'string' ? body : Buffer.from(body),
        headers: [
          ...Object.entries(headers),
          ...Object.entries(writeImported({ ...letter, reason })),
          ['dlq_original_topic', letter.source ?? ''],
        ],
      },
      { topic: options.topics.deadLetters, profile: PROFILE },
    )
  }

  /** The records of dead letters, oldest first. */
  async page(
    limit: number,
    cursor: string | undefined,
  ): Promise<{ readonly records: readonly DeadLetterRecord[]; readonly isMore: boolean }> {
    const positions = await this.#index.positions()
    const from = cursor === undefined ? 0 : positions.findIndex((position) => isAfter(position, cursor))
    const chosen = from < 0 ? [] : positions.slice(from, from + limit)
    const records = await this.#index.read(chosen)
    return { records, isMore: from >= 0 && positions.length > from + limit }
  }

  async get(id: string): Promise<StoredDeadLetter | undefined> {
    const letter = await this.#find(id)
    return letter === undefined ? undefined : readLetter(letter)
  }

  async count(ofGroup?: string): Promise<number> {
    const positions = await this.#index.positions()
    if (ofGroup === undefined) return positions.length
    return positions.filter(({ group = ofGroup }) => group === ofGroup).length
  }

  async replay(id: string, request: ReplayRequest): Promise<boolean> {
    if (!this.#turns.take(id)) return false
    let isReplayed = false
    try {
      const letter = await this.#find(id)
      if (letter === undefined) return false
      // The copy is stored first: a crash between the two steps can duplicate the message, but not lose it.
      const consumerGroup = await this.#copy(letter, request)
      await this.#end(letter.position, consumerGroup)
      isReplayed = true
      this.#parts.onReplay(consumerGroup)
      return true
    } finally {
      this.#turns.end(id, isReplayed)
    }
  }

  /** Stores the message for the replay. @returns the group that gets it. */
  async #copy(found: DeadLetterRecord, request: ReplayRequest): Promise<string> {
    const { publisher, options } = this.#parts
    const letter = readLetter(found)
    const { message } = request
    if (message === undefined && found.record.headerTexts[LAST_OFFSET] !== undefined) {
      throw new MessageRefusedError(
        `the dead letter ${letter.id} only refers to records of ${letter.source}, and does not contain them`,
      )
    }
    const destination = replayDestination(letter.reason, request)
    // The records behind it wait in the group that failed.
    const staysThere = destination.consumerGroup === found.position.group
    const places = staysThere ? placesIn(found.position.places) : undefined
    const { record } = found
    const original = message === undefined ? originalHeaders(record) : recordOf(message).headers
    const { key, value } = message === undefined ? record : recordOf(message)
    const headers = [
      ...original,
      [REPLAY_HANDLERS, replayHeader({ ...destination, places })] as const,
      ...Object.entries(writeReplay(letter)),
    ]
    const topic = options.topics.replays(destination.consumerGroup)
    await publisher.store({ key, value, headers }, { topic, profile: { ...PROFILE, partitions: 1 } })
    return destination.consumerGroup
  }

  async remove(ids: readonly string[]): Promise<number> {
    const positions = new Map((await this.#index.positions()).map((position) => [idOf(position), position]))
    const removed = [...new Set(ids)].flatMap((id) => positions.get(id) ?? [])
    await Promise.all(removed.map((position) => this.#end(position)))
    return removed.length
  }

  /**
   * Removes a dead letter. The records behind it follow before, unless it was replayed in its group: a crash in between leaves
   * a dead letter, and not a line without one.
   */
  async #end(position: DeadLetterPosition, replayedTo?: string): Promise<void> {
    const { group } = position
    const places = placesIn(position.places)
    if (places !== undefined && group !== undefined && group !== replayedTo) {
      await this.#parts.endPlaces(places, group)
    }
    await this.#remove(position)
  }

  async #remove({ partition, offset }: DeadLetterPosition): Promise<void> {
    const { publisher, options } = this.#parts
    await publisher.store(
      { key: null, value: null, headers: [[REMOVED_OFFSET, String(offset)]] },
      { topic: options.topics.deadLetters, partition, profile: PROFILE },
    )
  }

  async #find(id: string): Promise<DeadLetterRecord | undefined> {
    const position = (await this.#index.positions()).find((candidate) => idOf(candidate) === id)
    if (position === undefined) return undefined
    const [letter] = await this.#index.read([position])
    return letter
  }
}

function placesIn(text: string | undefined): ReadonlyMap<string, string> | undefined {
  try {
    return readPlaces(text === undefined ? undefined : JSON.parse(text))
  } catch {
    return undefined // other programs may write to the topic, too
  }
}

function idOf({ partition, offset }: DeadLetterPosition): string {
  return `${partition}-${offset}`
}

function cursorOf({ timestamp, partition, offset }: DeadLetterPosition): string {
  return `${timestamp}-${partition}-${offset}`
}

function isAfter(position: DeadLetterPosition, cursor: string): boolean {
  return distance(position, cursor) > 0
}

function isBefore(position: DeadLetterPosition, cursor: string): boolean {
  return distance(position, cursor) < 0
}

/** More than 0 if the position is after the cursor. */
function distance({ timestamp, partition, offset }: DeadLetterPosition, cursor: string): number {
  const [time = 0, part = 0, at = 0] = CURSOR.exec(cursor)?.slice(1).map(Number) ?? []
  return timestamp - time || partition - part || offset - at
}

/** Leaves out dead letters that name another group. */
function ofGroupOnly(positions: readonly DeadLetterPosition[], ofGroup: string | undefined) {
  return ofGroup === undefined ? positions : positions.filter(({ group = ofGroup }) => group === ofGroup)
}

/** The positions in pages that fit into memory. */
function* pagesOf(positions: readonly DeadLetterPosition[]): Generator<readonly DeadLetterPosition[]> {
  let page: DeadLetterPosition[] = []
  let bytes = 0
  for (const position of positions) {
    page.push(position)
    bytes += position.bytes
    if (page.length < SCAN_PAGE && bytes < SCAN_BYTES) continue
    yield page
    page = []
    bytes = 0
  }
  if (page.length > 0) yield page
}

interface SweptRecord extends SweptLetter, DeadLetterRecord {}

function readLetter({ position, record }: DeadLetterRecord): StoredDeadLetter {
  const headers = record.headerTexts
  const {
    dlq_original_topic: topic,
    dlq_original_partition: partition,
    dlq_original_offset: offset,
  } = headers
  // An imported dead letter has only one of the three.
  const source =
    topic === undefined || partition === undefined ? topic : `${topic} ${partition} ${offset ?? '?'}`
  return {
    id: idOf(position),
    message: { headers, body: record.value ?? '' },
    reason: readReason(headers),
    source,
    ...readReplays(headers),
  }
}
