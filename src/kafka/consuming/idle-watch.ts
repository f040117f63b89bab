import type { TransportHost } from '../../transport/transport.ts'
import type { TopicPartition } from '../client/topic-partition.ts'

/** Time without a rebalance after which a group counts as stable, in milliseconds. */
const STABLE_MS = 5000

export interface IdleWatchParts {
  readonly group: string
  /** The topic of the events. */
  readonly stream: string
  readonly host: TransportHost
  readonly stableMs?: number
}

/**
 * Reports a member that has no partition of its stream, because its group is stable without it or its join takes long: it
 * receives no events.
 */
export class IdleWatch {
  readonly #parts: IdleWatchParts
  #timer: NodeJS.Timeout | undefined
  #reason: string | undefined
  #isJoining = false

  constructor(parts: IdleWatchParts) {
    this.#parts = parts
  }

  /** Why this member receives no events; undefined if it does, or if it has just joined. */
  get reason(): string | undefined {
    return this.#reason
  }

  onAssigned(partitions: readonly TopicPartition[]): void {
    clearTimeout(this.#timer)
    if (this.#isJoining) this.#reason = undefined
    this.#isJoining = false
    const { stream, stableMs = STABLE_MS } = this.#parts
    if (partitions.some(({ topic }) => topic === stream)) this.#reason = undefined
    else if (this.#reason === undefined) {
      this.#timer = setTimeout(() => this.#report(), stableMs).unref()
    }
  }

  /** The join of the member takes long. */
  onWaiting(detail: string): void {
    clearTimeout(this.#timer)
    this.#isJoining = true
    this.#reason = detail
    this.#parts.host.notify({ type: 'unassigned', detail })
  }

  /** The member left the group or lost its partitions. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#reason = undefined
  }

  #report(): void {
    const { group, stream, host } = this.#parts
    this.#reason =
      `group ${group} assigned no partition of ${stream} to this consumer: ` +
      'it has more members than the topic has partitions, or a leader that does not know this topic'
    host.notify({ type: 'unassigned', detail: this.#reason })
  }
}
