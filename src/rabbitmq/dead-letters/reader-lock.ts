import { sleep } from '../../kit/time.ts'
import type { AmqpChannel } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { isForbidden, isLocked } from '../errors.ts'

/** Longest wait for the reader of another process, in milliseconds. Then the queue is read in spite of it. */
const MAX_WAIT_MS = 10_000
/** Between two tries to lock, in milliseconds. */
const RETRY_MS = 20
/** Time that a reader waits after it has given way, in milliseconds, so that the other one locks first. */
const YIELD_MS = 4 * RETRY_MS

/**
 * Longest time that a reader holds messages between two steps, in milliseconds. The broker's limit is 30 minutes
 * (`consumer_timeout`).
 */
export const MAX_HOLD_MS = 300_000

/** What the reader that has the lock can ask. */
export interface HeldLock {
  /** True if another reader waits. */
  readonly isWanted: boolean
  /** Resolves when another reader waits; at once without a lock, because then nobody can ask. */
  readonly wanted: Promise<void>
}

/** The lock of a reader. */
class Holder implements HeldLock {
  readonly #wanted = Promise.withResolvers<void>()
  isWanted = false

  get wanted(): Promise<void> {
    return this.#wanted.promise
  }

  want(): void {
    this.isWanted = true
    this.#wanted.resolve()
  }
}

/** What a reader has that reads in spite of the lock of another one. */
const NOT_LOCKED: HeldLock = { isWanted: false, wanted: Promise.resolve() }

export interface LockedWork {
  /** True after the reader gave way to another one. */
  readonly isResumed?: boolean
  /** Maximum duration, in milliseconds; Infinity if the work limits each of its steps. */
  readonly limitMs?: number
}

/**
 * Lets one reader at a time take messages from a dead letter queue, over all processes: the messages that one reader has
 * taken are invisible to the others. The lock is an exclusive queue, which the broker deletes with the connection of its
 * owner; a message in it says that another reader waits. A user without the right to declare it has no lock.
 */
export class ReaderLock {
  readonly #name: string
  readonly #withChannel: WithChannel
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #holder: Holder | undefined
  #isForbidden = false

  constructor(deadLetterQueue: string, withChannel: WithChannel) {
    this.#name = `${deadLetterQueue}.reader`
    this.#withChannel = withChannel
  }

  /**
   * Runs work on a channel of its own, after the readers before it. Returns the messages that it did not acknowledge to the
   * queue.
   */
  async run<T>(
    work: (channel: AmqpChannel, lock: HeldLock) => Promise<T>,
    options: LockedWork = {},
  ): Promise<T> {
    if (options.isResumed) await sleep(YIELD_MS)
    this.#waiting += 1
    this.#holder?.want()
    const run = this.#last.then(() => {
      this.#waiting -= 1
      return this.#run(work, options)
    })
    this.#last = run.catch(() => undefined)
    return run
  }

  async #run<T>(work: (channel: AmqpChannel, lock: HeldLock) => Promise<T>, { limitMs }: LockedWork) {
    const deadline = performance.now() + MAX_WAIT_MS
    for (let tries = 0; ; tries += 1) {
      const isLocking = !this.#isForbidden && performance.now() < deadline
      const result = await this.#try(work, isLocking, limitMs)
      if (result !== undefined) return result.value
      if (this.#isForbidden) continue
      // The wish is lost if the queue was deleted meanwhile, so it is repeated.
      if (tries % 10 === 0) await this.#wish()
      await sleep(RETRY_MS)
    }
  }

  /** @returns undefined if the lock is not available. */
  async #try<T>(
    work: (channel: AmqpChannel, lock: HeldLock) => Promise<T>,
    isLocking: boolean,
    limitMs: number | undefined,
  ): Promise<{ readonly value: T } | undefined> {
    const state = { isLocked: false, isRefused: false }
    const attempt = this.#withChannel(async (channel) => {
      const lock = isLocking ? await this.#lock(channel, state) : NOT_LOCKED
      const value = await work(channel, lock)
      // Closing the channel returns the messages too, but later: the next reader could find an empty queue.
      await channel.recover()
      if (isLocking) await channel.deleteQueue(this.#name)
      return { value }
    }, limitMs)
    try {
      return await attempt
    } catch (error) {
      if (state.isRefused) return undefined
      if (state.isLocked) await this.#unlock()
      throw error
    }
  }

  async #lock(channel: AmqpChannel, state: { isLocked: boolean; isRefused: boolean }): Promise<HeldLock> {
    try {
      await channel.assertQueue(this.#name, {
        durable: false,
        autoDelete: false,
        exclusive: true,
        arguments: { 'x-queue-type': 'classic' },
      })
    } catch (error) {
      state.isRefused = isLocked(error) || isForbidden(error)
      this.#isForbidden ||= isForbidden(error)
      throw error
    }
    state.isLocked = true
    const holder = new Holder()
    this.#holder = holder
    if (this.#waiting > 0) holder.want()
    await channel.consume(this.#name, (message) => {
      if (message !== null) holder.want()
    })
    return holder
  }

  /** Asks the reader that has the lock to give way. */
  async #wish(): Promise<void> {
    await this.#withChannel(async (channel) => {
      channel.publish('', this.#name, Buffer.alloc(0), { deliveryMode: 1, mandatory: false })
    }).catch(() => undefined)
  }

  /** The lock lasts as long as the connection, which may outlive the channel. */
  async #unlock(): Promise<void> {
    await this.#withChannel((channel) => channel.deleteQueue(this.#name)).catch(() => undefined)
  }
}
