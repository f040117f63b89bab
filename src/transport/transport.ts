import type { EncodedEvent } from '../codec/index.ts'
import type { TransportAdmin } from './admin.ts'
import type { TransportCheckup } from './checkup.ts'
import type { GroupControlStore } from './control.ts'
import type { DeadLetterReason, DeadLetterStore } from './dead-letter-store.ts'
import type { IncomingMessage } from './incoming-message.ts'
import type { BusNotice } from './notices.ts'
import type { PresenceStore } from './presence.ts'
import type { RateStore } from './rates.ts'
import type { ReplayTarget } from './replay-headers.ts'
import type { Wait, WaitingStore } from './waiting.ts'

export type {
  DeadLetterListing,
  DeadLetterPage,
  DeadLetterReason,
  DeadLetterStore,
  ReplayRequest,
  StoredDeadLetter,
} from './dead-letter-store.ts'

/**
 * A message to publish. Its headers have eventsource-py's names; a transport writes those that its wire format
 * includes.
 */
export type OutgoingMessage = EncodedEvent

export type { IncomingMessage } from './incoming-message.ts'

/** Host and port of a broker. */
export interface ServerAddress {
  readonly host: string
  readonly port: number
}

/** Why a message of a publish was not confirmed. */
export interface PublishFailure {
  /** Index of the message in the call. */
  readonly index: number
  /** `'notStored'`: certainly not on the broker. `'unknown'`: it may be stored, because the broker's answer was lost. */
  readonly status: 'notStored' | 'unknown'
  readonly error: Error
}

/** One message that the broker delivered. The bus settles it at most once, by `ack` or by `deadLetter`. */
export interface Delivery {
  readonly message: IncomingMessage
  /**
   * Text that all deliveries of this message to a process have in common, and no other message of the group has. Default:
   * `message.id`, which on some brokers is that of the delivery.
   */
  readonly identity?: string | undefined
  /** Number of this delivery, from 1. Only deliveries whose handling started are counted. */
  readonly deliveryCount: number
  /**
   * Further attributes of the message, by the names of OpenTelemetry's messaging conventions, such as
   * `messaging.destination.partition.id`. Called only if a span records them.
   */
  describe?(): Readonly<Record<string, string | number>>
  /** Names of handlers that succeeded in earlier deliveries, as far as the transport could store them. */
  readonly settledHandlers: readonly string[]
  /**
   * The handlers that a replay is for; undefined if the message was not replayed, or is for all handlers. A transport
   * sets it only for a message that it has written to its replay stream, queue or topic itself, never because of a
   * header of an ordinary message.
   */
  readonly replayTarget?: ReplayTarget | undefined
  /**
   * Called when the handling starts.
   * @returns false if another consumer may have taken over the message. This consumer then neither handles nor settles
   * it.
   */
  begin(): boolean
  /**
   * Records that attempt number `attempt` starts, and which handlers have succeeded so far, so that both survive a
   * crash. Called before each attempt, except the first attempt of a first delivery. A transport that cannot record it
   * resolves at once.
   * @returns false as `begin` does.
   */
  beginAttempt(attempt: number, settledHandlers: readonly string[]): Promise<boolean>
  /**
   * Called when attempt number `attempt` has failed and another one will follow. The failed attempt counts from this
   * call on, even if the consumer stops before the next attempt. No handler runs until `beginAttempt`. Resolves when
   * `settledHandlers` is stored, so that the next consumer of the message does not call those handlers again; resolves
   * at once if it is what is stored already.
   * @returns false as `begin` does.
   */
  attemptFailed(attempt: number, settledHandlers: readonly string[]): Promise<boolean>
  /** Acknowledges the message. Acknowledgments may be sent in batches; a lost one leads to redelivery. */
  ack(): void
  /**
   * Moves the message to the dead letter queue. The attempt before this call has failed and counts.
   * @returns true when the dead letter is stored and the message is settled; false, with nothing stored, if another
   * consumer has taken over the message.
   */
  deadLetter(reason: DeadLetterReason): Promise<boolean>
  /**
   * Stores a copy of the message in the `waiting` store of the transport, which delivers it to one handler when the wait is
   * over. The delivery itself stays unsettled. A further call for the same handler replaces the copy, as far as the broker
   * can do that. Only a transport with a `waiting` store has this method.
   * @returns true when the copy is stored; false, with nothing stored, if another consumer has taken over the message.
   */
  postpone?(wait: Wait): Promise<boolean>
  /**
   * Stores a copy of the message for the handler behind the messages of its key that keep their order while they wait for
   * that handler, if there are any. A message with a place in that order waits at its place. Only a transport whose store
   * keeps the order has this method.
   * @param limit - maximum number of messages in the order. It does not hold for a message that has a place already.
   * @returns how many messages are before this one: 0, with nothing stored, if none; `limit` or more, with nothing stored,
   * if so many are in the order; undefined, with nothing stored, if another consumer has taken over the message.
   */
  waitBehind?(handlerName: string, limit: number): Promise<number | undefined>
  /**
   * Gives up the places of this message in the orders of its key (`placesOf(replayTarget)`). Where it was the first, the next
   * one follows; if that is a dead letter, it stays one. Called before the message is settled.
   * @param except - names of the handlers for which the message keeps its place: it waits again, or stays the first as a
   * dead letter.
   * @returns false as `begin` does.
   */
  passOn?(except?: readonly string[]): Promise<boolean>
}

/** Receives the messages that a transport fetched. */
export interface Intake {
  /**
   * Number of further deliveries that fit; 0 if the held deliveries have reached the limit in bytes. Fetch at most this
   * many.
   */
  readonly room: number
  /**
   * Number of further bytes of headers and bodies that fit. Fetch about as many bytes at most: the last delivery may
   * exceed the limit, so a message that is larger than the limit is delivered alone.
   */
  readonly roomBytes: number
  /** Resolves when there is room, or when the consumption is about to be stopped. */
  whenRoom(): Promise<void>
  deliver(delivery: Delivery): void
}

/** A running consumption. */
export interface Consumption {
  /**
   * True while deliveries can arrive: the consumption is connected and a member of its group, and its stream, queue or
   * topic exists.
   */
  readonly isFlowing: boolean
  /** Why no deliveries arrive although `isFlowing` is true, such as a group member without partitions. */
  readonly idleReason?: string | undefined
  /** Resolves when no further delivery will follow. The consumption keeps the deliveries that are not settled. */
  stopFetching(): Promise<void>
  /**
   * Sends the acknowledgments made so far, then returns unsettled messages to the broker for redelivery. An interrupted
   * attempt does not count in `deliveryCount`, and neither does a delivery whose handling has not started, as far as
   * the broker can distinguish them. Ends soon after the signal aborts; later acknowledgments are dropped.
   */
  release(signal: AbortSignal): Promise<void>
}

/**
 * Where the members of a consumer group announce the event types that they handle, and the versions that they can read.
 * Each is a name, whose form is of no concern to the transport. An announcement of a member is valid for about ten
 * minutes after its last one, so that a restart does not end it.
 */
export interface GroupTypeStore {
  /** For how long an answer of `handled` may be used, in milliseconds; 0 if each question needs an answer of its own. */
  readonly freshMs: number
  /**
   * Announces the names of this member. Called before `consume`, when the names change, and every minute.
   * @returns true if answers to other members of before this call may still be in use and lack one of the names.
   * @throws ConnectionError
   */
  announce(names: readonly string[]): Promise<boolean>
  /** @returns those of the names that a member of the group has announced. @throws ConnectionError */
  handled(names: readonly string[]): Promise<ReadonlySet<string>>
  /** The same without a request; undefined if that is not possible now. */
  handledNow?(names: readonly string[]): ReadonlySet<string> | undefined
}

/** The bus, as its transport sees it. */
export interface TransportHost {
  notify(notice: BusNotice): void
}

/**
 * Moves bytes to and from one broker. It knows no event class, handler, retry, span or statistic.
 * `docs/writing-a-transport.md` explains how to write one; the conformance suite tests it.
 */
export interface Transport {
  /** Name of the broker's system in spans, logs and errors, such as `'redis'`. */
  readonly system: string
  /** The stream, exchange or topic that events are published to. */
  readonly destination: string
  /** Name of the consumer of this bus, as the broker shows it. Default: the host name and the process id. */
  readonly consumerName?: string | undefined
  /** Address for spans and metrics; undefined if there are several. */
  readonly server?: ServerAddress | undefined
  readonly deadLetters: DeadLetterStore
  /**
   * What the consumer group handles. Without it, a consumer acknowledges events of types that only other members of its
   * group handle.
   */
  readonly groupTypes?: GroupTypeStore | undefined
  /** Maximum number of messages that the transport delivers before some are settled, if it is less than the bus holds. */
  readonly maxHeld?: number | undefined
  /** Keeps messages during long waits. Without it, `subscribe` refuses the option `longWaits`. */
  readonly waiting?: WaitingStore | undefined
  /** Limits rates for the whole group. Without it, `subscribe` refuses the option `groupRatePerSecond`. */
  readonly rates?: RateStore | undefined

  /**
   * Resolves when the broker is usable. Once connected, the transport reconnects on its own until `close`.
   * @throws ConnectionError if the broker cannot be reached in time. Its `retryable` is false if waiting does not help,
   * for example with a wrong password.
   */
  connect(): Promise<void>

  /**
   * Publishes the messages, and waits while the broker cannot be reached. Resolves when each message is confirmed or has
   * failed, at the latest soon after the signal aborts. Never rejects.
   * @returns the failures; an empty array means that all messages are stored.
   */
  publish(messages: readonly OutgoingMessage[], signal: AbortSignal): Promise<readonly PublishFailure[]>

  /**
   * Creates the topology that consuming needs, and resolves when deliveries can arrive.
   *
   * @param stopped - aborts if the consumption is stopped before it has started. If the start waits, for example for
   * other members of the group, it then resolves soon, and the bus calls `stopFetching` and `release`.
   */
  consume(intake: Intake, stopped?: AbortSignal): Promise<Consumption>

  /**
   * Number of messages at the broker that wait for any consumer of this bus's group; undefined if the broker does not
   * report it.
   * @throws ConnectionError
   */
  lag(): Promise<number | undefined>

  /**
   * Loads what `bus.admin` needs of the broker. Called once, after `connect`, when an operator first asks. Without it,
   * `bus.admin` refuses.
   */
  loadAdmin?(): Promise<TransportAdmin>

  /**
   * Loads what keeps the pauses of consumer groups. Called after `connect`. Without it, groups cannot be paused.
   */
  loadControl?(): Promise<GroupControlStore>

  /**
   * Loads what keeps the reports of processes for `bus.admin.consumers`. Called after `connect`. Without it, processes report
   * nothing.
   */
  loadPresence?(): Promise<PresenceStore>

  /** Loads the checks of `bus.admin.diagnose`, without connecting this transport. Without it, `diagnose` refuses. */
  loadCheckup?(): Promise<TransportCheckup>

  /** Closes all connections; ends soon after the signal aborts. */
  close(signal: AbortSignal): Promise<void>
}
