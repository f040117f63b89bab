import type { DeadLetterReason, Delivery, IncomingMessage } from '../bus/transport.ts'

/** One of the streams a group reads. */
export interface StreamRole {
  readonly key: string
  /** Entries of the replay stream are deleted once they are settled: nobody else reads them. */
  readonly deletesSettled: boolean
}

/** What an entry asks of its consumption. */
export interface EntryOwner {
  ack(entry: HeldEntry): void
  deadLetter(entry: HeldEntry, reason: DeadLetterReason): Promise<void>
  beginAttempt(entry: HeldEntry, attempt: number, settledHandlers: readonly string[]): Promise<boolean>
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
  hasRetryState: boolean
  isLost = false
  isSettled = false
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
    this.leasedAt = fields.leasedAt
    this.hasRetryState = fields.attemptsBegun > 0
  }

  begin(): boolean {
    if (!this.#isHeld()) return false
    if (this.attemptsBegun === 0) this.attemptsBegun = 1
    return true
  }

  async beginAttempt(attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    if (!this.#isHeld()) return false
    this.hasRetryState = true
    return this.#owner.beginAttempt(this, attempt, settledHandlers)
  }

  ack(): void {
    if (this.isSettled) return
    this.isSettled = true
    this.#owner.ack(this)
  }

  async deadLetter(reason: DeadLetterReason): Promise<void> {
    await this.#owner.deadLetter(this, reason)
    this.isSettled = true
  }

  /** A process that was stopped for longer than a lease must not begin what may be somebody else's by now. */
  #isHeld(): boolean {
    if (performance.now() - this.leasedAt >= this.#owner.leaseMs) this.isLost = true
    return !this.isLost
  }
}
