import type { GroupPause } from './control.ts'
import type { GroupProgress } from './group-progress.ts'
import type { IncomingMessage } from './incoming-message.ts'

/**
 * A part of a consumer group: the whole group, or one of its partitions. A number that the broker does not report is
 * undefined.
 */
export interface GroupLoad {
  /**
   * Events that wait for a consumer of the group, replayed ones included. Events that the broker no longer has do not
   * count. On Kafka, the events in flight count too.
   */
  readonly lag: number | undefined
  /** Events that a consumer holds; undefined on RabbitMQ and Kafka, whose protocols do not report it. */
  readonly inFlight: number | undefined
  /** When the oldest event that is not settled was published; undefined if there is none, and on RabbitMQ. */
  readonly oldestUnsettledAt: Date | undefined
}

/** One partition of a consumer group. */
export interface GroupPartition extends GroupLoad {
  readonly partition: number
  /** Name of the consumer that owns the partition, if the broker reports it. */
  readonly consumer: string | undefined
}

/** A consumer group of the stream, exchange or topic, as the broker reports it. */
export interface GroupInfo extends GroupLoad {
  readonly name: string
  /** Living consumers of the group, in all processes. */
  readonly members: number
  /** Events that the broker keeps during a long wait for their next attempt (`longWaits`). */
  readonly retriesWaiting: number
  /** Dead letters of the group, and those that name no group. */
  readonly deadLetters: number
  /** Set by the bus, if the group is paused. */
  readonly paused?: GroupPause | undefined
  /** Ascending; empty if the group has no partitions. */
  readonly partitions: readonly GroupPartition[]
}

/** The result of a seek. */
export interface SeekOutcome {
  /** Number of events behind the new position. */
  readonly events: number
  /** False, with nothing changed, for a dry run, or if a member of the group lives. */
  readonly isMoved: boolean
}

/** A range of the log to read. */
export interface ScanRequest {
  /** `'first'`, `'last'`, a time, or the position of a message, which is left out. */
  readonly from: Date | string
  readonly direction: 'forward' | 'backward'
  /** Only messages of this aggregate are needed. Others may be returned, too. */
  readonly aggregateId: string | undefined
}

/** A message of the log. */
export interface ScannedMessage {
  readonly message: IncomingMessage
  /** Continues a scan after this message, in the same direction. */
  readonly position: string
  /** Undefined if there is only one. */
  readonly partition: number | undefined
  /** When the broker stored it; undefined if it does not report that. */
  readonly storedAt: Date | undefined
}

/** A range of the log that is open for reading. */
export interface MessageScan {
  /** Messages in the range; undefined if unknown. */
  readonly total: number | undefined
  /** Pages that are not empty, in the order of the direction. The next one is read when it is asked for. */
  readonly pages: AsyncIterable<readonly ScannedMessage[]>
}

/** The event that an operator asks about. */
export interface EventPlace {
  readonly eventId: string
  /** Where a scan has found it; undefined if none has. */
  readonly scanned: ScannedMessage | undefined
}

/** What an operator can ask a broker. A transport loads it at the first use. */
export interface TransportAdmin {
  /** All groups of the stream, exchange or topic, sorted by name, also those without a consumer. @throws ConnectionError */
  groups(): Promise<readonly GroupInfo[]>
  /**
   * Deletes a group with its unhandled events and waiting retries. Its dead letters stay.
   * @returns false, with nothing deleted, if the group has a living member.
   * @throws ConnectionError
   */
  deleteGroup(name: string): Promise<boolean>
  /**
   * Moves a group to a place in the log: it gets the events behind it, and no others. Events that its consumers have taken and
   * not settled are forgotten. Replays, waiting retries and dead letters stay.
   * @param to - `'first'`, `'last'`, a time, or the position of an event, behind which the group continues.
   * @param isDryRun - true to move nothing.
   * @throws ConfigError for a text that is no position.
   * @throws HistoryUnavailableError if the broker cannot move a group. @throws ConnectionError
   */
  seek(group: string, to: Date | string, isDryRun: boolean): Promise<SeekOutcome>
  /**
   * Opens a range of the log, which ends at the present end. Reading it changes nothing on the broker.
   * @throws ConfigError for a text that is no position.
   * @throws HistoryUnavailableError if the broker does not keep what was consumed. @throws ConnectionError
   */
  scan(request: ScanRequest): Promise<MessageScan>
  /**
   * Opens the part of the log that is written from now on. It ends when the signal aborts.
   * @throws ConnectionError
   */
  follow(aggregateId: string | undefined, signal: AbortSignal): Promise<MessageScan>
  /**
   * How far each group is with an event, sorted by name. It changes nothing on the broker. What the broker does not know is
   * `unknown`, with a remark that says why.
   * @throws ConnectionError
   */
  progress(place: EventPlace): Promise<readonly GroupProgress[]>
}

/** The sum, or undefined if one of the numbers is unknown. */
export function sumIfKnown(numbers: readonly (number | null | undefined)[]): number | undefined {
  return numbers.reduce<number | undefined>(
    (sum, one) => (sum === undefined || one === undefined || one === null ? undefined : sum + one),
    0,
  )
}

/** The load of a group, from that of its parts. */
export function totalLoad(parts: readonly GroupLoad[]): GroupLoad {
  const times = parts.flatMap(({ oldestUnsettledAt }) => oldestUnsettledAt?.getTime() ?? [])
  return {
    lag: sumIfKnown(parts.map(({ lag }) => lag)),
    inFlight: sumIfKnown(parts.map(({ inFlight }) => inFlight)),
    oldestUnsettledAt: times.length === 0 ? undefined : new Date(Math.min(...times)),
  }
}
