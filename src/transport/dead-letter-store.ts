import type { EncodedEvent, EncodedMessage } from '../codec/index.ts'

/** Why a message was dead-lettered, by which group, and after how many attempts. */
export interface DeadLetterReason {
  /** The cause, in the terms of eventsource-py if it has one. */
  readonly kind:
    | 'max_retries_exceeded'
    | 'rejected'
    | 'deserialization_error'
    | 'delivery_limit_exceeded'
    | 'handler_not_found'
  readonly errorName: string
  readonly errorMessage: string
  /** The stack of the error, if `deadLetterStacks` is set. */
  readonly errorStack?: string | undefined
  /** Names of the handlers that have not succeeded, `(unnamed)` for one without a name; empty if no handler was reached. */
  readonly handlerNames: readonly string[]
  /** Names of the handlers that have succeeded. */
  readonly settledHandlers: readonly string[]
  /**
   * Names of the handlers for which later messages with the same key wait behind this one, until the dead letter is
   * replayed or removed. The store of waiting messages holds a place for each, from the same step on in which the dead
   * letter is stored. Set only if `WaitingStore.parkProblem` is undefined.
   */
  readonly parkedFor?: readonly string[] | undefined
  readonly consumerGroup: string
  /** Number of attempts made; 0 if no handler was called. */
  readonly attempts: number
  readonly firstFailedAt: Date
  readonly failedAt: Date
}

/** A dead letter as the transport has read it. */
export interface StoredDeadLetter {
  readonly id: string
  readonly message: EncodedMessage
  readonly reason: Partial<DeadLetterReason>
  /** Where the message came from: a stream and id, a queue, a topic with partition and offset. */
  readonly source: string | undefined
  /** How often the message was replayed before it became this dead letter. Undefined or 0 if never. */
  readonly replayCount?: number | undefined
  readonly lastReplayedAt?: Date | undefined
}

/** A page of the dead letters of a store, undecoded. */
export interface DeadLetterPage {
  readonly letters: readonly StoredDeadLetter[]
  /** Pass it to read the next page; undefined after the last page. */
  readonly cursor: string | undefined
}

/** Where a dead letter is replayed to. */
export interface ReplayRequest {
  /** The consumer group that gets it, instead of the group that failed. */
  readonly group?: string | undefined
  /** Names of the handlers that get it, instead of those that failed. */
  readonly handlerNames?: readonly string[] | undefined
  /** Counts as the group that failed if the dead letter names none. */
  readonly fallbackGroup: string
  /** The message to store instead of that of the dead letter. */
  readonly message?: EncodedEvent | undefined
}

/** The `matches` of a listing without a filter. */
export const everyLetter = (): boolean => true

/** Which dead letters a list shows, and in which order. */
export interface DeadLetterListing {
  readonly order: 'oldest' | 'newest'
  /** The consumer group that the dead letters are of; the list may contain others. Default: all. */
  readonly group?: string | undefined
  /** True for a dead letter that belongs on the list; {@link everyLetter} if all do. */
  readonly matches: (letter: StoredDeadLetter) => boolean
  /**
   * Maximum number of dead letters that are read for the page, which then ends early, with a cursor. A store that can read
   * from one end only reads to the other end for the order that starts there.
   */
  readonly maxScanned?: number | undefined
  /** Stops the scan; the page then holds what was found. */
  readonly signal?: AbortSignal | undefined
}

/** The dead letter queue of a broker. It knows messages, not events. */
export interface DeadLetterStore {
  /**
   * Lists dead letters, by default all, oldest first. Reading changes nothing.
   * @param listing - with a cursor, the listing of the page before.
   * @throws ConfigError for a cursor that no such list returns.
   */
  list(limit: number, cursor: string | undefined, listing?: DeadLetterListing): Promise<DeadLetterPage>
  get(id: string): Promise<StoredDeadLetter | undefined>
  /**
   * @param group - counts the dead letters of this consumer group, and those that name no group. Default: all.
   */
  count(group?: string): Promise<number>
  /**
   * Gives the message to the group and the handlers of `replayDestination`, then removes the dead letter. A crash in
   * between can duplicate the message. If later messages wait behind it, it keeps its places (`ReplayTarget.places`), unless
   * it goes to another group.
   * @returns false if there is no such dead letter.
   */
  replay(id: string, request: ReplayRequest): Promise<boolean>
  /** Lets the messages that wait behind these dead letters follow. @returns the number of dead letters that existed. */
  remove(ids: readonly string[]): Promise<number>
  /**
   * Visits the dead letters that exist at the start, once each, oldest first within a group, and does what the verdicts say.
   * A replay stores the message before it removes the dead letter: at any moment, each message is in one place at least.
   * Takes time in proportion to the number of dead letters. `SweepRun` does what all stores have in common.
   */
  sweep(visit: (letter: StoredDeadLetter) => SweepVerdict, options: SweepOptions): Promise<SweepReport>
  /**
   * Stores a dead letter that was read elsewhere, with its headers, body and reason.
   * @param group - of the dead letter, if its reason names none.
   */
  append(letter: Omit<StoredDeadLetter, 'id'>, group: string): Promise<void>
}

/** What a sweep does with a dead letter: keep it, remove it, replay it, or keep it and visit no further one (`'end'`). */
export type SweepVerdict = 'keep' | 'remove' | 'end' | ReplayRequest

/** Options of `sweep`, which visits the dead letters of a store once. */
export interface SweepOptions {
  /** Visits the dead letters of this consumer group, and possibly others. Default: all. */
  readonly group?: string | undefined
  /**
   * Maximum number of dead letters that are replayed or removed at once. A crash can duplicate as many replays.
   */
  readonly batchSize: number
  /** Called before each batch, which waits for it. It controls the rate. */
  readonly beforeBatch: (size: number) => Promise<void>
  /** Called after each batch and each page; the sweep waits for it. */
  readonly onProgress: (report: SweepReport) => void | Promise<void>
  /** If it aborts, the sweep ends after the batch in progress, and keeps the other dead letters. */
  readonly signal: AbortSignal | undefined
}

/** The result of `sweep`. */
export interface SweepReport {
  readonly visited: number
  readonly replayed: number
  readonly removed: number
  /** Dead letters that could not be replayed, and were kept. */
  readonly failures: readonly { readonly id: string; readonly error: Error }[]
}
