import type { PendingMessage, StoredMessage } from './memory-message.ts'
import type { SharingGroup } from './memory-shares.ts'
import { MemoryWaits } from './memory-waits.ts'

/** The state of a message that no consumer has seen. */
export const FRESH = { attemptsStarted: 0, settledHandlers: [], consumer: undefined } as const

/** A consumer group of the in-memory broker: its position in the log, and the messages that it has not settled. */
export class MemoryGroup implements SharingGroup {
  readonly pending = new Map<string, PendingMessage>()
  readonly sharing = new Set<string>()
  /** The event types that its members have announced. */
  readonly types = new Set<string>()
  /** The running consumers. */
  readonly members = new Set<string>()
  readonly waits = new MemoryWaits()
  readonly #log: readonly StoredMessage[]
  #position: number

  constructor(log: readonly StoredMessage[], position: number) {
    this.#log = log
    this.#position = position
  }

  /** The messages of the log after its position. */
  get unread(): readonly StoredMessage[] {
    return this.#log.slice(this.#position)
  }

  /** Number of messages that the group has not settled. */
  get unsettled(): number {
    return this.#log.length - this.#position + this.pending.size
  }

  /** Number of messages that no consumer holds. */
  get lag(): number {
    const givenBack = [...this.pending.values()].filter(({ consumer }) => consumer === undefined)
    return this.#log.length - this.#position + givenBack.length
  }

  /** When the oldest message that the group has not settled was published. */
  oldestUnsettledAt(): Date | undefined {
    const unsettled = [...this.pending.values(), ...this.#log.slice(this.#position, this.#position + 1)]
    return unsettled.length === 0
      ? undefined
      : new Date(Math.min(...unsettled.map(({ storedAt }) => storedAt)))
  }

  /** Continues with another message of the log. Replays stay. */
  moveTo(position: number): void {
    this.#position = position
    for (const [id, { replayTarget }] of this.pending) if (replayTarget === undefined) this.pending.delete(id)
  }

  /** Moves the next message of the log to the pending ones. */
  takeNext(): PendingMessage | undefined {
    const next = this.#log[this.#position]
    if (next === undefined) return undefined
    this.#position += 1
    const message: PendingMessage = { ...next, ...FRESH, replayTarget: undefined }
    this.pending.set(next.id, message)
    return message
  }
}
