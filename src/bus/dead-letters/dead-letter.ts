import type { DomainEvent } from '../../events/index.ts'
import type { DeadLetterReason } from '../../transport/transport.ts'

/**
 * A message that was dead-lettered, with the reason. Fields that eventsource-py does not write are undefined in its
 * dead letters.
 */
export interface DeadLetter {
  /** Identifies the dead letter in `get`, `replay` and `purge`. */
  readonly id: string
  readonly eventId: string | undefined
  readonly eventType: string | undefined
  readonly aggregateId: string | undefined
  readonly headers: Readonly<Record<string, string>>
  /** The unchanged original body. */
  readonly body: Uint8Array
  /** The decoded event; a `GenericEvent` if its type is unknown here, undefined if the body cannot be decoded. */
  readonly event: DomainEvent | undefined
  readonly reason: DeadLetterReason['kind'] | undefined
  readonly errorName: string | undefined
  readonly errorMessage: string | undefined
  /** The stack of the error, if the bus that stored the dead letter had `deadLetterStacks`. */
  readonly errorStack: string | undefined
  /**
   * The same for all dead letters of one error: its name, its text with placeholders for numbers, ids, quoted texts and
   * addresses, and, if the stack is stored, the first of the program's own functions in it.
   */
  readonly errorSignature: string | undefined
  /** Names of the handlers that had not succeeded. */
  readonly handlerNames: readonly string[] | undefined
  /** The handlers for which later events of the aggregate wait until the dead letter is replayed or purged. */
  readonly parkedFor: readonly string[] | undefined
  /** The handlers that had succeeded. */
  readonly settledHandlers: readonly string[] | undefined
  readonly consumerGroup: string | undefined
  readonly attempts: number | undefined
  readonly firstFailedAt: Date | undefined
  readonly lastFailedAt: Date | undefined
  /** How often the message was replayed, and became a dead letter again. */
  readonly replayCount: number
  readonly lastReplayedAt: Date | undefined
  /** Origin of the message in the terms of the broker, for example a queue, or a topic with partition and offset. */
  readonly source: string | undefined
}
