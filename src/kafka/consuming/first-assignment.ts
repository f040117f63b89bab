import type { TopicPartition } from '../client/topic-partition.ts'

/**
 * The outcome of a first join. A member may get no partitions at first, and some a moment later, when another member has
 * given them up. Until then it consumes nothing.
 */
export class FirstAssignment {
  readonly #settled = Promise.withResolvers<void>()
  #grace: NodeJS.Timeout | undefined

  get promise(): Promise<void> {
    return this.#settled.promise
  }

  /** @param graceMs - how long to wait for partitions if there are none yet. */
  assigned(partitions: readonly TopicPartition[], graceMs: number): void {
    if (partitions.length > 0) this.#settled.resolve()
    else this.#grace ??= setTimeout(() => this.#settled.resolve(), graceMs)
  }

  reject(error: Error): void {
    this.#settled.reject(error)
  }

  /** Ends the wait, because the member leaves. */
  end(): void {
    clearTimeout(this.#grace)
    this.#settled.resolve()
  }
}
