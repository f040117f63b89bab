import { Mutex } from '../../kit/mutex.ts'
import type { AmqpChannel } from '../client/client.ts'
import type { LetterWalk } from './letter-walk.ts'
import type { ReaderLock } from './reader-lock.ts'

/** How long a walk waits for the request of the next page, in milliseconds. */
const KEPT_MS = 10_000

/**
 * A walk that stays open between the pages of a listing, so that a page deep in a queue does not read all letters before it
 * again. It ends as soon as another reader of the queue waits.
 */
export class KeptWalk {
  readonly #reads = new Mutex()
  readonly #opened = Promise.withResolvers<void>()
  readonly #ended = Promise.withResolvers<void>()
  readonly #running: Promise<void>
  #walk: LetterWalk | undefined
  #isEnding = false
  #timer: NodeJS.Timeout | undefined

  constructor(lock: ReaderLock, open: (channel: AmqpChannel) => LetterWalk) {
    const walking = async (channel: AmqpChannel, wanted: Promise<void>) => {
      void wanted.then(() => this.end())
      this.#walk = open(channel)
      this.#opened.resolve()
      await this.#ended.promise
    }
    const limitMs = Number.POSITIVE_INFINITY
    this.#running = lock.run((channel, held) => walking(channel, held.wanted), { limitMs })
    this.#running.catch((error: unknown) => {
      void this.end()
      this.#opened.reject(error)
    })
    this.#opened.promise.catch(() => undefined)
  }

  /**
   * Runs work with the walk, after the work before it.
   * @returns undefined if the walk has ended, or the work has no result.
   */
  async read<T>(work: (walk: LetterWalk) => Promise<T | undefined>): Promise<T | undefined> {
    if (this.#isEnding) return undefined
    clearTimeout(this.#timer)
    return this.#reads.runExclusive(async () => {
      await this.#opened.promise
      try {
        const working = this.#walk && work(this.#walk)
        return await Promise.race([working, this.#running.then(() => undefined)])
      } catch (error) {
        this.#isEnding = true
        this.#walk = undefined
        this.#ended.reject(error)
        await this.#running
        throw error
      } finally {
        clearTimeout(this.#timer)
        if (!this.#isEnding) this.#timer = setTimeout(() => void this.end(), KEPT_MS).unref()
      }
    })
  }

  /** Returns the letters to their queue, once no work runs. Resolves when this is done, or the channel is lost. */
  async end(): Promise<void> {
    if (!this.#isEnding) {
      this.#isEnding = true
      clearTimeout(this.#timer)
      void this.#reads.runExclusive(async () => {
        this.#walk = undefined
        this.#ended.resolve()
      })
    }
    await this.#running.catch(() => undefined)
  }
}
