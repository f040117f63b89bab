import { type ReplayTarget, replayTarget } from '../../transport/replay-headers.ts'
import { isRecorded } from '../../transport/settled-handlers.ts'
import type { DeadLetterReason, Delivery, IncomingMessage } from '../../transport/transport.ts'
import type { Wait } from '../../transport/waiting.ts'
import type { ConsumedStream } from '../client/consumed-stream.ts'

/** How this consumer's hold on an entry ended. */
export type EntryEnd = 'acknowledged' | 'deadLettered' | 'lost'

/** The operations of a consumption that a held entry uses. */
export interface EntryOwner {
  /** How long a lease lasts, in milliseconds. */
  readonly leaseMs: number
  ack(entry: HeldEntry): void
  deadLetter(entry: HeldEntry, reason: DeadLetterReason): Promise<void>
  /** @returns false if the entry belongs to another consumer by now. */
  postpone(entry: HeldEntry, wait: Wait): Promise<boolean>
  /** @returns false if no entry waits in order; undefined if the entry belongs to another consumer by now. */
  waitBehind(entry: HeldEntry, handlerName: string): Promise<boolean | undefined>
  /** Lets the entry behind this one follow. */
  passOn(entry: HeldEntry): Promise<void>
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
  readonly message: IncomingMessage
  readonly stream: ConsumedStream
  /** Attempts that started, or may have started. */
  readonly attemptsStarted: number
  /** Handlers that had succeeded before this delivery. */
  readonly settledHandlers: readonly string[]
  /** When the lease started or was last renewed, by `performance.now()`. */
  readonly leasedAt: number
}

/** An entry of a stream that this consumer owns. */
export class HeldEntry implements Delivery {
  /** Does not change once the entry is delivered. */
  message: IncomingMessage
  readonly deliveryCount: number
  readonly settledHandlers: readonly string[]
  readonly replayTarget: ReplayTarget | undefined
  readonly stream: ConsumedStream
  readonly #owner: EntryOwner
  leasedAt: number
  attemptsStarted: number
  /** True while an attempt runs. A stop that interrupts it does not count it. */
  isAttempting = false
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
    this.stream = fields.stream
    // The field is read only from the replay stream. In the other stream, any producer can write the same field.
    this.replayTarget = fields.stream.deletesSettled ? replayTarget(fields.message.headers) : undefined
    this.attemptsStarted = fields.attemptsStarted
    this.deliveryCount = fields.attemptsStarted + 1
    this.settledHandlers = fields.settledHandlers
    this.settledSoFar = fields.settledHandlers
    this.leasedAt = fields.leasedAt
    this.hasRetryState = fields.attemptsStarted > 0
  }

  begin(): boolean {
    if (!this.#isHeld() || this.#owner.isBlocked(this)) {
      this.#owner.onRefused(this)
      return false
    }
    // Later attempts start when they are recorded.
    if (this.attemptsStarted > 0) return true
    this.attemptsStarted = 1
    this.isAttempting = true
    return true
  }

  async beginAttempt(attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    if (!(await this.#record(attempt, settledHandlers))) return false
    this.isAttempting = true
    return true
  }

  async attemptFailed(attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    this.isAttempting = false
    return isRecorded(settledHandlers, this.settledSoFar) || this.#record(attempt, settledHandlers)
  }

  ack(): void {
    if (this.isSettled) return
    this.isSettled = true
    this.#owner.ack(this)
  }

  async deadLetter(reason: DeadLetterReason): Promise<boolean> {
    this.isAttempting = false
    await this.#owner.deadLetter(this, reason)
    this.isSettled = true
    return true
  }

  async postpone(wait: Wait): Promise<boolean> {
    this.isAttempting = false
    if (this.#isHeld()) return this.#owner.postpone(this, wait)
    this.#owner.onRefused(this)
    return false
  }

  async waitBehind(handlerName: string): Promise<boolean | undefined> {
    if (this.#isHeld()) return this.#owner.waitBehind(this, handlerName)
    this.#owner.onRefused(this)
    return undefined
  }

  async passOn(): Promise<boolean> {
    if (!this.#isHeld()) {
      this.#owner.onRefused(this)
      return false
    }
    await this.#owner.passOn(this)
    return true
  }

  async #record(attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    if (!this.#isHeld()) {
      this.#owner.onRefused(this)
      return false
    }
    this.hasRetryState = true
    if (!(await this.#owner.recordAttempt(this, attempt, settledHandlers))) return false
    this.settledSoFar = settledHandlers
    return true
  }

  /** False if the process was suspended for longer than a lease: another consumer may own the entry by now. */
  #isHeld(): boolean {
    if (performance.now() - this.leasedAt >= this.#owner.leaseMs) this.isLost = true
    return !this.isLost
  }
}
