import type { Chronicle } from './chronicle.ts'

/** The promises of a consumer group. */
export interface GroupRules {
  readonly name: string
  readonly handlers: readonly string[]
  /** For each handler that does not handle all events, the types that it handles. */
  readonly typesOf?: ReadonlyMap<string, readonly string[]>
  /**
   * `'group'`: order per aggregate holds across the consumers of the group. `'consumer'`: consumers compete, as on Redis and
   * RabbitMQ, so that order holds within each consumer until another takes messages over.
   */
  readonly order: 'group' | 'consumer'
}

/** What a judge must know of a run. */
export interface JudgeOptions {
  readonly groups: readonly GroupRules[]
  /** Number of attempts before an event is dead-lettered. */
  readonly maxAttempts: number
  readonly maxInFlight: number
  /** Maximum time from the end of a handler until the broker knows of it, in milliseconds. */
  readonly ackMs: number
  /**
   * How long messages that a lost consumer may have started can stay assigned to it, in milliseconds. On Kafka, its
   * partitions stay assigned until another consumer gets them, so events that are published in the meantime count, too.
   */
  readonly takeoverMs: number
}

export type RuleName =
  | 'lost'
  | 'stalled'
  | 'invented'
  | 'order'
  | 'duplicate'
  | 'attempts'
  | 'recovery'
  | 'share'
  | 'conduct'

/** What a rule has found. */
export interface Finding {
  readonly rule: RuleName
  readonly message: string
  /** The event that it concerns. */
  readonly event?: string
  /** The consumer group that it concerns, for a lost event. */
  readonly group?: string
}

export type Rule<O extends JudgeOptions = JudgeOptions> = (
  chronicle: Chronicle,
  options: O,
) => readonly Finding[]
