import { setImmediate as nextTurn } from 'node:timers/promises'
import { toError } from '../../errors.ts'
import { READ_BACKOFF } from '../../kit/backoff.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { settledUntil, sleep } from '../../kit/time.ts'
import type { Intake, TransportHost } from '../../transport/transport.ts'
import type { ConsumedStream } from '../client/consumed-stream.ts'
import type { RedisLink } from '../client/link.ts'
import { commandError, isErrorReply, isNoGroup, isReadOnly } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { mayBeMangled, type StreamEntry } from '../wire/entry.ts'
import { rereadAsBytes } from '../wire/reread.ts'
import type { EntrySizes } from './entry-sizes.ts'
import { countOf, type EntrySource, type ReadPage, type RedisGroup } from './group.ts'
import { repairGroup } from './group-repair.ts'
import type { HeldEntries } from './held-entries.ts'
import type { HeldEntry } from './held-entry.ts'

/** From this many entries on, the next read is sent before the page is handled. */
const LARGE_PAGE = 20

/** No handler has succeeded before the first delivery. */
const NO_HANDLERS: readonly string[] = []

/** The entries of a read, which are held but not delivered yet. */
interface HeldPages {
  readonly entries: readonly HeldEntry[]
  /** The parts that were read of entries for which the reply was too large. */
  readonly partial: ReadonlyMap<HeldEntry, StreamEntry>
  /** Number of entries that were read, also of those that were held before. */
  readonly count: number
  readonly bytes: number
}

export interface RedisReadLoopParts {
  readonly options: ResolvedRedisOptions
  readonly commands: RedisLink
  /** Reserved for the blocking read. */
  readonly reader: RedisLink
  readonly group: RedisGroup
  /** Reads new entries. */
  readonly source: EntrySource
  readonly held: HeldEntries
  readonly intake: Intake
  readonly sizes: EntrySizes
  readonly host: TransportHost
  readonly stopped: AbortSignal
  /** Takes over the entries that are pending for this consumer and not held. */
  readonly takeOwn: () => Promise<void>
}

/** Reads new entries of the group and delivers them, one page after the other. */
export class RedisReadLoop {
  readonly #parts: RedisReadLoopParts
  /** Id of the reading connection at the server. */
  #readerId: string | undefined
  /** Set if the reply to a read was lost, with the connection it was read on. The server may have assigned entries. */
  #lostReply: { readonly readerId: string | undefined } | undefined

  constructor(parts: RedisReadLoopParts) {
    this.#parts = parts
  }

  /** Resolves when the consumption is stopped. */
  async run(): Promise<void> {
    const { stopped } = this.#parts
    let ahead: Promise<HeldPages> | undefined
    for (let failures = 0; ; ) {
      try {
        const pages = await (ahead ?? this.#nextPages())
        ahead = undefined
        if (pages === undefined || stopped.aborted) return
        // The server prepares the next page while this one is handled.
        ahead = this.#readAhead(pages)
        // The client sends at the end of the turn, which must not wait for a large page.
        if (ahead !== undefined && pages.count >= LARGE_PAGE) await nextTurn()
        await this.#deliver(pages)
        failures = 0
      } catch (thrown) {
        ahead = undefined
        failures += 1
        await this.#onFailure(toError(thrown), failures)
      }
    }
  }

  /** Ends the blocking read, so that stopping does not take `blockMs`. */
  async unblock(): Promise<void> {
    if (this.#readerId === undefined) return
    const { commands, reader } = this.#parts
    try {
      await commands.requireClient().sendCommand(['CLIENT', 'UNBLOCK', this.#readerId])
    } catch {
      // Not permitted, or not connected. Closing the connection ends the read, too; the next sweep takes over what the
      // server assigned with it.
      reader.reset(new Error('closed to end a blocking read'))
    }
  }

  /** How many more entries may be read. */
  get #room(): number {
    const { intake, options, held } = this.#parts
    return Math.min(intake.room, options.maxInFlight - held.size)
  }

  /** Waits for room and for a connection. @returns undefined if the consumption was stopped first. */
  async #nextPages(): Promise<HeldPages | undefined> {
    const { intake, held, reader, source, sizes, stopped } = this.#parts
    while (this.#room <= 0 && !stopped.aborted) {
      await intake.whenRoom()
      // Another delivery took the room, or the intake is closing.
      if (intake.room <= 0) await nextTurn()
      // The pipeline has room, but entries with unconfirmed acknowledgments or expired leases are still held.
      else if (this.#room <= 0) await settledUntil(held.whenDropped(), stopped)
    }
    if (this.#lostReply !== undefined) await this.#takeUnanswered(this.#lostReply)
    const client = stopped.aborted ? undefined : await reader.whenReady(stopped)
    if (client === undefined) return undefined
    this.#readerId ??= String(await client.sendCommand(['CLIENT', 'ID']))
    if (stopped.aborted) return undefined
    return this.#hold(await source.read(client, sizes.fitting(this.#room, intake.roomBytes)))
  }

  /**
   * Takes over the entries that the server assigned with a lost reply. Otherwise those entries would wait until their
   * leases expire, and later entries would overtake them.
   */
  async #takeUnanswered({ readerId }: { readonly readerId: string | undefined }): Promise<void> {
    const { commands, takeOwn, stopped } = this.#parts
    const client = await commands.whenReady(stopped)
    if (client === undefined) return
    // A server that has not noticed the loss would still assign entries to the old connection.
    if (readerId !== undefined)
      await client.sendCommand(['CLIENT', 'UNBLOCK', readerId]).catch(() => undefined)
    await takeOwn()
    this.#lostReply = undefined
  }

  /** Reads the next page. It is held when it arrives, so that its leases are renewed while it waits to be delivered. */
  #readAhead({ count, bytes, entries }: HeldPages): Promise<HeldPages> | undefined {
    const { client } = this.#parts.reader
    const { intake, sizes, source, options, held } = this.#parts
    // The entries of the page are held, and not delivered yet.
    const room = Math.min(intake.room - entries.length, options.maxInFlight - held.size)
    const roomBytes = intake.roomBytes - bytes
    if (client === undefined || count === 0 || room <= 0 || roomBytes <= 0) return undefined
    const ahead = source.read(client, sizes.fitting(room, roomBytes)).then((pages) => this.#hold(pages))
    // The loop handles the failure when it awaits the page.
    ahead.catch(() => undefined)
    return ahead
  }

  async #hold(pages: readonly ReadPage[]): Promise<HeldPages> {
    const { held, sizes } = this.#parts
    const exact: ReadPage[] = []
    for (const page of pages) {
      const { stream, entries } = page
      exact.push(
        entries.some(mayBeMangled) ? { ...page, entries: await this.#reread(stream, entries) } : page,
      )
    }
    const partial = new Map<HeldEntry, StreamEntry>()
    // No statement throws from here on, so every held entry is delivered.
    const entries = exact.flatMap(({ stream, lease, entries: read, sentAt: leasedAt }) =>
      read.flatMap((entry) => {
        const delivery = held.hold(stream, {
          entry,
          lease,
          attemptsStarted: 0,
          settledHandlers: NO_HANDLERS,
          leasedAt,
        })
        if (delivery !== undefined && entry.isPartial === true) partial.set(delivery, entry)
        return delivery ?? []
      }),
    )
    const bytes = sizes.note(exact.flatMap(({ entries: read }) => read))
    return { entries, partial, count: countOf(pages), bytes }
  }

  async #deliver({ entries, partial }: HeldPages): Promise<void> {
    const { intake } = this.#parts
    for (const delivery of entries) {
      if (intake.room === 0) await intake.whenRoom()
      const entry = partial.get(delivery)
      if (entry !== undefined && !(await this.#complete(delivery, entry))) continue
      intake.deliver(delivery)
    }
  }

  async #reread(stream: ConsumedStream, entries: readonly StreamEntry[]): Promise<readonly StreamEntry[]> {
    try {
      const client = this.#parts.commands.requireClient()
      return await Promise.all(
        entries.map((entry) => (mayBeMangled(entry) ? rereadAsBytes(client, stream.key, entry) : entry)),
      )
    } catch (error) {
      // This page and the one read ahead are assigned to this consumer, but not held.
      this.#lostReply = { readerId: this.#readerId }
      throw error
    }
  }

  /**
   * Reads an entry by itself that the reply with its page was too large for.
   * @returns false if the consumption was stopped first. The entry stays held, and is released.
   */
  async #complete(delivery: HeldEntry, entry: StreamEntry): Promise<boolean> {
    const { commands, held, host, options, stopped } = this.#parts
    const read = async () => {
      const client = await commands.whenReady(stopped)
      if (client === undefined) return false
      held.complete(delivery, await rereadAsBytes(client, delivery.stream.key, entry))
      return true
    }
    const onFailure = (error: Error) => {
      if (!isErrorReply(error)) return // a lost connection is reported by its link
      host.notify({ type: 'readFailed', error: commandError(options.address, 'XRANGE', error) })
    }
    const done = await retryUntilDone(read, { backoff: READ_BACKOFF, signal: stopped, onFailure })
    return done?.value === true
  }

  async #onFailure(error: Error, failures: number): Promise<void> {
    const { options, commands, reader, host, stopped } = this.#parts
    const readerId = this.#readerId
    this.#readerId = undefined
    if (stopped.aborted) return
    if (!isErrorReply(error)) this.#lostReply = { readerId: readerId ?? this.#lostReply?.readerId }
    if (isNoGroup(error) || error.message.startsWith('UNBLOCKED')) {
      if (await repairGroup(this.#parts)) return
    } else if (isReadOnly(error)) {
      // The command connection leads to the same replica. A bus that only consumes sends no command that shows it.
      for (const link of [commands, reader]) link.reset(error)
    } else if (isErrorReply(error)) {
      // A lost connection is reported by its link.
      host.notify({ type: 'readFailed', error: commandError(options.address, 'XREADGROUP', error) })
    }
    await sleep(READ_BACKOFF.backoff(failures), stopped)
  }
}
