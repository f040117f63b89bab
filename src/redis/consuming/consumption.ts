import { settledWithin } from '../../kit/time.ts'
import type { Consumption, DeadLetterReason, Intake, TransportHost } from '../../transport/transport.ts'
import type { Wait } from '../../transport/waiting.ts'
import type { RedisClient } from '../client/client.ts'
import type { ConsumedStream } from '../client/consumed-stream.ts'
import type { RedisLink } from '../client/link.ts'
import { moveToDeadLetters } from '../dead-letters/dead-letters.ts'
import { commandError } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { RedisAcks } from './acks.ts'
import { RedisAttemptRecorder } from './attempt-recorder.ts'
import { EntrySizes } from './entry-sizes.ts'
import { RedisExpiredEntries } from './expired-entries.ts'
import { RedisGroup } from './group.ts'
import { HeldEntries } from './held-entries.ts'
import type { EntryOwner, HeldEntry } from './held-entry.ts'
import { RedisLeases, releaseLeases } from './leases.ts'
import { RedisNameWatch } from './name-watch.ts'
import { RedisReadLoop } from './read-loop.ts'
import { type RecoveryRequest, type RecoveryResult, RedisRecovery } from './recovery.ts'
import { RedisSweeper } from './sweeper.ts'
import { RedisUnreadWatch } from './unread-watch.ts'
import type { RedisWaitingEntries } from './waiting-entries.ts'

/** Time between two requests to end the blocking read, in milliseconds. */
const UNBLOCK_INTERVAL_MS = 50

export interface RedisConsumptionParts {
  readonly options: ResolvedRedisOptions
  /** For all commands except the blocking read. */
  readonly commands: RedisLink
  /** Reserved for the blocking read. */
  readonly reader: RedisLink
  readonly intake: Intake
  readonly host: TransportHost
  readonly waiting: RedisWaitingEntries
  /** False for a consumption that only recovers pending entries. */
  readonly readsNew: boolean
}

/**
 * One consumer of a group: its start, its stop, and the operations that its entries need. Its parts read new entries,
 * renew their leases, acknowledge them, and take over entries of dead consumers.
 */
export class RedisConsumption implements Consumption, EntryOwner {
  readonly leaseMs: number
  readonly #parts: RedisConsumptionParts
  readonly #streams: readonly ConsumedStream[]
  readonly #group: RedisGroup
  readonly #held: HeldEntries
  readonly #acks: RedisAcks
  readonly #attempts: RedisAttemptRecorder
  readonly #leases: RedisLeases
  readonly #expired: RedisExpiredEntries
  readonly #recovery: RedisRecovery
  readonly #sweeper: RedisSweeper
  readonly #readLoop: RedisReadLoop
  readonly #nameWatch: RedisNameWatch | undefined
  readonly #stopped = new AbortController()
  #running: Promise<unknown> = Promise.resolve()
  #isReleased = false

  constructor(parts: RedisConsumptionParts) {
    const { options, commands, intake } = parts
    const { keys, consumerGroup: group, consumerName: consumer, pendingIdleMs: leaseMs } = options
    const stopped = this.#stopped.signal
    const held = new HeldEntries(this, options.maxEntryBytes)
    this.#held = held
    this.#parts = parts
    this.leaseMs = leaseMs
    this.#streams = [
      { key: keys.stream, deletesSettled: false },
      { key: keys.replays(group), deletesSettled: true },
    ]
    this.#group = new RedisGroup(options, this.#streams)
    this.#acks = new RedisAcks({
      link: commands,
      group,
      retryKey: (entry) => this.#retryKey(entry),
      onFlushed: (entries) => {
        for (const entry of entries) held.drop(entry, 'acknowledged')
      },
      onRefused: (error) =>
        parts.host.notify({ type: 'readFailed', error: commandError(options.address, 'XACK', error) }),
    })
    this.#attempts = new RedisAttemptRecorder({ options, commands, acks: this.#acks })
    this.#leases = new RedisLeases({ link: commands, group, consumer, leaseMs })
    this.#expired = new RedisExpiredEntries({
      link: commands,
      group,
      consumer,
      stopped,
      redeliver: (entry) => intake.deliver(held.replace(entry)),
      onLost: (entry) => held.drop(entry, 'lost'),
    })
    const sizes = new EntrySizes(options.maxEntryBytes)
    this.#recovery = new RedisRecovery({ ...parts, streams: this.#streams, held, sizes })
    const shared = { ...parts, group: this.#group, stopped }
    this.#sweeper = new RedisSweeper({
      ...shared,
      recovery: this.#recovery,
      unread: new RedisUnreadWatch(options, parts.host),
    })
    this.#readLoop = new RedisReadLoop({
      ...shared,
      held,
      sizes,
      takeOwn: () => this.#recovery.takeOwn(stopped),
    })
    this.#nameWatch = nameWatch(parts)
  }

  /** Creates the groups if they are missing, and starts reading. @throws ConnectionError */
  async start(): Promise<void> {
    await this.#group.declare(this.#parts.commands.requireClient(), this.#parts.options.startFrom)
    if (!this.#parts.readsNew) return
    this.#leases.start(this.#held)
    this.#nameWatch?.start()
    this.#running = this.#run()
  }

  get isFlowing(): boolean {
    return this.#parts.reader.client !== undefined
  }

  async stopFetching(): Promise<void> {
    this.#stopped.abort()
    // A read may reach the server after the first request to end it.
    do await this.#readLoop.unblock()
    while (!(await settledWithin(this.#running, UNBLOCK_INTERVAL_MS)))
  }

  async release(signal: AbortSignal): Promise<void> {
    const client = await this.#parts.commands.whenReady(signal)
    if (client !== undefined) await this.#acks.flushed()
    this.#isReleased = true
    this.#acks.close()
    this.#leases.stop()
    await this.#nameWatch?.stop()
    if (client === undefined) return
    try {
      for (const stream of this.#streams) await this.#releaseEntries(client, stream)
      if (this.#parts.readsNew) await this.#group.leave(client)
    } catch {
      // Other consumers take over the entries when their leases expire.
    }
  }

  /** Takes over pending entries once. Resolves when each of them is settled or given up. */
  recover(request: RecoveryRequest): Promise<RecoveryResult> {
    return this.#recovery.recover(request, this)
  }

  ack(entry: HeldEntry): void {
    if (!this.#isReleased) this.#acks.add(entry)
  }

  async deadLetter(entry: HeldEntry, reason: DeadLetterReason): Promise<void> {
    const { commands, options } = this.#parts
    await moveToDeadLetters(commands.requireClient(), options, entry, reason, this.#retryKey(entry))
    this.#held.drop(entry, 'deadLettered')
  }

  async postpone(entry: HeldEntry, wait: Wait): Promise<boolean> {
    const isOurs = await this.#parts.waiting.add(entry, wait)
    if (!isOurs) this.#held.drop(entry, 'lost')
    return isOurs
  }

  async waitBehind(entry: HeldEntry, handlerName: string): Promise<boolean | undefined> {
    const isBehind = await this.#parts.waiting.addBehind(entry, handlerName)
    if (isBehind === undefined) this.#held.drop(entry, 'lost')
    return isBehind
  }

  passOn({ replayTarget }: HeldEntry): Promise<void> {
    return this.#parts.waiting.passOn(replayTarget?.earlier?.place)
  }

  async recordAttempt(
    entry: HeldEntry,
    attempt: number,
    settledHandlers: readonly string[],
  ): Promise<boolean> {
    const isOurs = await this.#attempts.record(entry, attempt, settledHandlers)
    if (!isOurs) this.#held.drop(entry, 'lost')
    return isOurs
  }

  isBlocked(entry: HeldEntry): boolean {
    return this.#expired.blocks(entry)
  }

  onRefused(entry: HeldEntry): void {
    this.#expired.add(entry)
  }

  /** Pending entries are handled before new ones. */
  async #run(): Promise<void> {
    await this.#sweeper.sweepAtStart()
    await Promise.all([this.#readLoop.run(), this.#sweeper.sweepPeriodically()])
  }

  async #releaseEntries(client: RedisClient, stream: ConsumedStream): Promise<void> {
    const { consumerGroup: group, consumerName: consumer } = this.#parts.options
    const entries = [...this.#held].filter((entry) => entry.stream === stream && !entry.isSettled)
    if (entries.length === 0) return
    await releaseLeases(client, { stream, group, consumer, entries })
    for (const entry of entries) this.#held.drop(entry, 'lost')
  }

  #retryKey(entry: HeldEntry): string {
    const { keys, consumerGroup } = this.#parts.options
    return keys.retry(consumerGroup, entry.message.id)
  }
}

/** Only a name that the user chose can belong to two processes. */
function nameWatch({ options, commands, host, readsNew }: RedisConsumptionParts): RedisNameWatch | undefined {
  const { consumerName, consumerGroup, keys, isNameGiven, pendingIdleMs } = options
  if (!readsNew || !isNameGiven) return undefined
  const detail =
    `another live process consumes as ${consumerName} in the group ${consumerGroup}, so the two processes take over ` +
    "each other's messages; give each its own consumerName, or omit it"
  return new RedisNameWatch({
    link: commands,
    key: keys.consumer(consumerGroup, consumerName),
    leaseMs: pendingIdleMs,
    onTaken: () => host.notify({ type: 'consumerNameTaken', detail }),
  })
}
