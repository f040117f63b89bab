import { REQUEST_BACKOFF } from '../../kit/backoff.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { sleep } from '../../kit/time.ts'
import type { ConsumedStream, StreamLease } from '../client/consumed-stream.ts'
import type { RedisLink } from '../client/link.ts'
import { runScript } from '../client/scripts.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import type { RedisAcks } from './acks.ts'
import type { FinishedEntries } from './finished-entries.ts'
import type { HeldEntries } from './held-entries.ts'
import { groupByOwnership, type HeldEntry } from './held-entry.ts'
import { releaseLeases } from './leases.ts'
import type { Beat } from './membership.ts'
import type { RedisRecovery } from './recovery.ts'

/** Interval at which a partition that is given up is checked for running handlers, in milliseconds. */
const CHECK_MS = 10

export interface RedisPartitionsParts {
  readonly options: ResolvedRedisOptions
  readonly commands: RedisLink
  readonly streams: readonly ConsumedStream[]
  readonly held: HeldEntries
  readonly acks: RedisAcks
  readonly finished: FinishedEntries
  readonly recovery: RedisRecovery
  /** Called when the streams that can be read have changed. */
  readonly onChange: () => void
}

/** A partition that this consumer owns. */
interface OwnedPartition {
  readonly lease: StreamLease
  readonly streams: readonly ConsumedStream[]
  /** Aborts when the lease ends or is lost. */
  readonly ended: AbortController
}

/**
 * The partitions that this consumer owns in an ordered group. It reads new entries of a partition only after it has taken
 * over all pending ones, and gives a partition up only when none of its handlers runs.
 */
export class RedisPartitions {
  readonly #parts: RedisPartitionsParts
  readonly #owned = new Map<number, OwnedPartition>()
  /** The last fence of each partition that was given up. */
  readonly #givenUp = new Map<number, string>()
  #isStopping = false

  constructor(parts: RedisPartitionsParts) {
    this.#parts = parts
  }

  get count(): number {
    return this.#owned.size
  }

  /** The streams of which new entries can be read. */
  get readable(): readonly ConsumedStream[] {
    return this.#parts.streams.filter(({ lease }) => lease?.state === 'held')
  }

  /** The partitions with their fences. */
  *fences(): Iterable<readonly [partition: number, fence: string]> {
    for (const [partition, { lease }] of this.#owned) yield [partition, lease.fence]
  }

  /** Adopts what the last beat returned. */
  apply({ leases, surplus }: Beat): void {
    for (const [partition, owned] of [...this.#owned]) {
      if (leases.get(partition) !== owned.lease.fence) this.#lose(partition, owned)
    }
    if (this.#isStopping) return
    for (const [partition, fence] of leases) {
      // A beat that was sent before the partition was given up still lists it.
      const isNew = !this.#owned.has(partition) && this.#givenUp.get(partition) !== fence
      if (isNew) this.#gain(partition, fence)
    }
    const kept = [...this.#owned].filter(([, { lease }]) => lease.state !== 'ending')
    const ending = this.#owned.size - kept.length
    for (const [partition, owned] of kept.slice(0, Math.max(0, surplus - ending)))
      void this.#end(partition, owned)
  }

  /** Gives up each partition as soon as none of its handlers runs. */
  stop(): void {
    this.#isStopping = true
    for (const [partition, owned] of this.#owned)
      if (owned.lease.state !== 'ending') void this.#end(partition, owned)
  }

  /** Forgets all partitions: this consumer is no longer a member, so others may own them. */
  close(): void {
    for (const [partition, owned] of [...this.#owned]) this.#forget(partition, owned)
  }

  /** Takes over again what is pending and not held, because the reply to a read was lost. */
  async takeUnheld(signal: AbortSignal): Promise<void> {
    for (const { lease, streams } of this.#owned.values())
      if (lease.state === 'held') await this.#parts.recovery.takePartition(streams, signal)
  }

  #gain(partition: number, fence: string): void {
    const lease: StreamLease = { fence, state: 'taking' }
    const streams = this.#parts.streams.filter((stream) => stream.partition === partition)
    const owned = { lease, streams, ended: new AbortController() }
    for (const stream of streams) stream.lease = lease
    this.#owned.set(partition, owned)
    void this.#takeOver(owned)
  }

  async #takeOver({ lease, streams, ended }: OwnedPartition): Promise<void> {
    const { recovery, commands, onChange } = this.#parts
    const { signal } = ended
    await retryUntilDone(
      async () => {
        await commands.whenReady(signal)
        await recovery.takePartition(streams, signal)
      },
      // The read loop reports the cause.
      { backoff: REQUEST_BACKOFF, signal, onFailure: () => undefined },
    )
    if (lease.state !== 'taking') return
    lease.state = 'held'
    onChange()
  }

  /** Another consumer owns the partition, or may own it. Running handlers go on, but settle nothing. */
  #lose(partition: number, owned: OwnedPartition): void {
    this.#forget(partition, owned)
    for (const entry of this.#entriesOf(owned)) {
      // Its acknowledgment is on its way, and is refused, or was confirmed by a reply that was lost.
      if (entry.isSettled) this.#parts.finished.add(entry)
      this.#parts.held.drop(entry, 'lost')
    }
  }

  #forget(partition: number, { lease, streams, ended }: OwnedPartition): void {
    lease.state = 'lost'
    ended.abort()
    if (this.#owned.get(partition)?.lease === lease) this.#owned.delete(partition)
    for (const stream of streams) if (stream.lease === lease) stream.lease = undefined
    this.#parts.onChange()
  }

  /** Waits for the running handlers of the partition, then gives it up. */
  async #end(partition: number, owned: OwnedPartition): Promise<void> {
    const { acks } = this.#parts
    const { lease, ended } = owned
    lease.state = 'ending'
    ended.abort()
    this.#parts.onChange()
    while (lease.state === 'ending' && this.#isRunning(owned)) await sleep(CHECK_MS, NEVER)
    await acks.flushedSoFar()
    if (lease.state !== 'ending') return
    try {
      await this.#giveUp(partition, owned)
    } catch {
      // If the server still has the lease, the next beat returns it.
      this.#givenUp.delete(partition)
    }
  }

  async #giveUp(partition: number, owned: OwnedPartition): Promise<void> {
    const { options, commands, held } = this.#parts
    const { consumerGroup: group, consumerName: consumer, keys } = options
    const leasesKey = keys.leases(group)
    const entries = this.#entriesOf(owned).filter(({ isSettled }) => !isSettled)
    this.#givenUp.set(partition, owned.lease.fence)
    this.#forget(partition, owned)
    for (const entry of entries) held.drop(entry, 'lost')
    for (const part of groupByOwnership(entries)) {
      const [first] = part
      if (first === undefined) continue
      await releaseLeases(commands.requireClient(), {
        stream: first.stream,
        group,
        consumer,
        entries: part,
        leasesKey,
      })
    }
    await runScript(commands.requireClient(), 'GIVE_UP', [leasesKey], [String(partition), owned.lease.fence])
  }

  #isRunning(owned: OwnedPartition): boolean {
    return this.#entriesOf(owned).some(
      ({ isAttempting, isBusy, isSettled }) => (isAttempting || isBusy) && !isSettled,
    )
  }

  #entriesOf({ lease }: OwnedPartition): readonly HeldEntry[] {
    return [...this.#parts.held].filter((entry) => entry.lease === lease)
  }
}

const NEVER = new AbortController().signal
