import { setImmediate as nextTurn } from 'node:timers/promises'
import { toError } from '../../errors.ts'
import { READ_BACKOFF } from '../../kit/backoff.ts'
import { counted } from '../../kit/counted.ts'
import { settledWithin, sleep } from '../../kit/time.ts'
import type { Consumption, Delivery, Intake, TransportHost } from '../../transport/transport.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import { commandError, isErrorReply, isNoGroup, isReadOnly } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { mayBeMangled, readEntries, readMessageWithin, type StreamEntry } from '../wire/entry.ts'
import { readPairs } from '../wire/replies.ts'
import { rereadAsBytes } from '../wire/reread.ts'
import { EntrySizes } from './entry-sizes.ts'

/** Time between two requests to end the blocking read, in milliseconds. */
const UNBLOCK_INTERVAL_MS = 50
const NO_HANDLERS: readonly string[] = []

export interface RedisBroadcastParts {
  readonly options: ResolvedRedisOptions
  readonly commands: RedisLink
  /** Reserved for the blocking read. */
  readonly reader: RedisLink
  readonly intake: Intake
  readonly host: TransportHost
}

/** How far this instance has read one of the streams. */
interface StreamPosition {
  readonly key: string
  lastId: string
  /** Entries that were added before those that this instance reads; undefined before Redis 7.0. */
  addedBefore: number | undefined
  readCount: number
}

/**
 * Reads the stream, or the stream of each partition, without a group, for an instance that broadcasts: from the end of the stream at its start, and after a
 * lost connection from the last entry that it has read. The server knows nothing of it.
 */
export class RedisBroadcast implements Consumption {
  readonly #parts: RedisBroadcastParts
  readonly #sizes: EntrySizes
  readonly #stopped = new AbortController()
  #running: Promise<void> = Promise.resolve()
  #readerId: string | undefined
  #positions: readonly StreamPosition[] = []

  constructor(parts: RedisBroadcastParts) {
    this.#parts = parts
    this.#sizes = new EntrySizes(parts.options.maxEntryBytes)
  }

  get isFlowing(): boolean {
    return this.#parts.reader.client !== undefined
  }

  /** @throws ConnectionError */
  async start(): Promise<void> {
    const { commands, options } = this.#parts
    try {
      const client = commands.requireClient()
      this.#positions = await Promise.all(
        options.keys.streams.map(async (key) => {
          const { lastId, added } = await endOf(client, key)
          return { key, lastId, addedBefore: added, readCount: 0 }
        }),
      )
    } catch (error) {
      throw commandError(options.address, 'XINFO', error)
    }
    this.#running = this.#run()
  }

  async stopFetching(): Promise<void> {
    this.#stopped.abort()
    // A read may reach the server after the first request to end it.
    do await this.#unblock()
    while (!(await settledWithin(this.#running, UNBLOCK_INTERVAL_MS)))
  }

  release(): Promise<void> {
    return Promise.resolve()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped
    for (let failures = 0; !signal.aborted; ) {
      try {
        await this.#readPage()
        failures = 0
      } catch (thrown) {
        failures += 1
        await this.#onFailure(toError(thrown), failures)
      }
    }
  }

  async #readPage(): Promise<void> {
    const { intake, reader, options } = this.#parts
    const { signal } = this.#stopped
    while (intake.room <= 0 && !signal.aborted) {
      await intake.whenRoom()
      // Another delivery took the room, or the intake is closing.
      if (intake.room <= 0) await nextTurn()
    }
    const client = signal.aborted ? undefined : await reader.whenReady(signal)
    if (client === undefined) return
    this.#readerId ??= String(await client.sendCommand(['CLIENT', 'ID']))
    if (signal.aborted) return
    const count = Math.min(options.batchSize, this.#sizes.fitting(intake.room, intake.roomBytes))
    const read = ['XREAD', 'COUNT', String(count), 'BLOCK', String(options.blockMs)]
    const keys = this.#positions.map(({ key }) => key)
    const ids = this.#positions.map(({ lastId }) => lastId)
    const reply = await client.sendCommand([...read, 'STREAMS', ...keys, ...ids])
    if (!Array.isArray(reply)) {
      for (const position of this.#positions) await this.#reportLost(client, position)
      return
    }
    for (const page of reply) {
      const [key, entries]: unknown[] = Array.isArray(page) ? page : []
      const position = this.#positions.find((one) => one.key === key)
      if (position !== undefined) await this.#deliverAll(client, position, readEntries(entries))
    }
  }

  async #deliverAll(
    client: RedisClient,
    position: StreamPosition,
    entries: readonly StreamEntry[],
  ): Promise<void> {
    this.#sizes.note(entries)
    for (const entry of entries) await this.#deliver(client, position, entry)
  }

  async #deliver(client: RedisClient, position: StreamPosition, entry: StreamEntry): Promise<void> {
    const { options, intake } = this.#parts
    const isWhole = !entry.isPartial && !mayBeMangled(entry)
    const whole = isWhole ? entry : await rereadAsBytes(client, position.key, entry)
    if (intake.room === 0) await intake.whenRoom()
    position.lastId = entry.id
    position.readCount += 1
    intake.deliver(deliveryOf(whole, options.maxEntryBytes))
  }

  /** Reports entries that were removed before this instance read them. Called when it has read to the end of the stream. */
  async #reportLost(client: RedisClient, position: StreamPosition): Promise<void> {
    const { lastId, added } = await endOf(client, position.key)
    const { key, addedBefore, readCount } = position
    if (lastId !== position.lastId || added === undefined || addedBefore === undefined) return
    const lost = added - addedBefore - readCount
    position.addedBefore = added - readCount
    if (lost <= 0) return
    const detail = `${counted(lost, 'entry', 'entries')} of ${key} ${lost === 1 ? 'was' : 'were'} removed before this instance read them`
    this.#parts.host.notify({ type: 'eventsLost', detail, count: lost })
  }

  async #unblock(): Promise<void> {
    if (this.#readerId === undefined) return
    const { commands, reader } = this.#parts
    try {
      await commands.requireClient().sendCommand(['CLIENT', 'UNBLOCK', this.#readerId])
    } catch {
      // Not permitted, or not connected.
      reader.reset(new Error('closed to end a blocking read'))
    }
  }

  async #onFailure(error: Error, failures: number): Promise<void> {
    const { options, commands, reader, host } = this.#parts
    const { signal } = this.#stopped
    this.#readerId = undefined
    if (signal.aborted) return
    if (isReadOnly(error)) for (const link of [commands, reader]) link.reset(error)
    // A lost connection is reported by its link.
    else if (isErrorReply(error)) {
      host.notify({ type: 'readFailed', error: commandError(options.address, 'XREAD', error) })
    }
    await sleep(READ_BACKOFF.backoff(failures), signal)
  }
}

/** Nothing is acknowledged: the server does not know who has read an entry. */
function deliveryOf(entry: StreamEntry, maxEntryBytes: number): Delivery {
  return {
    message: readMessageWithin(entry, maxEntryBytes),
    deliveryCount: 1,
    settledHandlers: NO_HANDLERS,
    begin: () => true,
    beginAttempt: () => Promise.resolve(true),
    attemptFailed: () => Promise.resolve(true),
    ack: () => undefined,
    deadLetter: () => Promise.resolve(true),
  }
}

/** The last id that a stream has given, and the number of entries that were ever added, if the server knows it. */
async function endOf(client: RedisClient, key: string) {
  try {
    const fields = readPairs(await client.sendCommand(['XINFO', 'STREAM', key]))
    const added = fields.get('entries-added')
    const lastId = String(fields.get('last-generated-id') ?? '0-0')
    return { lastId, added: added === undefined ? undefined : Number(added) }
  } catch (error) {
    if (isNoGroup(error)) return { lastId: '0-0', added: 0 }
    throw error
  }
}
