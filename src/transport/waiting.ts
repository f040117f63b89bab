/** The wait of one handler for its next attempt at a message, longer than a delivery should be held. */
export interface Wait {
  readonly handlerName: string
  /** Number of attempts of the handler that have failed. */
  readonly attempts: number
  readonly firstFailedAt: Date
  readonly delayMs: number
  /** True if later messages with the same key wait behind this one, for the same handler. */
  readonly keepsOrder: boolean
}

/** The messages of a consumer group that wait for an attempt of one handler. They outlive the processes of the group. */
export interface WaitingStore {
  /** Why messages cannot keep the order of their key while they wait; undefined if they can. */
  readonly orderProblem?: string | undefined
  /**
   * Why later messages of a key cannot wait behind a dead letter (`DeadLetterReason.parkedFor`), as a clause that says what
   * to do; undefined if they can.
   */
  readonly parkProblem: string | undefined
  /** Set by the bus. The store calls it when `release` has become able to deliver messages. */
  onReady?: (() => void) | undefined
  /**
   * Creates what the store needs on the broker. Called before `consume` if a handler has long waits, and again after
   * failures.
   * @throws ConnectionError
   */
  prepare(): Promise<void>
  /**
   * Delivers the messages that are due to the group, like replays: `Delivery.replayTarget` names the handler and its
   * attempts. A crash can duplicate a message, but never loses one. If nothing was ever stored, it creates nothing.
   * @returns how long the next message has to wait, in milliseconds; undefined if none waits, or another member of the
   * group delivers them.
   * @throws ConnectionError
   */
  release(): Promise<number | undefined>
  /** Number of messages that wait. */
  count(): Promise<number>
  /**
   * The earliest time since when one of these messages waits: its first failed attempt, or when it was stored behind another
   * message. Undefined if none waits.
   */
  oldestSince(): Promise<Date | undefined>
}
