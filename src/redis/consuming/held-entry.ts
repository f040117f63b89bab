import type { DeadLetterReason, Delivery, IncomingMessage } from '../../transport/transport.ts'
import type { StreamRole } from '../client/stream-role.ts'

/** What an entry asks of its consumption. */
export interface EntryOwner {
  ack(entry: HeldEntry): void
  deadLetter(entry: HeldEntry, reason: DeadLetterReason): Promise<void>
  /** Notes which attempt it is, and who has succeeded. @returns false when it is somebody else's by now. */
  note(entry: HeldEntry, attempt: number, settledHandlers: readonly string[]): Promise<boolean>
  /** True while an earlier one of the same aggregate may not be begun either. */
  isBlocked(entry: HeldEntry): boolean
  /** It was not begun, as its lease has run out or as it is blocked. */
  refused(entry: HeldEntry): void
  /** How long a lease lasts, in milliseconds. */
  readonly leaseMs: number
}

/** An entry of a stream that this consumer owns. */
export class HeldEntry implements Delivery {
  readonly message: IncomingMessage
  readonly deliveryCount: number
  readonly settledHandlers: readonly string[]
  readonly role: StreamRole
  readonly #owner: EntryOwner
  /** When the lease was last renewed. */
  leasedAt: number
  attemptsBegun: number
  /** True while an attempt is being made, which does not count if a stop interrupts it. */
  isAttempting = false
  hasRetryState: boolean
  isLost = false
  isSettled = false
  /** Those that have succeeded by now. */
  settledSoFar: readonly string[]
  /** Told when the entry is settled or given back. */
  onEnd: ((outcome: 'acknowledged' | 'deadLettered' | 'lost') => void) | undefined

  constructor(
    owner: EntryOwner,
    fields: {
      readonly message: IncomingMessage
      readonly role: StreamRole
      readonly attemptsBegun: number
      readonly settledHandlers: readonly string[]
      readonly leasedAt: number
    },
  ) {
    this.#owner = owner
    this.message = fields.message
    this.role = fields.role
    this.attemptsBegun = fields.attemptsBegun
    this.deliveryCount = fields.attemptsBegun + 1
    this.settledHandlers = fields.settledHandlers
    this.settledSoFar = fields.settledHandlers
    this.leasedAt = fields.leasedAt
    this.hasRetryState = fields.attemptsBegun > 0
  }

  begin(): boolean {
    if (!this.#isHeld() || this.#owner.isBlocked(this)) {
      this.#owner.refused(this)
      return false
    }
    // Further ones begin when they are noted.
    if (this.attemptsBegun > 0) return true
    this.attemptsBegun = 1
    this.isAttempting = true
    return true
  }

  async beginAttempt(attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    if (!(await this.#note(attempt, settledHandlers))) return false
    this.isAttempting = true
    return true
  }

  async attemptFailed(attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    this.isAttempting = false
    return settledHandlers.length === this.settledSoFar.length || this.#note(attempt, settledHandlers)
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

  async #note(attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    if (!this.#isHeld()) {
      this.#owner.refused(this)
      return false
    }
    this.hasRetryState = true
    if (!(await this.#owner.note(this, attempt, settledHandlers))) return false
    this.settledSoFar = settledHandlers
    return true
  }

  /** A process that was stopped for longer than a lease must not begin what may be somebody else's by now. */
  #isHeld(): boolean {
    if (performance.now() - this.leasedAt >= this.#owner.leaseMs) this.isLost = true
    return !this.isLost
  }
}
