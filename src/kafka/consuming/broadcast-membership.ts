import { READ_BACKOFF } from '../../kit/backoff.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { partitionsOf } from '../client/topic-partition.ts'
import { isRetryable } from '../errors.ts'
import type { Membership, MembershipParts } from './membership.ts'
import { QUIET_FAILURES } from './quiet-failures.ts'

/** Owns all partitions without a group, for an instance that broadcasts. The brokers know nothing of it. */
export class BroadcastMembership implements Membership {
  readonly identity = undefined
  readonly #parts: MembershipParts
  readonly #left = new AbortController()
  #assigning: Promise<void> = Promise.resolve()

  constructor(parts: MembershipParts) {
    this.#parts = parts
  }

  get hasLiveSession(): boolean {
    return !this.#left.signal.aborted
  }

  join(): Promise<void> {
    return this.#assign()
  }

  rejoin(): void {
    this.#assigning = this.#assigning.then(() => this.#assign()).catch(this.#parts.listener.onFailure)
  }

  async leave(): Promise<void> {
    this.#left.abort()
    await this.#assigning
  }

  /** Reads the partitions of the topics, which may have more than before. @throws ConnectionError that no retry can fix. */
  async #assign(): Promise<void> {
    const { listener, topics } = this.#parts
    await retryUntilDone(
      async () => {
        const found = await topics()
        await listener.onAssigned(found.flatMap(({ name, partitions }) => partitionsOf(name, partitions)))
      },
      {
        backoff: READ_BACKOFF,
        signal: this.#left.signal,
        onFailure: (error, failure) => {
          if (!isRetryable(error)) throw error
          if (failure > QUIET_FAILURES) listener.onFailure(error)
        },
      },
    )
  }
}
