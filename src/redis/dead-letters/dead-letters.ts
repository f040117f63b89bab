import { readReason, writeReason } from '../../transport/dead-letter-fields.ts'
import { replayDestination } from '../../transport/replay-destination.ts'
import { REPLAY_HANDLERS, replayHeader } from '../../transport/replay-headers.ts'
import type {
  DeadLetterPage,
  DeadLetterReason,
  DeadLetterStore,
  IncomingMessage,
  ReplayRequest,
  StoredDeadLetter,
} from '../../transport/transport.ts'
import { AS_BUFFERS, type RedisArgument, type RedisClient } from '../client/client.ts'
import type { ConsumedStream, StreamLease } from '../client/consumed-stream.ts'
import { FENCED_OFF, runFenced, runScript } from '../client/scripts.ts'
import { commandError } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { readEntries, readMessage, type StreamEntry, sizeOf } from '../wire/entry.ts'
import { partitionOfKey } from '../wire/partition.ts'
import { GroupTally } from './group-tally.ts'

const ADDED: readonly string[] = ['original_message_id', 'retry_count', REPLAY_HANDLERS]
/** An id that no entry has. A command on it has no effect, but needs the right. */
const NO_ENTRY = '0-0'
/** Dead letters that are read at once to count those of a group. */
const TALLY_PAGE = 500
/** The scripts' reply if they cannot copy the entry. */
const NEEDS_TWO_STEPS = 2

/** An entry to dead-letter, the stream it was read from, and the lease under which it was read. */
export interface FailedEntry {
  readonly message: IncomingMessage
  readonly entryId: string
  readonly stream: ConsumedStream
  readonly lease: StreamLease | undefined
}

/**
 * Appends the dead letter and acknowledges the entry in one step.
 * @returns false, with nothing stored, if the entry belongs to another consumer by now.
 */
export async function moveToDeadLetters(
  client: RedisClient,
  options: ResolvedRedisOptions,
  failed: FailedEntry,
  reason: DeadLetterReason,
  retryKey: string,
): Promise<boolean> {
  const { keys, consumerGroup, consumerName, address } = options
  const { entryId, stream, lease } = failed
  const { key, partition, deletesSettled } = stream
  const fields = Object.entries(reasonFields(reason, entryId, key)).flat()
  try {
    const outcome = await runFenced(
      client,
      'DEAD_LETTER',
      { leases: keys.leases(consumerGroup), partition, lease },
      [key, keys.deadLetters, retryKey],
      [consumerGroup, consumerName, entryId, ...fields],
    )
    if (outcome === FENCED_OFF) return false
    if (outcome === NEEDS_TWO_STEPS) await moveInTwoSteps(client, options, failed, fields)
    if (deletesSettled) await client.sendCommand(['XDEL', key, entryId])
    return true
  } catch (error) {
    throw commandError(address, 'EVAL (dead-lettering)', error)
  }
}

/** Stores the dead letter before the acknowledgment, so that a crash in between duplicates the entry and loses none. */
async function moveInTwoSteps(
  client: RedisClient,
  { keys, consumerGroup }: ResolvedRedisOptions,
  { message, entryId, stream }: FailedEntry,
  fields: readonly string[],
): Promise<void> {
  const [entry] = readEntries(await client.sendCommand(['XRANGE', stream.key, entryId, entryId], AS_BUFFERS))
  // If the entry was trimmed, only the decoded message is left.
  const body = typeof message.body === 'string' ? message.body : Buffer.from(message.body)
  const original = entry?.fields ?? [...Object.entries(message.headers).flat(), 'payload', body]
  // Without the right to acknowledge, each try would store another dead letter.
  await client.sendCommand(['XACK', stream.key, consumerGroup, NO_ENTRY])
  await client.sendCommand(['XADD', keys.deadLetters, '*', ...original, ...fields])
  await client.sendCommand(['XACK', stream.key, consumerGroup, entryId])
}

/**
 * The three fields of eventsource-py, then fields that it ignores. All of them are always written: they follow those of the
 * entry, which may have the same names.
 */
function reasonFields(reason: DeadLetterReason, id: string, stream: string): Record<string, string> {
  const { dlq_retry_count: retryCount = '0', ...rest } = writeReason(reason)
  return {
    original_message_id: id,
    retry_count: retryCount,
    dlq_error_stack: '',
    ...rest,
    dlq_original_stream: stream,
  }
}

/** The dead letters of the bus, in a stream of their own. */
export class RedisDeadLetters implements DeadLetterStore {
  readonly #options: ResolvedRedisOptions
  readonly #client: () => RedisClient
  readonly #tally: GroupTally

  constructor(options: ResolvedRedisOptions, client: () => RedisClient) {
    this.#options = options
    this.#client = client
    const page = async (start: string) => {
      const letters = await this.range(start, '+', TALLY_PAGE)
      return letters.map(({ id, reason }) => ({ id, group: reason.consumerGroup }))
    }
    this.#tally = new GroupTally({ page, total: () => this.#total() })
  }

  async list(limit: number, cursor: string | undefined): Promise<DeadLetterPage> {
    const entries = await this.#entries(cursor === undefined ? '-' : `(${cursor}`, '+', limit)
    const letters = (await this.#whole(entries)).map(readLetter)
    const isLastPage = letters.length === entries.length && entries.length < limit
    return { letters, cursor: isLastPage ? undefined : (letters.at(-1) ?? entries.at(-1))?.id }
  }

  /**
   * Dead letters between two ids, inclusive. An id that starts with `(` is exclusive. Fewer than `limit` if they are too
   * large for one reply. The body of one that is larger than `maxEntryBytes` is empty.
   */
  async range(start: string, end: string, limit: number): Promise<readonly StoredDeadLetter[]> {
    return (await this.#whole(await this.#entries(start, end, limit))).map(readLetter)
  }

  async #entries(start: string, end: string, limit: number): Promise<readonly StreamEntry[]> {
    const command = ['XRANGE', this.#options.keys.deadLetters, start, end, 'COUNT', String(limit)]
    return readEntries(await this.#send(command, AS_BUFFERS))
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
    if (letter === undefined) return false
    const { keys, address } = this.#options
    const destination = replayDestination(letter.reason, request)
    const to = keys.replays(
      destination.consumerGroup,
      partitionOfKey(letter.message.headers['aggregate_id'], this.#options.partitions),
    )
    const header = [REPLAY_HANDLERS, replayHeader(destination)] as const
    try {
      const outcome = await runScript(this.#client(), 'REPLAY', [keys.deadLetters, to], [id, ...header])
      return outcome === NEEDS_TWO_STEPS ? await this.#replayInTwoSteps(id, to, header) : outcome === 1
    } catch (error) {
      throw commandError(address, 'EVAL (replay)', error)
    }
  }

  /** Stores the copy before the removal, so that a crash in between duplicates the dead letter and loses none. */
  async #replayInTwoSteps(id: string, to: string, header: readonly string[]): Promise<boolean> {
    const { deadLetters } = this.#options.keys
    const [entry] = readEntries(await this.#send(['XRANGE', deadLetters, id, id], AS_BUFFERS))
    if (entry === undefined) return false
    await this.#send(['XDEL', deadLetters, NO_ENTRY])
    await this.#send(['XADD', to, '*', ...originalFields(entry), ...header])
    await this.#send(['XDEL', deadLetters, id])
    return true
  }

  async remove(ids: readonly string[]): Promise<number> {
    const valid = ids.filter(isEntryId)
    if (valid.length === 0) return 0
    return Number(await this.#send(['XDEL', this.#options.keys.deadLetters, ...valid]))
  }

  async #send(command: RedisArgument[], options?: object): Promise<unknown> {
    try {
      return await this.#client().sendCommand(command, options)
    } catch (error) {
      throw commandError(this.#options.address, String(command[0]), error)
    }
  }
}

function isEntryId(id: string): boolean {
  return /^\d+-\d+$/.test(id)
}

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
  return { id: entry.id, message, reason, source }
}
