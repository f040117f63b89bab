import type { KafkaSession } from '../client/cluster.ts'
import type { KafkaCoordinator } from '../client/coordinator.ts'
import type { TopicPartition } from '../client/topic-partition.ts'
import type { ResolvedKafkaOptions } from '../options.ts'

/** What a member is known by when it commits. */
export interface MemberIdentity {
  readonly memberId: string
  /** Generation, or the member's epoch. */
  readonly generation: number
  readonly groupInstanceId: string | null
}

/** What a membership tells its consumption. */
export interface MembershipListener {
  /** The partitions owned now. Those that are not, and were, must have been revoked or lost. */
  onAssigned(places: readonly TopicPartition[]): Promise<void>
  /** These will go to others: resolves when they are given up, committed as far as they are finished. */
  onRevoked(places: readonly TopicPartition[]): Promise<void>
  /** The group goes on without this member: all it had is somebody else's by now. */
  onLost(): void
  /** After a silence in which it might have been put out it was not: it has what it had. */
  onResumed(): void
  onRebalance(): void
  onFailure(error: Error): void
}

export interface MembershipParts {
  readonly options: ResolvedKafkaOptions
  readonly session: () => KafkaSession
  readonly coordinator: KafkaCoordinator
  readonly listener: MembershipListener
  /** The topics to consume, with what is known of them now. */
  readonly topics: () => Promise<
    readonly { readonly name: string; readonly id: string; readonly partitions: number }[]
  >
  /** Waits for the brokers. @returns false when the signal aborts first */
  readonly whenUp: (signal: AbortSignal) => Promise<boolean>
}

/** A place in a consumer group. */
export interface Membership {
  /** Undefined while it is not a member. */
  readonly identity: MemberIdentity | undefined
  /** False when the group may have put this member out, because it was silent for too long. */
  readonly isFresh: boolean
  /** Runs until `leave`. Resolves when partitions were first assigned. */
  join(): Promise<void>
  /** Shares out the partitions anew, as the topics are not what they were. */
  rejoin(): void
  leave(): Promise<void>
}

/**
 * The outcome of a first join. A member that gets nothing at first may be given its part a moment later, when another has
 * given it up; until then it consumes nothing.
 */
export class FirstAssignment {
  readonly #settled = Promise.withResolvers<void>()
  #grace: NodeJS.Timeout | undefined

  get promise(): Promise<void> {
    return this.#settled.promise
  }

  /** @param graceMs - how long to wait for partitions where there are none. */
  assigned(places: readonly TopicPartition[], graceMs: number): void {
    if (places.length > 0) this.#settled.resolve()
    else this.#grace ??= setTimeout(() => this.#settled.resolve(), graceMs)
  }

  reject(error: Error): void {
    this.#settled.reject(error)
  }

  /** Nobody waits any more. */
  end(): void {
    clearTimeout(this.#grace)
    this.#settled.resolve()
  }
}
