import { Mutex } from '../../kit/mutex.ts'
import type { AmqpChannel } from '../client/client.ts'
import type { LetterWalk } from './letter-walk.ts'
import { MAX_HOLD_MS, type ReaderLock } from './reader-lock.ts'

/** How long a walk waits for the request of the next page, in milliseconds. */
const KEPT_MS = 10_000
/** The same while another reader waits, and how long that one waits at most after the first page, in milliseconds. */
const WANTED_MS = 100
const MAX_WANTED_MS = 1000

/**
 * A walk that stays open between the pages of a listing, so that a page deep in a queue does not read all letters before it
 * again. If another reader waits, it serves only pages that are requested at once, and no longer than the first page took.
 */
export class KeptWalk {
  readonly #reads = new Mutex()
  readonly #opened = Promise.withResolvers<void>()
  readonly #ended = Promise.withResolvers<void>()
  readonly #running: Promise<void>
  #walk: LetterWalk | undefined
  #openedAt = 0
  /** When the first page was read; undefined before that. */
  #caughtUpAt: number | undefined
  #isWanted = false
  #isReading = false
  #isEnding = false
  #timer: NodeJS.Timeout | undefined

  /** @param isResumed - true if the walk before it has ended for another reader, which then comes first. */
  constructor(lock: Pick<ReaderLock, 'run'>, open: (channel: AmqpChannel) => LetterWalk, isResumed: boolean) {
    const walking = async (channel: AmqpChannel, wanted: Promise<void>) => {
      this.#openedAt = performance.now()
      void wanted.then(() => {
        this.#isWanted = true
        if (!this.#isReading) this.#await()
      })
      this.#walk = open(channel)
      this.#opened.resolve()
      await this.#ended.promise
    }
    const options = { limitMs: Number.POSITIVE_INFINITY, isResumed }
    this.#running = lock.run((channel, held) => walking(channel, held.wanted), options)
    this.#running.catch((error: unknown) => {
      void this.end()
      this.#opened.reject(error)
    })
    this.#opened.promise.catch(() => undefined)
  }

  /** True if another reader has asked for the queue. */
  get isWanted(): boolean {
    return this.#isWanted
  }

  /**
   * Runs work with the walk, after the work before it.
   * @returns undefined if the walk has ended, or the work has no result.
   */
  async read<T>(work: (walk: LetterWalk) => Promise<T | undefined>): Promise<T | undefined> {
    if (this.#isEnding) return undefined
    clearTimeout(this.#timer)
    if (this.#caughtUpAt !== undefined && performance.now() - this.#openedAt > MAX_HOLD_MS) {
      void this.end()
      return undefined
    }
    return this.#reads.runExclusive(async () => {
      await this.#opened.promise
      this.#isReading = true
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
        this.#isReading = false
        this.#caughtUpAt ??= performance.now()
        this.#await()
      }
    })
  }

  /** Waits for the next request. */
  #await(): void {
    clearTimeout(this.#timer)
    if (this.#isEnding || this.#caughtUpAt === undefined) return
    const firstPageMs = this.#caughtUpAt - this.#openedAt
    const wantedMs = this.#caughtUpAt + Math.min(firstPageMs, MAX_WANTED_MS) - performance.now()
    const ms = this.#isWanted ? Math.min(wantedMs, WANTED_MS) : KEPT_MS
    if (ms <= 0) void this.end()
    else this.#timer = setTimeout(() => void this.end(), ms).unref()
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
