import type { EncodedEvent, EncodedMessage, MessageHeaders } from '../codec/index.ts'
import type { BusNotice } from './notices.ts'

/** A message on its way to the broker: headers by their eventsource-py names, of which a transport writes its share. */
export type OutgoingMessage = EncodedEvent

/** A message as the broker delivered it. */
export interface IncomingMessage extends EncodedMessage {
  /** The broker's name for it, unique per group: an entry id, a delivery tag, partition and offset. */
  readonly id: string
  /** What order is kept by; undefined when the message has none, which puts it in no order. */
  readonly key: string | undefined
  /** Only headers that are text. What is malformed is left out: it is data, never a reason to fail. */
  readonly headers: MessageHeaders
}

/** Host and port of a broker. */
export interface ServerAddress {
  readonly host: string
  readonly port: number
}

/** Why a message of a publish was not confirmed. */
export interface PublishFailure {
  /** Index of the message in the call. */
  readonly index: number
  /** `'notStored'`: certainly not on the broker. `'unknown'`: it may be, the answer was lost. */
  readonly status: 'notStored' | 'unknown'
  readonly error: Error
}

/** One message on loan from the broker. It is settled once, by `ack` or `deadLetter`, or not at all. */
export interface Delivery {
  readonly message: IncomingMessage
  /** Which delivery this is, counting those whose handling had begun, from 1. */
  readonly deliveryCount: number
  /**
   * What else the broker knows of it, by the names of OpenTelemetry's messaging conventions, such as
   * `messaging.destination.partition.id`. Asked only where somebody records it.
   */
  describe?(): Readonly<Record<string, string | number>>
  /** Handlers that had succeeded before this delivery, as far as the transport could keep it. */
  readonly settledHandlers: readonly string[]
  /**
   * Called when its handling begins. False once somebody else may have the message: then it must not be handled,
   * and settling it is pointless.
   */
  begin(): boolean
  /**
   * Notes, before attempt number `attempt` (2 or more) begins, that it does, and who has succeeded so far. It makes
   * attempts survive a crash; a transport that cannot note it resolves at once. False as with `begin`.
   */
  beginAttempt(attempt: number, settledHandlers: readonly string[]): Promise<boolean>
  /**
   * Called when attempt number `attempt` has failed and the next is waited for. From this call on it counts, also if the
   * consumer stops meanwhile, and nobody works on the message until `beginAttempt`. Resolves when handlers that have
   * succeeded since the last note are noted, so that whoever gets the message next does not call them again; at once
   * where there are none. False as with `begin`.
   */
  attemptFailed(attempt: number, settledHandlers: readonly string[]): Promise<boolean>
  /** Noted at once, sent in batches; a lost one means redelivery, never loss. */
  ack(): void
  /**
   * Resolves to true when the dead letter is safe and the message is settled; to false, with nothing stored, where the
   * message is somebody else's by now. The attempt before it has failed, and counts.
   */
  deadLetter(reason: DeadLetterReason): Promise<boolean>
}

/** Why, where and after what a message was given up. */
export interface DeadLetterReason {
  /** eventsource-py's words where it has one. */
  readonly kind:
    | 'max_retries_exceeded'
    | 'deserialization_error'
    | 'delivery_limit_exceeded'
    | 'handler_not_found'
  readonly errorName: string
  readonly errorMessage: string
  /** Names of the handlers that have not succeeded, `(unnamed)` for one without a name; empty if no handler was reached. */
  readonly handlerNames: readonly string[]
  /** Names of the handlers that have succeeded. */
  readonly settledHandlers: readonly string[]
  readonly consumerGroup: string
  /** Attempts made, from 0. */
  readonly attempts: number
  readonly firstFailedAt: Date
  readonly failedAt: Date
}

/** Where a transport puts what it fetched. */
export interface Intake {
  /** How many more deliveries fit; fetch no more than that. */
  readonly room: number
  /** Resolves when there is room, or when nothing more is wanted because the consumption is about to be stopped. */
  whenRoom(): Promise<void>
  deliver(delivery: Delivery): void
}

/** A running consumption. */
export interface Consumption {
  /** True while deliveries can come: connected, with all that it reads from, a member of its group. */
  readonly isFlowing: boolean
  /** Resolves when no delivery will follow any more; what is held stays held. */
  stopFetching(): Promise<void>
  /**
   * Sends the acknowledgments noted so far, then gives back to the broker what was not settled, to be redelivered. An
   * attempt that this interrupts has not failed, and what was not begun was not tried: neither counts in
   * `deliveryCount`, where it can be told. Ends within the signal's time; acknowledgments that come later are dropped.
   */
  release(signal: AbortSignal): Promise<void>
}

/** A dead letter as the transport reads it back. */
export interface StoredDeadLetter {
  readonly id: string
  readonly message: EncodedMessage
  readonly reason: Partial<DeadLetterReason>
  /** Where the message came from: a stream and id, a queue, a topic with partition and offset. */
  readonly source: string | undefined
}

export interface DeadLetterPage {
  readonly letters: readonly StoredDeadLetter[]
  /** Pass it on to read the next page; undefined at the end. */
  readonly cursor: string | undefined
}

/** The dead letter queue, without knowledge of events. */
export interface DeadLetterStore {
  /** Oldest first; reading changes nothing. */
  list(limit: number, cursor: string | undefined): Promise<DeadLetterPage>
  get(id: string): Promise<StoredDeadLetter | undefined>
  count(): Promise<number>
  /**
   * Gives the message back to the group that failed (to `fallbackGroup` where the dead letter names none), for the
   * handlers that failed, and removes the dead letter; a crash in between can duplicate it.
   * @returns false when there is no such dead letter.
   */
  replay(id: string, fallbackGroup: string): Promise<boolean>
  /** @returns how many there were to remove. */
  remove(ids: readonly string[]): Promise<number>
}

/** What a transport tells its bus. */
export interface TransportHost {
  notify(notice: BusNotice): void
}

/**
 * Moves bytes to and from one broker. It knows no event class, handler, retry, span or statistic.
 * `docs/writing-a-transport.md` explains how to write one; the conformance suite says whether it is right.
 */
export interface Transport {
  /** Names the broker in spans, logs and errors: `'redis'`. */
  readonly system: string
  /** Stream, exchange or topic that events go to. */
  readonly destination: string
  /** The broker, where it is known by one address; for spans and metrics. */
  readonly server?: ServerAddress | undefined
  readonly deadLetters: DeadLetterStore

  /**
   * Resolves when the broker is usable. Rejects with a `ConnectionError` when it cannot be reached in time, with
   * a `retryable` of false where waiting will not help (wrong password). Once connected, the transport reconnects
   * by itself until `close`.
   */
  connect(): Promise<void>

  /**
   * Resolves when each message is confirmed or has failed, soon after the signal aborts at the latest; an empty
   * array says that all are safe. While the broker is away it waits. It never rejects.
   */
  publish(messages: readonly OutgoingMessage[], signal: AbortSignal): Promise<readonly PublishFailure[]>

  /** Declares what consuming needs, and resolves when deliveries may flow. */
  consume(intake: Intake): Promise<Consumption>

  /**
   * Messages at the broker that wait for this bus's consumer group, whoever of it gets them; undefined where the broker
   * cannot tell. @throws ConnectionError
   */
  lag(): Promise<number | undefined>

  /** Closes all connections, within the signal's time. */
  close(signal: AbortSignal): Promise<void>
}
