import type { EncodedMessage, MessageHeaders } from '../codec/index.ts'
import type { ReplayHistory, ReplayTarget, StoredDeadLetter } from '../transport/index.ts'

/** A message of a `MemoryBroker`'s log. */
export interface StoredMessage {
  readonly id: string
  readonly key: string | undefined
  readonly headers: MessageHeaders
  readonly body: string | Uint8Array
  /** Milliseconds since 1970. */
  readonly storedAt: number
  /** How often the message was replayed, and when the last time. */
  readonly replays?: ReplayHistory
}

/** A message that a group has not settled. */
export interface PendingMessage extends StoredMessage {
  /** Number of attempts that have started, or may have started before a crash. */
  attemptsStarted: number
  settledHandlers: readonly string[]
  /** The handlers that a replay is for; undefined if all are, or the message was not replayed. */
  readonly replayTarget: ReplayTarget | undefined
  /** The consumer that holds the message; undefined while it waits for redelivery. */
  consumer: string | undefined
}

/** A message for `MemoryBroker.publishRaw`, as any other producer might write it. */
export interface RawMessage extends EncodedMessage {
  readonly key?: string
}

/** A dead letter, with its message. */
export interface ParkedDeadLetter extends StoredDeadLetter {
  readonly original: StoredMessage
  /** Its places among the messages that keep their order, by the names of the handlers. */
  readonly places: ReadonlyMap<string, string>
}
