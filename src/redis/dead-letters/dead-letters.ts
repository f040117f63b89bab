import { wrongCursor } from '../../kit/places.ts'
import { readReason, readReplays, writeImported, writeReplay } from '../../transport/dead-letter-fields.ts'
import type { SweepOptions, SweepReport, SweepVerdict } from '../../transport/dead-letter-store.ts'
import { replayDestination } from '../../transport/replay-destination.ts'
import { REPLAY_HANDLERS, replayHeader } from '../../transport/replay-headers.ts'
import { type ActionOutcome, type SweepAction, SweepRun, type SweptLetter } from '../../transport/sweep.ts'
import type {
  DeadLetterListing,
  DeadLetterPage,
  DeadLetterStore,
  ReplayRequest,
  StoredDeadLetter,
} from '../../transport/transport.ts'
import { AS_BUFFERS, type RedisArgument, type RedisClient } from '../client/client.ts'
import { runScript } from '../client/scripts.ts'
import { commandError } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { entryCommand, readEntries, readMessage, type StreamEntry, sizeOf } from '../wire/entry.ts'
import { isEntryId } from '../wire/entry-id.ts'
import { partitionOfKey } from '../wire/partition.ts'
import { GroupTally } from './group-tally.ts'
import { type Orders, ordersOf, type ParkedPlaces, readParked } from './parked-places.ts'

const ADDED: readonly string[] = ['original_message_id', 'retry_count', REPLAY_HANDLERS]
/** An id that no entry has. A command on it has no effect, but needs the right. */
const NO_ENTRY = '0-0'
/** Dead letters that are read at once to count those of a group. */
const TALLY_PAGE = 500
/** Dead letters that are read at once to find those that match, or to visit all. */
const SCAN_PAGE = 500
/** Dead letters with places that are looked at in one search for stale ones. */
const STALE_PAGE = 20
/** The scripts' reply if they cannot copy the entry. */
const NEEDS_TWO_STEPS = 2

/** The dead letters of the bus, in a stream of their own. */
export class RedisDeadLetters implements DeadLetterStore {
  readonly #options: ResolvedRedisOptions
  readonly #client: () => RedisClient
  readonly #onReleased: () => void
  readonly #tally: GroupTally

  /** @param onReleased - called when entries that waited behind a dead letter may follow. */
  constructor(options: ResolvedRedisOptions, client: () => RedisClient, onReleased: () => void) {
    this.#options = options
    this.#client = client
    this.#onReleased = onReleased
    const page = async (start: string) => {
      const letters = await this.range(start, '+', TALLY_PAGE)
      return letters.map(({ id, reason }) => ({ id, group: reason.consumerGroup }))
    }
    this.#tally = new GroupTally({ page, total: () => this.#total() })
  }

  async list(
    limit: number,
    cursor: string | undefined,
    listing?: DeadLetterListing,
  ): Promise<DeadLetterPage> {
    if (cursor !== undefined && !isEntryId(cursor)) throw wrongCursor(cursor)
    const letters: StoredDeadLetter[] = []
    let start = cursor
    let left = listing?.maxScanned ?? Number.POSITIVE_INFINITY
    do {
      const page = await this.#page(listing?.order ?? 'oldest', listing ? SCAN_PAGE : limit, start)
      for (const letter of page.letters) {
        if (listing?.matches(letter) ?? true) letters.push(letter)
        left -= 1
        if (letters.length === limit || left === 0) return { letters, cursor: letter.id }
      }
      start = page.cursor
    } while (listing !== undefined && start !== undefined && !listing.signal?.aborted)
    return { letters, cursor: start }
  }

  async #page(order: 'oldest' | 'newest', limit: number, cursor?: string): Promise<DeadLetterPage> {
    const [first, last] = order === 'oldest' ? ['-', '+'] : ['+', '-']
    const command = order === 'oldest' ? 'XRANGE' : 'XREVRANGE'
    const entries = await this.#entries(cursor === undefined ? first : `(${cursor}`, last, limit, command)
    const letters = (await this.#whole(entries)).map(readLetter)
    const isLastPage = letters.length === entries.length && entries.length < limit
    return { letters, cursor: isLastPage ? undefined : (letters.at(-1) ?? entries.at(-1))?.id }
  }

  async sweep(
    visit: (letter: StoredDeadLetter) => SweepVerdict,
    options: SweepOptions,
  ): Promise<SweepReport> {
    const run = new SweepRun<SweptLetter>(visit, options, (actions) => this.#apply(actions))
    // Those that are added meanwhile come after the others.
    let left = await this.#total()
    let cursor: string | undefined
    do {
      const page = await this.#page('oldest', Math.min(SCAN_PAGE, left), cursor)
      if (page.letters.length === 0 && page.cursor === undefined) break
      if (!(await run.take(page.letters.map((letter) => ({ letter }))))) break
      left -= page.letters.length
      cursor = page.cursor
    } while (left > 0 && cursor !== undefined)
    return run.report
  }

  async #apply(actions: readonly SweepAction<SweptLetter>[]): Promise<readonly ActionOutcome[]> {
    const removed = actions.flatMap(({ item, replay }) => (replay === undefined ? item.letter.id : []))
    let existed = removed.length === 0 ? 0 : await this.remove(removed)
    return Promise.all(
      actions.map(({ item, replay }) => {
        if (replay !== undefined) return this.#replay(item.letter, replay)
        existed -= 1
        return existed >= 0
      }),
    )
  }

  async append({ message, ...letter }: Omit<StoredDeadLetter, 'id'>, group: string): Promise<void> {
    const reason = { ...letter.reason, consumerGroup: letter.reason.consumerGroup ?? group }
    const { dlq_retry_count: retryCount = '0', ...fields } = writeImported({ ...letter, reason })
    const { body } = message
    await this.#send([
      ...['XADD', this.#options.keys.deadLetters, '*'],
      ...Object.entries(message.headers).flat(),
      ...['payload', typeof body === 'string' ? body : Buffer.from(body)],
      ...['original_message_id', letter.source ?? '', 'retry_count', retryCount],
      ...Object.entries(fields).flat(),
    ])
  }

  /**
   * Dead letters between two ids, inclusive. An id that starts with `(` is exclusive. Fewer than `limit` if they are too
   * large for one reply. The body of one that is larger than `maxEntryBytes` is empty.
   */
  async range(start: string, end: string, limit: number): Promise<readonly StoredDeadLetter[]> {
    return (await this.#whole(await this.#entries(start, end, limit))).map(readLetter)
  }

  async #entries(
    start: string,
    end: string,
    limit: number,
    command: 'XRANGE' | 'XREVRANGE' = 'XRANGE',
  ): Promise<readonly StreamEntry[]> {
    const args = [command, this.#options.keys.deadLetters, start, end, 'COUNT', String(limit)]
    return readEntries(await this.#send(args, AS_BUFFERS))
  }

  /** Reads entries by themselves that the reply was too large for. Stops at `maxInFlightBytes`, but not before the first. */
  async #whole(entries: readonly StreamEntry[]): Promise<readonly StreamEntry[]> {
    const whole: StreamEntry[] = []
    let bytes = 0
    for (const entry of entries) {
      const [read] = entry.isPartial ? await this.#entries(entry.id, entry.id, 1) : [entry]
      if (read === undefined) continue // removed meanwhile
      bytes += sizeOf(read)
      if (whole.length > 0 && bytes > this.#options.maxInFlightBytes) break
      whole.push(read)
    }
    return whole
  }

  async get(id: string): Promise<StoredDeadLetter | undefined> {
    if (!isEntryId(id)) return undefined
    const [letter] = await this.range(id, id, 1)
    return letter
  }

  count(group?: string): Promise<number> {
    return group === undefined ? this.#total() : this.#tally.count(group)
  }

  async #total(): Promise<number> {
    return Number(await this.#send(['XLEN', this.#options.keys.deadLetters]))
  }

  async replay(id: string, request: ReplayRequest): Promise<boolean> {
    const letter = await this.get(id)
    return letter === undefined ? false : this.#replay(letter, request)
  }

  async #replay(letter: StoredDeadLetter, request: ReplayRequest): Promise<boolean> {
    const { id } = letter
    const { keys, address } = this.#options
    const destination = replayDestination(letter.reason, request)
    const to = keys.replays(
      destination.consumerGroup,
      partitionOfKey(letter.message.headers['aggregate_id'], this.#options.partitions),
    )
    const parked = await this.#parkedAt(id)
    // The entries behind it wait in the group that failed.
    const staysThere = parked?.group === destination.consumerGroup
    const places = staysThere ? parked?.places : undefined
    const left = parked === undefined || staysThere ? NO_ORDERS : ordersOf(parked, keys)
    const header = [REPLAY_HANDLERS, replayHeader({ ...destination, places })] as const
    const about = Object.entries(writeReplay(letter)).flat()
    const { message } = request
    if (message !== undefined) {
      const [, , , ...fields] = entryCommand(to, message)
      return this.#replayInTwoSteps({ id, to, header: [...header, ...about], parked, left, fields })
    }
    const extra = parked === undefined ? [] : [keys.parked, keys.waiting(parked.group), ...left.orders]
    try {
      const args = [id, ...header, ...left.members, ...about]
      const outcome = await runScript(this.#client(), 'REPLAY', [keys.deadLetters, to, ...extra], args)
      if (outcome === NEEDS_TWO_STEPS) {
        return await this.#replayInTwoSteps({ id, to, header: [...header, ...about], parked, left })
      }
      if (left.members.length > 0) this.#onReleased()
      return outcome === 1
    } catch (error) {
      throw commandError(address, 'EVAL (replay)', error)
    }
  }

  /** Stores the copy before the removal, so that a crash in between duplicates the dead letter and loses none. */
  async #replayInTwoSteps({ id, to, header, parked, left, fields }: LargeReplay): Promise<boolean> {
    const { deadLetters } = this.#options.keys
    const [entry] = readEntries(await this.#send(['XRANGE', deadLetters, id, id], AS_BUFFERS))
    if (entry === undefined) return false
    await this.#send(['XDEL', deadLetters, NO_ENTRY])
    await this.#send(['XADD', to, '*', ...(fields ?? originalFields(entry)), ...header])
    if (parked === undefined) await this.#send(['XDEL', deadLetters, id])
    else await this.#removeParked(id, parked.group, left)
    return true
  }

  async remove(ids: readonly string[]): Promise<number> {
    const { keys } = this.#options
    const found = await Promise.all(
      ids.filter(isEntryId).map(async (id) => ({ id, parked: await this.#parkedAt(id) })),
    )
    const plain = found.flatMap(({ id, parked }) => (parked === undefined ? [id] : []))
    let removed = plain.length === 0 ? 0 : Number(await this.#send(['XDEL', keys.deadLetters, ...plain]))
    for (const { id, parked } of found) {
      if (parked !== undefined) removed += await this.#removeParked(id, parked.group, ordersOf(parked, keys))
    }
    return removed
  }

  /**
   * Lets entries follow whose dead letter was removed without the bus, for example with `XDEL`.
   * @returns how many such dead letters of the group were found.
   */
  async releaseStale(group: string): Promise<number> {
    const { keys } = this.#options
    const reply = await this.#script('STALE_PARKED', [keys.parked, keys.deadLetters], [String(STALE_PAGE)])
    const notes = Array.isArray(reply) ? reply.map(String) : []
    let released = 0
    for (let i = 0; i + 1 < notes.length; i += 2) {
      const parked = readParked(notes[i + 1])
      if (parked?.group !== group) continue
      await this.#removeParked(notes[i] ?? '', group, ordersOf(parked, keys))
      released += 1
    }
    return released
  }

  /** The places that a dead letter holds; undefined if none. */
  async #parkedAt(id: string): Promise<ParkedPlaces | undefined> {
    return readParked(await this.#send(['HGET', this.#options.keys.parked, id]))
  }

  /** @returns the number of removed dead letters. */
  async #removeParked(id: string, group: string, { orders, members }: Orders): Promise<number> {
    const { deadLetters, parked, waiting } = this.#options.keys
    const keys = [deadLetters, parked, waiting(group), ...orders]
    const removed = Number(await this.#script('REMOVE_PARKED', keys, [id, ...members]))
    this.#onReleased()
    return removed
  }

  async #script(
    name: 'REMOVE_PARKED' | 'STALE_PARKED',
    keys: readonly string[],
    args: readonly string[],
  ): Promise<unknown> {
    try {
      return await runScript(this.#client(), name, keys, args)
    } catch (error) {
      throw commandError(this.#options.address, 'EVAL (dead letters)', error)
    }
  }

  async #send(command: RedisArgument[], options?: object): Promise<unknown> {
    try {
      return await this.#client().sendCommand(command, options)
    } catch (error) {
      throw commandError(this.#options.address, String(command[0]), error)
    }
  }
}

/** A replay that needs two steps. */
interface LargeReplay {
  readonly id: string
  readonly to: string
  readonly header: readonly string[]
  readonly parked: ParkedPlaces | undefined
  /** The orders that the entry leaves. */
  readonly left: Orders
  /** The entry to store; undefined for the original. */
  readonly fields?: readonly RedisArgument[]
}

const NO_ORDERS: Orders = { orders: [], members: [] }

/** The fields of the original entry: without those that dead-lettering or an earlier replay added, as in the script. */
function originalFields({ fields }: StreamEntry): readonly RedisArgument[] {
  return fields.filter((_field, index) => {
    const name = String(fields[index - (index % 2)])
    return !ADDED.includes(name) && !name.startsWith('dlq_')
  })
}

function readLetter(entry: StreamEntry): StoredDeadLetter {
  const message = readMessage(entry)
  const {
    original_message_id: original,
    retry_count: retryCount,
    dlq_original_stream: stream,
  } = message.headers
  const reason = readReason({ ...message.headers, dlq_retry_count: retryCount })
  const source = original === undefined ? undefined : `${stream === undefined ? '' : `${stream} `}${original}`
  return { id: entry.id, message, reason, source, ...readReplays(message.headers) }
}
