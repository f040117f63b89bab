/** What a process reports of itself. */
export interface PresenceReport {
  /** Of the bus in this process, unique among all. */
  readonly id: string
  /** Its form is of no concern to the transport. */
  readonly text: string
  /** Time after which the process counts as gone unless it reports again, in milliseconds. */
  readonly ttlMs: number
  /** False for a bus that only publishes, which must create nothing on the broker that only consumers need. */
  readonly isConsumer: boolean
}

/** The last report of a living process. */
export interface PresenceRecord {
  readonly text: string
  /** When it was stored, by the clock of the broker if that reports it. */
  readonly seenAt: Date
}

/**
 * Keeps the reports of all processes of a stream, exchange or topic. Reports are not messages: no consumer group receives
 * them, and no counter includes them.
 */
export interface PresenceStore {
  /** Replaces the report of this process. Resolves when it is stored. @throws ConnectionError */
  write(report: PresenceReport): Promise<void>
  /** Removes the report of this process, which has ended. @throws ConnectionError */
  remove(id: string): Promise<void>
  /** The reports of all processes that are not gone. Changes nothing on the broker. @throws ConnectionError */
  list(): Promise<readonly PresenceRecord[]>
}
