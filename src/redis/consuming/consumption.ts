import { setImmediate as nextTurn } from 'node:timers/promises'
import { toError } from '../../errors.ts'
import { READ_BACKOFF } from '../../kit/backoff.ts'
import { settledUntil, settledWithin, sleep } from '../../kit/time.ts'
import type { Consumption, DeadLetterReason, Intake, TransportHost } from '../../transport/transport.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import { runScript } from '../client/scripts.ts'
import type { StreamRole } from '../client/stream-role.ts'
import { moveToDeadLetters } from '../dead-letters/dead-letters.ts'
import { commandError, isErrorReply, isNoGroup, isReadOnly } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { mayBeMangled, readMessage, type StreamEntry } from '../wire/entry.ts'
import { rereadAsBytes } from '../wire/reread.ts'
import { RedisAcks } from './acks.ts'
import { countOf, type ReadPage, RedisGroup } from './group.ts'
import { type EntryOwner, HeldEntry } from './held-entry.ts'
import { RedisLeases } from './leases.ts'
import { type RecoveryRequest, type RecoveryResult, RedisRecovery, type TakenEntry } from './recovery.ts'
import { RedisReturns } from './returns.ts'

/** Time since the last delivery that makes a released entry free for the next consumer that looks, in milliseconds. */
const RELEASED_IDLE_MS = 30 * 86_400_000

/** How long the end of a blocking read may take before it is asked for again, in milliseconds. */
const UNBLOCK_AGAIN_MS = 50

/** Entries whose handling takes so long that the next read should be on its way before, at least. */
const WORTH_A_TURN = 20

/** Handlers that have settled what nobody had before. */
const NOBODY: readonly string[] = []

export interface RedisConsumptionParts {
  readonly options: ResolvedRedisOptions
  /** For everything but the blocking read. */
  readonly commands: RedisLink
  /** Reserved for the blocking read. */
  readonly reader: RedisLink
  readonly intake: Intake
  readonly host: TransportHost
  /** False for a consumption that only recovers what is pending. */
  readonly readsNew: boolean
}

/** One consumer of a group: reads, holds entries under renewed leases, acknowledges, takes over from the dead. */
export class RedisConsumption implements Consumption, EntryOwner {
  readonly leaseMs: number
  readonly #parts: RedisConsumptionParts
  readonly #roles: readonly StreamRole[]
  readonly #group: RedisGroup
  readonly #held = new Map<string, HeldEntry>()
  #dropped: PromiseWithResolvers<void> | undefined
  readonly #acks: RedisAcks
  readonly #leases: RedisLeases
  readonly #returns: RedisReturns
  readonly #recovery: RedisRecovery
  readonly #stopped = new AbortController()
  #reading: Promise<void> = Promise.resolve()
  #sweeping: Promise<void> = Promise.resolve()
  #readerId: string | undefined
  /** The connection whose last read was not answered: the server may have given something out with it. */
  #unanswered: { readonly readerId: string | undefined } | undefined
  #isReleased = false

  constructor(parts: RedisConsumptionParts) {
    const { options, commands, host } = parts
    const { keys, consumerGroup, consumerName, pendingIdleMs } = options
    this.#parts = parts
    this.leaseMs = pendingIdleMs
    this.#roles = [
      { key: keys.stream, deletesSettled: false },
      { key: keys.replays(consumerGroup), deletesSettled: true },
    ]
    this.#group = new RedisGroup(options, this.#roles)
    this.#acks = new RedisAcks({
      link: commands,
      group: consumerGroup,
      retryKey: (entry) => this.#retryKey(entry),
      onFlushed: (entries) => this.#forget(entries),
    })
    this.#leases = new RedisLeases({
      link: commands,
      group: consumerGroup,
      consumer: consumerName,
      leaseMs: pendingIdleMs,
    })
    this.#returns = new RedisReturns({
      link: commands,
      group: consumerGroup,
      consumer: consumerName,
      stopped: this.#stopped.signal,
      again: (entry) => this.#handAgain(entry),
      lost: (entry) => this.#drop(entry, 'lost'),
    })
    this.#recovery = new RedisRecovery({
      options,
      link: commands,
      host,
      roles: this.#roles,
      isHeld: (role, id) => this.#held.has(heldKey(role, id)),
      whenRoom: () => parts.intake.whenRoom(),
      room: () => parts.intake.room,
      take: (role, taken) => this.#take(role, taken),
    })
  }

  /** Declares the groups and begins. @throws ConnectionError */
  async start(): Promise<void> {
    await this.#group.declare(this.#client())
    if (!this.#parts.readsNew) return
    this.#leases.start(() => this.#held.values())
    // What was delivered before comes before what is new.
    const swept = this.#sweepFirst()
    this.#reading = swept.then(() => this.#read())
    this.#sweeping = swept.then(() => this.#sweepAgainAndAgain())
  }

  get isFlowing(): boolean {
    return this.#parts.reader.client !== undefined
  }

  async stopFetching(): Promise<void> {
    this.#stopped.abort()
    const ended = Promise.all([this.#reading, this.#sweeping])
    // A read may be on its way to the server when the first order to end it arrives there.
    do await this.#unblock()
    while (!(await settledWithin(ended, UNBLOCK_AGAIN_MS)))
  }

  async release(signal: AbortSignal): Promise<void> {
    const client = await this.#parts.commands.whenReady(signal)
    if (client !== undefined) await this.#acks.flushed()
    this.#isReleased = true
    this.#acks.close()
    this.#leases.stop()
    if (client === undefined) return
    try {
      for (const role of this.#roles) await this.#giveBack(client, role)
      if (this.#parts.readsNew) await this.#group.leave(client)
    } catch {
      // Whatever is not given back here is taken over when its lease has run out.
    }
  }

  /** Looks for pending entries once and waits until what was taken over is settled. */
  recover(request: RecoveryRequest): Promise<RecoveryResult> {
    return this.#recovery.recover(request, this)
  }

  ack(entry: HeldEntry): void {
    if (!this.#isReleased) this.#acks.add(entry)
  }

  async deadLetter(entry: HeldEntry, reason: DeadLetterReason): Promise<void> {
    await moveToDeadLetters(this.#client(), this.#parts.options, entry, reason, this.#retryKey(entry))
    this.#drop(entry, 'deadLettered')
  }

  isBlocked(entry: HeldEntry): boolean {
    return this.#returns.blocks(entry)
  }

  refused(entry: HeldEntry): void {
    this.#returns.add(entry)
  }

  async note(entry: HeldEntry, attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    const { consumerGroup, consumerName, retryKeyExpiryMs, address } = this.#parts.options
    // An attempt that kills this process must not take along what was handled before it.
    await this.#acks.flushedSoFar()
    const client = this.#client()
    try {
      const isOurs = await runScript(
        client,
        'NOTE_ATTEMPT',
        [entry.role.key, this.#retryKey(entry)],
        [
          consumerGroup,
          consumerName,
          entry.message.id,
          String(attempt),
          JSON.stringify(settledHandlers),
          String(retryKeyExpiryMs),
        ],
      )
      entry.attemptsBegun = attempt
      if (isOurs === 1) return true
    } catch (error) {
      if (!isNoGroup(error)) throw commandError(address, 'EVAL', error)
    }
    this.#drop(entry, 'lost')
    return false
  }

  /** How many more entries may be fetched. */
  get #room(): number {
    return Math.min(this.#parts.intake.room, this.#parts.options.maxInFlight - this.#held.size)
  }

  #client(): RedisClient {
    return this.#parts.commands.requireClient()
  }

  async #read(): Promise<void> {
    const { signal } = this.#stopped
    let ahead: Promise<readonly ReadPage[]> | undefined
    for (let failures = 0; ; ) {
      try {
        const pages = await (ahead ?? this.#nextPages())
        ahead = undefined
        if (pages === undefined || signal.aborted) return
        // The server looks for the next page while this one is handled.
        ahead = this.#readAhead(pages)
        // The client writes at the end of a turn; a full page takes one of its own.
        if (ahead !== undefined && countOf(pages) >= WORTH_A_TURN) await nextTurn()
        for (const page of pages) await this.#takeNew(page)
        failures = 0
      } catch (thrown) {
        ahead = undefined
        failures += 1
        await this.#onReadFailure(toError(thrown), failures)
      }
    }
  }

  /** Waits for room and for a connection. @returns undefined when it was stopped meanwhile. */
  async #nextPages(): Promise<readonly ReadPage[] | undefined> {
    const { signal } = this.#stopped
    const { intake } = this.#parts
    while (this.#room <= 0 && !signal.aborted) {
      await intake.whenRoom()
      // None after all: somebody else was quicker, or the intake is closing.
      if (intake.room <= 0) await nextTurn()
      // Not acknowledged yet, or asked about: a crash would repeat it, so it counts as held.
      else if (this.#room <= 0) await settledUntil(this.#whenDropped(), signal)
    }
    if (this.#unanswered !== undefined) await this.#takeUnanswered(this.#unanswered)
    const client = signal.aborted ? undefined : await this.#parts.reader.whenReady(signal)
    if (client === undefined) return undefined
    this.#readerId ??= String(await client.sendCommand(['CLIENT', 'ID']))
    return signal.aborted ? undefined : this.#group.read(client, this.#room)
  }

  /** Otherwise it would wait until its lease had run out, and what follows it would be handled before it. */
  async #takeUnanswered({ readerId }: { readonly readerId: string | undefined }): Promise<void> {
    const { signal } = this.#stopped
    const client = await this.#parts.commands.whenReady(signal)
    if (client === undefined) return
    // A server that has not noticed the loss would still answer there.
    if (readerId !== undefined)
      await client.sendCommand(['CLIENT', 'UNBLOCK', readerId]).catch(() => undefined)
    await this.#recovery.takeOwn(signal)
    this.#unanswered = undefined
  }

  #readAhead(pages: readonly ReadPage[]): Promise<readonly ReadPage[]> | undefined {
    const { client } = this.#parts.reader
    const taken = countOf(pages)
    const room = this.#room - taken
    if (client === undefined || taken === 0 || room <= 0) return undefined
    const ahead = this.#group.read(client, room)
    // Its failure is met when it is awaited.
    ahead.catch(() => undefined)
    return ahead
  }

  async #takeNew({ role, entries, askedAt }: ReadPage): Promise<void> {
    const { intake } = this.#parts
    const exact = entries.some(mayBeMangled) ? await this.#reread(role, entries) : entries
    // From here to the end nothing throws: what is held is handed over.
    const held = exact.map((entry) =>
      this.#hold(role, { entry, attemptsBegun: 0, settledHandlers: NOBODY, leasedAt: askedAt }),
    )
    for (const entry of held) {
      if (entry === undefined) continue
      if (intake.room === 0) await intake.whenRoom()
      intake.deliver(entry)
    }
  }

  async #reread(role: StreamRole, entries: readonly StreamEntry[]): Promise<readonly StreamEntry[]> {
    try {
      const client = this.#client()
      return await Promise.all(
        entries.map((entry) => (mayBeMangled(entry) ? rereadAsBytes(client, role.key, entry) : entry)),
      )
    } catch (error) {
      // This page, and the one that was read ahead, are pending and nobody holds them.
      this.#unanswered = { readerId: this.#readerId }
      throw error
    }
  }

  #take(role: StreamRole, taken: TakenEntry): HeldEntry | undefined {
    const held = this.#hold(role, taken)
    if (held !== undefined) this.#parts.intake.deliver(held)
    return held
  }

  #handAgain(former: HeldEntry): void {
    const { message, role, attemptsBegun, settledSoFar: settledHandlers, leasedAt } = former
    const held = new HeldEntry(this, { message, role, attemptsBegun, settledHandlers, leasedAt })
    held.onEnd = former.onEnd
    this.#held.set(heldKey(role, message.id), held)
    this.#parts.intake.deliver(held)
  }

  /** From here on its lease is renewed. */
  #hold(
    role: StreamRole,
    { entry, attemptsBegun, settledHandlers, leasedAt }: TakenEntry,
  ): HeldEntry | undefined {
    const key = heldKey(role, entry.id)
    // Read a second time after its group was made again: the one we hold counts.
    if (this.#held.has(key)) return undefined
    const message = readMessage(entry)
    const held = new HeldEntry(this, { message, role, attemptsBegun, settledHandlers, leasedAt })
    this.#held.set(key, held)
    return held
  }

  async #onReadFailure(error: Error, failures: number): Promise<void> {
    const readerId = this.#readerId
    this.#readerId = undefined
    if (this.#stopped.signal.aborted) return
    if (!isErrorReply(error)) this.#unanswered = { readerId: readerId ?? this.#unanswered?.readerId }
    if (isNoGroup(error) || error.message.startsWith('UNBLOCKED')) return this.#restore(failures)
    if (isReadOnly(error)) {
      // What only consumes would never learn by a command that its other connection leads to a replica too.
      for (const link of [this.#parts.commands, this.#parts.reader]) link.reset(error)
    }
    // A broken connection tells its own story, and the next one is waited for in the loop.
    else if (isErrorReply(error))
      this.#parts.host.notify({
        type: 'readFailed',
        error: commandError(this.#parts.options.address, 'XREADGROUP', error),
      })
    await sleep(READ_BACKOFF.backoff(failures), this.#stopped.signal)
  }

  /** The stream or the group is gone: deleted, flushed, or a failover to a replica that had less. */
  async #restore(failures: number): Promise<void> {
    try {
      const made = await this.#group.declare(this.#client())
      if (made.length === 0) return
      const { consumerGroup } = this.#parts.options
      this.#parts.host.notify({
        type: 'topologyRestored',
        what: `consumer group ${consumerGroup} of ${made.join(', ')}`,
      })
    } catch (thrown) {
      this.#parts.host.notify({ type: 'readFailed', error: toError(thrown) })
      await sleep(READ_BACKOFF.backoff(failures), this.#stopped.signal)
    }
  }

  async #sweepFirst(): Promise<void> {
    const { signal } = this.#stopped
    await this.#guardSweep(() => this.#recovery.takeOwn(signal))
    await this.#guardSweep(() => this.#recovery.sweep(signal))
  }

  async #sweepAgainAndAgain(): Promise<void> {
    const { signal } = this.#stopped
    const everyMs = Math.min(5000, this.leaseMs / 2)
    while (await sleep(everyMs, signal)) await this.#guardSweep(() => this.#recovery.sweep(signal))
  }

  async #guardSweep(sweep: () => Promise<void>): Promise<void> {
    try {
      await sweep()
      const { client } = this.#parts.commands
      if (client !== undefined && !this.#stopped.signal.aborted) await this.#group.forgetTheDead(client)
    } catch (thrown) {
      const error = toError(thrown)
      // A lost connection and a lost group are dealt with by the read loop.
      if (isNoGroup(error) || !isErrorReply(error) || this.#stopped.signal.aborted) return
      this.#parts.host.notify({
        type: 'readFailed',
        error: commandError(this.#parts.options.address, 'XPENDING', error),
      })
    }
  }

  /** Ends the blocking read, so that stopping does not take `blockMs`. */
  async #unblock(): Promise<void> {
    const id = this.#readerId
    if (id === undefined) return
    try {
      const client = this.#client()
      await client.sendCommand(['CLIENT', 'UNBLOCK', id])
    } catch {
      // Not permitted, or no connection: cutting the read does it too; what it may have fetched is taken over later.
      this.#parts.reader.reset(new Error('cut to end its blocking read'))
    }
  }

  async #giveBack(client: RedisClient, role: StreamRole): Promise<void> {
    const entries = [...this.#held.values()].filter((entry) => entry.role === role && !entry.isSettled)
    if (entries.length === 0) return
    const { consumerGroup, consumerName } = this.#parts.options
    // An attempt that this stop interrupts has not failed; one that waits for the next has.
    const states = entries.flatMap(({ message, attemptsBegun, isAttempting }) => [
      message.id,
      String(isAttempting ? attemptsBegun - 1 : attemptsBegun),
    ])
    await runScript(
      client,
      'RELEASE',
      [role.key],
      [consumerGroup, consumerName, String(RELEASED_IDLE_MS), ...states],
    )
    for (const entry of entries) this.#drop(entry, 'lost')
  }

  #forget(entries: readonly HeldEntry[]): void {
    for (const entry of entries) this.#drop(entry, 'acknowledged')
  }

  /** Resolves when an entry is held no longer. */
  #whenDropped(): Promise<void> {
    this.#dropped ??= Promise.withResolvers()
    return this.#dropped.promise
  }

  #drop(entry: HeldEntry, outcome: 'acknowledged' | 'deadLettered' | 'lost'): void {
    this.#held.delete(heldKey(entry.role, entry.message.id))
    this.#dropped?.resolve()
    this.#dropped = undefined
    entry.onEnd?.(outcome)
  }

  #retryKey(entry: HeldEntry): string {
    const { keys, consumerGroup } = this.#parts.options
    return keys.retry(consumerGroup, entry.message.id)
  }
}

function heldKey(role: StreamRole, id: string): string {
  return role.deletesSettled ? `replay ${id}` : id
}
