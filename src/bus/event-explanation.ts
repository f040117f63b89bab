import type { BrowsedEvent, BrowseProgress } from '../browsing/index.ts'
import type { GroupProgress } from '../transport/group-progress.ts'
import type { DeadLetter } from './dead-letters/dead-letter.ts'
import type { DeadLetterQueue } from './dead-letters/dead-letter-queue.ts'

/** Where `explain` searches, and how far. */
export interface ExplainOptions {
  /** The aggregate of the event, if it is known. On Redis and Kafka with partitions, only one of them is read then. */
  readonly aggregateId?: string
  /** Where the search for the event starts, newest first. Default: the last event. */
  readonly from?: Date | string
  /**
   * Maximum number of events to read: once for the event, and once for those that it caused. Also the maximum number of dead
   * letters, the newest first. Default 100,000.
   */
  readonly maxScanned?: number
  /** Ends the searches. */
  readonly signal?: AbortSignal
}

/** How far a search went. */
export interface SearchReport {
  /** Number of events that were read. */
  readonly scanned: number
  /** Events in the range at the start; undefined if unknown. */
  readonly total: number | undefined
  /** Why it ended; `limit` if everything was found. `unavailable`: nothing keeps past events, see `remark`. */
  readonly ended: NonNullable<BrowseProgress['ended']> | 'unavailable'
  readonly remark: string | undefined
}

/** What a consumer group has done with an event. */
export interface ExplainedGroup extends Omit<GroupProgress, 'state'> {
  /** The state that the broker knows; `deadLetter` if the event is a dead letter of the group, and nothing else. */
  readonly state: GroupProgress['state'] | 'deadLetter'
  /** With error, handlers, times and number of replays. */
  readonly deadLetters: readonly DeadLetter[]
}

/** Where an event is, and what has become of it. */
export interface EventExplanation {
  readonly eventId: string
  /** The event as it was published: its position, partition, time and headers. Undefined if it was not found. */
  readonly published: BrowsedEvent | undefined
  readonly search: SearchReport
  /** Sorted by name. */
  readonly groups: readonly ExplainedGroup[]
  /** The dead letters of the event, also those that name no group. At most 100. */
  readonly deadLetters: readonly DeadLetter[]
  /** The events that it caused, directly or through others, oldest first. At most 1,000. */
  readonly caused: readonly BrowsedEvent[]
  /** The search for them; undefined if the event was not found. */
  readonly causedSearch: SearchReport | undefined
}

/** Lists dead letters; undefined on a bus without any. */
export type LetterSource = Pick<DeadLetterQueue, 'list'> | undefined
