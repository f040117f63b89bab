import { mergedPages, type PageSource, readAhead } from '../../kit/merged-pages.ts'
import { checkPlace } from '../../kit/places.ts'
import { sleep } from '../../kit/time.ts'
import type { MessageScan, ScannedMessage, ScanRequest } from '../../transport/admin.ts'
import { AS_BUFFERS, type RedisClient } from '../client/client.ts'
import { isBefore, readStreamState, type StreamWithGroups } from '../client/stream-state.ts'
import { commandError } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { readEntries, readMessage, type StreamEntry } from '../wire/entry.ts'
import { MAX_NUMBER, readPosition } from '../wire/entry-id.ts'
import { partitionOfKey } from '../wire/partition.ts'

/** Entries per reply. */
const PAGE = 200
/** Pause after a read that found nothing, in milliseconds. */
const POLL_MS = 100

/** One stream of the range. */
interface ScannedStream {
  readonly key: string
  readonly partition: number
}

/** Reads the streams with XRANGE and XREVRANGE, merged by the times in the ids of the entries. */
export class RedisScan {
  readonly #options: ResolvedRedisOptions
  readonly #client: () => RedisClient

  constructor(options: ResolvedRedisOptions, client: () => RedisClient) {
    this.#options = options
    this.#client = client
  }

  async open({ from, direction, aggregateId }: ScanRequest): Promise<MessageScan> {
    checkPlace('browse: from', from, (text) => readPosition(text) !== undefined)
    const isForward = direction === 'forward'
    const streams = this.#streamsOf(aggregateId)
    const states = await this.#states(streams)
    const sources = streams.flatMap((stream, index) => {
      const state = states[index]?.stream
      if (state === undefined || state.lastEntryId === null) return []
      if (from === (isForward ? 'last' : 'first')) return []
      const start = startIn(stream, from, isForward)
      const end = isForward ? state.lastEntryId : '-'
      return [readAhead(this.#source(stream, start ?? (isForward ? '-' : state.lastEntryId), end, isForward))]
    })
    const total = states.reduce((sum, state) => sum + (state?.stream.length ?? 0), 0)
    const comesFirst = (a: ReadEntry, b: ReadEntry) => comesBefore(a, b) === isForward
    return { total, pages: this.#described(mergedPages(sources, comesFirst)) }
  }

  /** The entries that are added from now on, until the signal aborts. */
  async follow(aggregateId: string | undefined, signal: AbortSignal): Promise<MessageScan> {
    const streams = this.#streamsOf(aggregateId)
    const states = await this.#states(streams)
    const last = states.map((state) => state?.stream.lastGeneratedId ?? '0-0')
    return { total: undefined, pages: this.#described(this.#newPages(streams, last, signal)) }
  }

  async *#newPages(
    streams: readonly ScannedStream[],
    last: string[],
    signal: AbortSignal,
  ): AsyncGenerator<readonly ReadEntry[]> {
    const keys = streams.map(({ key }) => key)
    while (!signal.aborted) {
      const command = ['XREAD', 'COUNT', String(PAGE), 'STREAMS', ...keys, ...last]
      const reply = await this.#send(command)
      const page: ReadEntry[] = []
      for (const item of Array.isArray(reply) ? reply : []) {
        const [key, entries]: unknown[] = Array.isArray(item) ? item : []
        const index = keys.indexOf(String(key))
        const stream = streams[index]
        if (stream === undefined) continue
        const found = await this.#whole(stream.key, readEntries(entries))
        for (const entry of found) page.push({ entry, partition: stream.partition })
        last[index] = found.at(-1)?.id ?? last[index] ?? '0-0'
      }
      if (page.length > 0) yield page.toSorted((a, b) => (comesBefore(a, b) ? -1 : 1))
      else if (!(await sleep(POLL_MS, signal))) return
    }
  }

  async #states(streams: readonly ScannedStream[]): Promise<readonly (StreamWithGroups | undefined)[]> {
    try {
      return await Promise.all(streams.map(({ key }) => readStreamState(this.#client(), key)))
    } catch (error) {
      throw commandError(this.#options.address, 'XINFO', error)
    }
  }

  async #send(command: string[]): Promise<unknown> {
    try {
      return await this.#client().sendCommand(command, AS_BUFFERS)
    } catch (error) {
      throw commandError(this.#options.address, String(command[0]), error)
    }
  }

  #streamsOf(aggregateId: string | undefined): readonly ScannedStream[] {
    const { keys, partitions } = this.#options
    const all = keys.streams.map((key, partition) => ({ key, partition }))
    return aggregateId === undefined ? all : all.slice(...one(partitionOfKey(aggregateId, partitions)))
  }

  /** @param end - the last id, inclusive. */
  #source(
    { key, partition }: ScannedStream,
    start: string,
    end: string,
    isForward: boolean,
  ): PageSource<ReadEntry> {
    const command = isForward ? 'XRANGE' : 'XREVRANGE'
    let next: string | undefined = start
    return {
      next: async () => {
        if (next === undefined) return undefined
        const request = [command, key, next, end, 'COUNT', String(PAGE)]
        const entries = readEntries(await this.#send(request))
        const last = entries.at(-1)
        next = last === undefined || entries.length < PAGE ? undefined : `(${last.id}`
        const whole = await this.#whole(key, entries)
        return whole.map((entry) => ({ entry, partition }))
      },
    }
  }

  /** Reads entries by themselves that the reply was too large for. */
  async #whole(key: string, entries: readonly StreamEntry[]): Promise<readonly StreamEntry[]> {
    const whole: StreamEntry[] = []
    for (const entry of entries) {
      if (!entry.isPartial) whole.push(entry)
      else {
        const reply = await this.#send(['XRANGE', key, entry.id, entry.id])
        whole.push(...readEntries(reply))
      }
    }
    return whole
  }

  async *#described(pages: AsyncIterable<readonly ReadEntry[]>): AsyncGenerator<readonly ScannedMessage[]> {
    const isOnly = this.#options.partitions === 1
    for await (const page of pages) {
      yield page.map(({ entry, partition }) => ({
        message: readMessage(entry),
        position: isOnly ? entry.id : `${entry.id}/${partition}`,
        partition: isOnly ? undefined : partition,
        storedAt: new Date(Number(entry.id.split('-')[0])),
      }))
    }
  }
}

interface ReadEntry {
  readonly entry: StreamEntry
  readonly partition: number
}

function one(index: number): [number, number] {
  return [index, index + 1]
}

/** Entries of several streams are in the order of their ids, and those with the same id in that of the partitions. */
function comesBefore(a: ReadEntry, b: ReadEntry): boolean {
  if (a.entry.id === b.entry.id) return a.partition < b.partition
  return isBefore(a.entry.id, b.entry.id)
}

/** The first id to read in a stream; undefined for the end at which the direction starts. */
function startIn({ partition }: ScannedStream, from: Date | string, isForward: boolean): string | undefined {
  if (from instanceof Date) return isForward ? `${from.getTime()}-0` : `${from.getTime()}-${MAX_NUMBER}`
  const place = readPosition(from)
  if (place === undefined) return undefined
  const isRead = isForward ? partition <= place.partition : partition >= place.partition
  return isRead ? `(${place.id}` : place.id
}
