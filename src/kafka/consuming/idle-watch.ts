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

/** Reports a member that has no partition of its stream while its group is stable: it receives no events. */
export class IdleWatch {
  readonly #parts: IdleWatchParts
  #timer: NodeJS.Timeout | undefined
  #reason: string | undefined

  constructor(parts: IdleWatchParts) {
    this.#parts = parts
  }

  /** Why this member receives no events; undefined if it does, or if the group rebalances. */
  get reason(): string | undefined {
    return this.#reason
  }

  onAssigned(partitions: readonly TopicPartition[]): void {
    clearTimeout(this.#timer)
    const { stream, stableMs = STABLE_MS } = this.#parts
    if (partitions.some(({ topic }) => topic === stream)) this.#reason = undefined
    else if (this.#reason === undefined) {
      this.#timer = setTimeout(() => this.#report(), stableMs).unref()
    }
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
