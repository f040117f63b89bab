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
import { countOf, type ReadPage, type RedisGroup } from './group.ts'
import { repairGroup } from './group-repair.ts'
import type { HeldEntries } from './held-entries.ts'
import type { HeldEntry } from './held-entry.ts'

/** From this many entries on, the next read is sent before the page is handled. */
const LARGE_PAGE = 20

/** No handler has succeeded before the first delivery. */
const NO_HANDLERS: readonly string[] = []

export interface RedisReadLoopParts {
  readonly options: ResolvedRedisOptions
  readonly commands: RedisLink
  /** Reserved for the blocking read. */
  readonly reader: RedisLink
  readonly group: RedisGroup
  readonly held: HeldEntries
  readonly intake: Intake
  readonly sizes: EntrySizes
  readonly host: TransportHost
  readonly stopped: AbortSignal
  /** Takes over what is pending for this consumer and not held. */
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
    let ahead: Promise<readonly ReadPage[]> | undefined
    for (let failures = 0; ; ) {
      try {
        const pages = await (ahead ?? this.#nextPages())
        ahead = undefined
        if (pages === undefined || stopped.aborted) return
        // The server prepares the next page while this one is handled.
        ahead = this.#readAhead(pages)
        // The client sends at the end of the turn, which must not wait for a large page.
        if (ahead !== undefined && countOf(pages) >= LARGE_PAGE) await nextTurn()
        for (const page of pages) await this.#deliver(page)
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
  async #nextPages(): Promise<readonly ReadPage[] | undefined> {
    const { intake, held, reader, group, sizes, stopped } = this.#parts
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
    return stopped.aborted ? undefined : group.read(client, sizes.fitting(this.#room, intake.roomBytes))
  }

  /**
   * Takes over what the server assigned with a lost reply. Otherwise those entries would wait until their leases
   * expire, and later entries would overtake them.
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

  #readAhead(pages: readonly ReadPage[]): Promise<readonly ReadPage[]> | undefined {
    const { client } = this.#parts.reader
    const count = countOf(pages)
    const room = this.#room - count
    const { intake, sizes } = this.#parts
    const roomBytes = intake.roomBytes - sizes.note(pages.flatMap(({ entries }) => entries))
    if (client === undefined || count === 0 || room <= 0 || roomBytes <= 0) return undefined
    const ahead = this.#parts.group.read(client, sizes.fitting(room, roomBytes))
    // The loop handles the failure when it awaits the page.
    ahead.catch(() => undefined)
    return ahead
  }

  async #deliver({ stream, entries, sentAt }: ReadPage): Promise<void> {
    const { intake, held } = this.#parts
    const exact = entries.some(mayBeMangled) ? await this.#reread(stream, entries) : entries
    // Nothing throws from here on: every entry that is held is delivered.
    const deliveries = exact.map((entry) =>
      held.hold(stream, { entry, attemptsStarted: 0, settledHandlers: NO_HANDLERS, leasedAt: sentAt }),
    )
    for (const [index, delivery] of deliveries.entries()) {
      if (delivery === undefined) continue
      if (intake.room === 0) await intake.whenRoom()
      const entry = exact[index]
      if (entry?.isPartial === true && !(await this.#complete(delivery, entry))) continue
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
