import { type ReplayTarget, replayTarget } from '../../transport/replay-headers.ts'
import { isRecorded } from '../../transport/settled-handlers.ts'
import type { DeadLetterReason, Delivery, IncomingMessage } from '../../transport/transport.ts'
import type { Wait } from '../../transport/waiting.ts'
import type { ConsumedStream, StreamLease } from '../client/consumed-stream.ts'

/** How this consumer's hold on an entry ended. */
export type EntryEnd = 'acknowledged' | 'deadLettered' | 'lost'

/** The operations of a consumption that a held entry uses. */
export interface EntryOwner {
  /** How long a lease lasts, in milliseconds. */
  readonly leaseMs: number
  /** False if other members of the group may have found this consumer dead. */
  readonly isCurrent: boolean
  ack(entry: HeldEntry): void
  /** True, once, for an entry that this consumer finished under an earlier lease and could not acknowledge. */
  takeFinished(entry: HeldEntry): boolean
  /** @returns false if the entry belongs to another consumer by now. */
  deadLetter(entry: HeldEntry, reason: DeadLetterReason): Promise<boolean>
  /** @returns false if the entry belongs to another consumer by now. */
  postpone(entry: HeldEntry, wait: Wait): Promise<boolean>
  /** @returns the number of entries before this one; undefined if it belongs to another consumer by now. */
  waitBehind(entry: HeldEntry, handlerName: string, limit: number): Promise<number | undefined>
  /**
   * Lets the entries behind this one follow, but not for the handlers `except`.
   * @returns false if the entry belongs to another consumer by now.
   */
  passOn(entry: HeldEntry, except: readonly string[]): Promise<boolean>
  /**
   * Stores the number of the attempt and the handlers that have succeeded.
   * @returns false if the entry belongs to another consumer by now.
   */
  recordAttempt(entry: HeldEntry, attempt: number, settledHandlers: readonly string[]): Promise<boolean>
  /** True while an earlier entry of the same aggregate must not start either. */
  isBlocked(entry: HeldEntry): boolean
  /** Called if an attempt was not started because the lease had expired or the entry was blocked. */
  onRefused(entry: HeldEntry): void
}

export interface HeldEntryFields {
  /** Id of the entry in its stream. */
  readonly entryId: string
  readonly message: IncomingMessage
  readonly stream: ConsumedStream
  readonly lease: StreamLease | undefined
  /** Attempts that started, or may have started. */
  readonly attemptsStarted: number
  /** Handlers that had succeeded before this delivery. */
  readonly settledHandlers: readonly string[]
  /** When the lease started or was last renewed, by `performance.now()`. */
  readonly leasedAt: number
}

/** Groups entries that one command can change: those of one stream, owned under the same lease. */
export function groupByOwnership(entries: readonly HeldEntry[]): readonly (readonly HeldEntry[])[] {
  const [first] = entries
  if (first !== undefined && entries.every((entry) => isOwnedAlike(entry, first))) return [entries]
  // A stream has one lease at a time, so this finds few groups for each entry.
  const groups: HeldEntry[][] = []
  for (const entry of entries) {
    const group = groups.find(([other]) => other !== undefined && isOwnedAlike(entry, other))
    if (group === undefined) groups.push([entry])
    else group.push(entry)
  }
  return groups
}

function isOwnedAlike({ stream, lease }: HeldEntry, other: HeldEntry): boolean {
  return stream === other.stream && lease === other.lease
}

/** True if the server has refused a request for the entry, because its partition has another owner. */
export function isFencedOff({ lease, isLost }: HeldEntry): boolean {
  return lease !== undefined && isLost
}

/** An entry of a stream that this consumer owns. */
export class HeldEntry implements Delivery {
  /** Does not change once the entry is delivered. */
  message: IncomingMessage
  /** Id of the entry in its stream. */
  readonly entryId: string
  /** The lease of the partition, if the group has leases, under which this consumer owns the entry. */
  readonly lease: StreamLease | undefined
  readonly deliveryCount: number
  readonly settledHandlers: readonly string[]
  readonly replayTarget: ReplayTarget | undefined
  readonly stream: ConsumedStream
  readonly #owner: EntryOwner
  leasedAt: number
  attemptsStarted: number
  /** True while an attempt runs. A stop that interrupts it does not count it. */
  isAttempting = false
  /** True while the end of an attempt, or the dead letter, is being stored. */
  isBusy = false
  /** True if the server keeps a retry state for this entry. */
  hasRetryState: boolean
  /** True once the lease has expired or another consumer has the entry. */
  isLost = false
  isSettled = false
  /** Handlers that have succeeded, as last stored on the server. */
  settledSoFar: readonly string[]
  /** Called when the entry is settled or given up. */
  onEnd: ((end: EntryEnd) => void) | undefined

  constructor(owner: EntryOwner, fields: HeldEntryFields) {
    this.#owner = owner
    this.message = fields.message
    this.entryId = fields.entryId
    this.stream = fields.stream
    this.lease = fields.lease
    // The field is read only from the replay stream. In the other stream, any producer can write the same field.
    this.replayTarget = fields.stream.deletesSettled ? replayTarget(fields.message.headers) : undefined
    this.attemptsStarted = fields.attemptsStarted
    this.deliveryCount = fields.attemptsStarted + 1
    this.settledHandlers = fields.settledHandlers
    this.settledSoFar = fields.settledHandlers
    this.leasedAt = fields.leasedAt
    this.hasRetryState = fields.attemptsStarted > 0
  }

  describe(): Readonly<Record<string, string>> {
    const { isOnly, partition } = this.stream
    return isOnly ? {} : { 'messaging.destination.partition.id': String(partition) }
  }

  begin(): boolean {
    if (!this.#isHeld() || this.#owner.isBlocked(this)) {
      this.#owner.onRefused(this)
      return false
    }
    if (this.lease !== undefined && this.#owner.takeFinished(this)) {
      this.ack()
      return false
    }
    // Later attempts start when they are recorded.
    if (this.attemptsStarted > 0) return true
    this.attemptsStarted = 1
    this.isAttempting = true
    return true
  }

  async beginAttempt(attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    if (!this.#isLeased()) return this.#refuse()
    if (!(await this.#record(attempt, settledHandlers))) return false
    // The partition may be given up, or lost, since the server recorded the attempt, which then does not count.
    if (this.lease !== undefined && !this.#isLeased()) {
      this.attemptsStarted = attempt - 1
      this.isLost = true
      return false
    }
    this.isAttempting = true
    return true
  }

  async attemptFailed(attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    this.isAttempting = false
    if (isRecorded(settledHandlers, this.settledSoFar)) return true
    // What has ended counts, even if the partition is being given up.
    if (!this.#isLeased() && this.lease?.state !== 'ending') return this.#refuse()
    return this.#record(attempt, settledHandlers)
  }

  ack(): void {
    if (this.isSettled) return
    this.isSettled = true
    this.#owner.ack(this)
  }

  async deadLetter(reason: DeadLetterReason): Promise<boolean> {
    this.isAttempting = false
    if (!(await this.#whileBusy(() => this.#owner.deadLetter(this, reason)))) {
      this.isLost = true
      return false
    }
    this.isSettled = true
    return true
  }

  async postpone(wait: Wait): Promise<boolean> {
    this.isAttempting = false
    if (!this.#isLeased() && this.lease?.state !== 'ending') return this.#refuse()
    return this.#whileBusy(() => this.#owner.postpone(this, wait))
  }

  async waitBehind(handlerName: string, limit: number): Promise<number | undefined> {
    if (this.#isHeld()) return this.#owner.waitBehind(this, handlerName, limit)
    // Otherwise, a partition that is given up would wait for this attempt, which does not run.
    if (this.isAttempting) this.attemptsStarted -= 1
    this.isAttempting = false
    this.#owner.onRefused(this)
    return undefined
  }

  async passOn(except: readonly string[] = []): Promise<boolean> {
    if (!this.#isHeld()) {
      this.#owner.onRefused(this)
      return false
    }
    return this.#owner.passOn(this, except)
  }

  async #record(attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    this.hasRetryState = true
    const record = () => this.#owner.recordAttempt(this, attempt, settledHandlers)
    if (!(await this.#whileBusy(record))) return false
    this.settledSoFar = settledHandlers
    return true
  }

  #refuse(): false {
    this.isLost = true
    this.#owner.onRefused(this)
    return false
  }

  async #whileBusy(request: () => Promise<boolean>): Promise<boolean> {
    this.isBusy = true
    try {
      return await request()
    } finally {
      this.isBusy = false
    }
  }

  /** False if this consumer was suspended or disconnected long enough for another one to own the entry by now. */
  #isHeld(): boolean {
    if (!this.#owner.isCurrent || !this.#isLeased()) this.isLost = true
    return !this.isLost
  }

  /** False if this consumer may not start an attempt: its lease has expired, or its partition is being given up. */
  #isLeased(): boolean {
    if (this.lease === undefined) return performance.now() - this.leasedAt < this.#owner.leaseMs
    return this.lease.state === 'held' || this.lease.state === 'taking'
  }
}
