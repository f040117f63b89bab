/** The pause of a consumer group. */
export interface GroupPause {
  readonly at: Date
  /** Who paused it. */
  readonly by: string
  readonly why: string | undefined
}

/**
 * Keeps a small text for each consumer group, which outlives all processes. Operators write it, and the consumers of the
 * group read it once a second. Its form is of no concern to the transport.
 */
export interface GroupControlStore {
  /**
   * True if a paused consumer stays a member of its group and holds its deliveries. Otherwise it stops consuming, and its
   * unsettled deliveries return to the broker.
   */
  readonly staysInGroup: boolean
  /** Why the group of this bus cannot be paused; undefined if it can. */
  readonly problem?: string | undefined
  /** The text of the group of this bus; undefined if there is none. @throws ConnectionError */
  poll(): Promise<string | undefined>
  /** The text of any group; undefined if there is none. Changes nothing on the broker. @throws ConnectionError */
  read(group: string): Promise<string | undefined>
  /** Stores the text of a group; undefined removes it. Resolves when it is safe. @throws ConnectionError */
  write(group: string, text: string | undefined): Promise<void>
}
