import { toError } from '../../errors.ts'
import { settledWithin } from '../../kit/time.ts'
import type { Consumption, DeadLetterReason, Intake, TransportHost } from '../../transport/transport.ts'
import type { Wait } from '../../transport/waiting.ts'
import type { RedisClient } from '../client/client.ts'
import type { ConsumedStream } from '../client/consumed-stream.ts'
import type { RedisLink } from '../client/link.ts'
import { moveToDeadLetters } from '../dead-letters/move-to-dead-letters.ts'
import { commandError, isErrorReply } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { RedisAcks } from './acks.ts'
import { RedisAttemptRecorder } from './attempt-recorder.ts'
import { RedisDepartedConsumers } from './departed-consumers.ts'
import { EntrySizes } from './entry-sizes.ts'
import { RedisExpiredEntries } from './expired-entries.ts'
import { FinishedEntries } from './finished-entries.ts'
import { RedisGroup } from './group.ts'
import { HeldEntries } from './held-entries.ts'
import { type EntryOwner, groupByOwnership, type HeldEntry, isFencedOff } from './held-entry.ts'
import { LeasedReader } from './leased-reader.ts'
import { RedisLeases, releaseLeases } from './leases.ts'
import { RedisMembership } from './membership.ts'
import { RedisNameWatch } from './name-watch.ts'
import { RedisPartitions } from './partitions.ts'
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
  readonly #finished = new FinishedEntries()
  readonly #attempts: RedisAttemptRecorder
  readonly #leases: RedisLeases
  readonly #expired: RedisExpiredEntries
  readonly #recovery: RedisRecovery
  readonly #sweeper: RedisSweeper
  readonly #readLoop: RedisReadLoop
  readonly #membership: RedisMembership
  /** Undefined if the group is not ordered. */
  readonly #partitions: RedisPartitions | undefined
  readonly #leasedReader: LeasedReader
  readonly #departed: RedisDepartedConsumers
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
    this.#streams = streamsOf(options)
    const leasesKey = keys.leases(group)
    this.#group = new RedisGroup(options, this.#streams)
    this.#acks = new RedisAcks({
      link: commands,
      group,
      leasesKey,
      finished: this.#finished,
      retryKey: (entry) => this.#retryKey(entry),
      onFlushed: (entries) => {
        for (const entry of entries) held.drop(entry, isFencedOff(entry) ? 'lost' : 'acknowledged')
      },
      onRefused: (error) =>
        parts.host.notify({ type: 'readFailed', error: commandError(options.address, 'XACK', error) }),
    })
    this.#attempts = new RedisAttemptRecorder({ options, commands, acks: this.#acks })
    this.#leases = new RedisLeases({ link: commands, group, consumer, leaseMs, leasesKey })
    this.#expired = new RedisExpiredEntries({
      link: commands,
      group,
      consumer,
      leasesKey,
      stopped,
      confirm: () => this.#confirm(),
      redeliver: (entry) => intake.deliver(held.replace(entry)),
      onLost: (entry) => held.drop(entry, 'lost'),
    })
    const sizes = new EntrySizes(options.maxEntryBytes)
    this.#recovery = new RedisRecovery({ ...parts, streams: this.#streams, held, sizes, stopped })
    const partitions = options.ordering === 'aggregate' ? this.#createPartitions() : undefined
    this.#partitions = partitions
    this.#leasedReader = new LeasedReader(options, this.#finished, () => partitions?.readable ?? [])
    const shared = { ...parts, group: this.#group, streams: this.#streams, recovery: this.#recovery, stopped }
    this.#departed = new RedisDepartedConsumers(shared)
    this.#membership = this.#createMembership()
    this.#sweeper = new RedisSweeper({
      ...shared,
      unread: new RedisUnreadWatch(options, parts.host),
    })
    this.#readLoop = new RedisReadLoop({
      ...shared,
      source: partitions === undefined ? this.#group : this.#leasedReader,
      held,
      sizes,
      takeOwn: () => partitions?.takeUnheld(stopped) ?? this.#recovery.takeOwn(stopped),
    })
    this.#nameWatch = nameWatch(parts)
  }

  /**
   * Creates the groups if they are missing, and starts reading.
   * @param reading - resolves when the reading connection is open.
   * @throws ConnectionError
   */
  async start(reading?: Promise<void>): Promise<void> {
    const { commands, options } = this.#parts
    await Promise.all([this.#group.declare(commands.requireClient(), options.startFrom), reading])
    this.#leases.start(this.#held)
    if (!this.#parts.readsNew) return
    this.#nameWatch?.start()
    await this.#membership.start()
    this.#running = this.#run()
  }

  get isFlowing(): boolean {
    return this.#parts.reader.client !== undefined
  }

  get isCurrent(): boolean {
    return !this.#parts.readsNew || this.#membership.isCurrent
  }

  get idleReason(): string | undefined {
    if (this.#partitions === undefined || this.#partitions.count > 0) return undefined
    return 'other consumers of the group have all partitions'
  }

  async stopFetching(): Promise<void> {
    this.#stopped.abort()
    this.#membership.leaveShare()
    this.#partitions?.stop()
    // A read may reach the server after the first request to end it.
    do await this.#readLoop.unblock()
    while (!(await settledWithin(this.#running, UNBLOCK_INTERVAL_MS)))
    await this.#recovery.whenScanned()
  }

  async release(signal: AbortSignal): Promise<void> {
    const client = await this.#parts.commands.whenReady(signal)
    if (client !== undefined) await this.#acks.flushed()
    this.#membership.end()
    this.#isReleased = true
    this.#acks.close()
    this.#leases.stop()
    await this.#nameWatch?.stop()
    try {
      if (client !== undefined) await this.#leave(client)
    } catch {
      // Other consumers take over the entries when their leases expire.
    } finally {
      for (const entry of this.#held) this.#held.drop(entry, 'lost')
      this.#partitions?.close()
    }
  }

  async #leave(client: RedisClient): Promise<void> {
    const released = await this.#releaseEntries(client)
    if (!this.#parts.readsNew) return
    await this.#membership.leave(client, released > 0)
    await this.#group.leave(client)
  }

  /** Takes over pending entries once. Resolves when each of them is settled or given up. @returns undefined after a stop. */
  recover(request: RecoveryRequest): Promise<RecoveryResult> | undefined {
    return this.#stopped.signal.aborted ? undefined : this.#recovery.recover(request, this)
  }

  ack(entry: HeldEntry): void {
    if (!this.#isReleased) this.#acks.add(entry)
  }

  takeFinished(entry: HeldEntry): boolean {
    return this.#finished.take(entry)
  }

  async deadLetter(entry: HeldEntry, reason: DeadLetterReason): Promise<boolean> {
    const { commands, options } = this.#parts
    const client = commands.requireClient()
    const isOurs = await moveToDeadLetters(client, options, entry, reason, this.#retryKey(entry))
    this.#held.drop(entry, isOurs ? 'deadLettered' : 'lost')
    return isOurs
  }

  async postpone(entry: HeldEntry, wait: Wait): Promise<boolean> {
    const isOurs = await this.#parts.waiting.add(entry, wait)
    if (!isOurs) this.#held.drop(entry, 'lost')
    return isOurs
  }

  async waitBehind(entry: HeldEntry, handlerName: string, limit: number): Promise<number | undefined> {
    const before = await this.#parts.waiting.addBehind(entry, handlerName, limit)
    if (before === undefined) this.#held.drop(entry, 'lost')
    return before
  }

  async passOn(entry: HeldEntry, except: readonly string[]): Promise<boolean> {
    const isOurs = await this.#parts.waiting.passOn(entry, except)
    if (!isOurs) this.#held.drop(entry, 'lost')
    return isOurs
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
    // An entry of a partition that is being given up stays held until then.
    if (entry.lease === undefined || entry.lease.state === 'held' || entry.lease.state === 'taking')
      this.#expired.add(entry)
  }

  /** Pending entries are handled before new ones. */
  async #run(): Promise<void> {
    await this.#sweeper.sweepAtStart()
    await Promise.all([this.#readLoop.run(), this.#sweeper.sweepPeriodically()])
  }

  /** @returns the number of entries that others have to take over. */
  async #releaseEntries(client: RedisClient): Promise<number> {
    const { consumerGroup: group, consumerName: consumer, keys } = this.#parts.options
    const unsettled = [...this.#held].filter(({ isSettled }) => !isSettled)
    const leasesKey = keys.leases(group)
    for (const entries of groupByOwnership(unsettled)) {
      const [first] = entries
      if (first !== undefined)
        await releaseLeases(client, { stream: first.stream, group, consumer, entries, leasesKey })
    }
    return unsettled.length
  }

  async #confirm(): Promise<void> {
    if (!this.isCurrent) await this.#membership.beat()
  }

  /** A read that waits does not include a partition that was gained after its start. */
  #onPartitionsChanged(): void {
    this.#leasedReader.changed()
    if (this.#parts.commands.client !== undefined) void this.#readLoop.unblock()
  }

  #createPartitions(): RedisPartitions {
    return new RedisPartitions({
      ...this.#parts,
      streams: this.#streams,
      held: this.#held,
      acks: this.#acks,
      finished: this.#finished,
      recovery: this.#recovery,
      onChange: () => this.#onPartitionsChanged(),
    })
  }

  #createMembership(): RedisMembership {
    const { options, commands, host } = this.#parts
    return new RedisMembership({
      options,
      link: commands,
      held: () => this.#partitions?.fences() ?? [],
      onBeat: (beat) => {
        this.#partitions?.apply(beat)
        this.#departed.takeOver(beat.departed)
      },
      onOtherOrdering: (detail) => host.notify({ type: 'orderingDiffers', detail }),
      onFailure: (error) => {
        if (isErrorReply(toError(error)))
          host.notify({ type: 'readFailed', error: commandError(options.address, 'EVAL (beat)', error) })
      },
    })
  }

  #retryKey(entry: HeldEntry): string {
    const { keys, consumerGroup } = this.#parts.options
    return keys.retry(consumerGroup, entry.message.id)
  }
}

/** The streams of a group: those of events and of replays, of each partition. */
function streamsOf({ keys, consumerGroup }: ResolvedRedisOptions): readonly ConsumedStream[] {
  const isOnly = keys.streams.length === 1
  return keys.streams.flatMap((key, partition) => [
    { key, deletesSettled: false, partition, isOnly, lease: undefined },
    {
      key: keys.replays(consumerGroup, partition),
      deletesSettled: true,
      partition,
      isOnly,
      lease: undefined,
    },
  ])
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
