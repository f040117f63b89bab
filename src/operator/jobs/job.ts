import { randomUUID } from 'node:crypto'
import { toError } from '../../errors.ts'

/** How far a job is. */
export interface JobProgress {
  /** Things that were read. */
  readonly scanned: number
  /** Things at the start. */
  readonly total: number
  readonly matched: number
  readonly changed: number
  readonly failed: number
}

/** What a job is, in words, for the page and for the record. */
export interface JobDescription {
  readonly bus: string
  /** Such as `deadLetters.replay`. */
  readonly action: string
  /** Such as `Replay`. */
  readonly verb: string
  /** Such as `replayed`. */
  readonly done: string
  /** The filter line; empty for all. */
  readonly filter: string
  /** The consumer group that the filter names. */
  readonly group: string | undefined
  /** How many things it is about, as the viewer confirmed it. */
  readonly expected: number | undefined
  readonly ratePerSecond: number | undefined
  readonly isDryRun: boolean
  readonly by: string
  readonly why: string | undefined
}

/** The work of a job. @returns the number of changed things, or with a dry run, of those that match. */
export type JobWork = (parts: {
  readonly signal: AbortSignal
  readonly onProgress: (progress: JobProgress) => void
}) => Promise<number>

export type JobState = 'running' | 'cancelling' | 'done' | 'cancelled' | 'failed'

const NOTHING: JobProgress = { scanned: 0, total: 0, matched: 0, changed: 0, failed: 0 }

/** A long change that continues when no page is open. */
export class Job {
  readonly id = randomUUID()
  readonly about: JobDescription
  readonly startedAt = new Date()
  readonly ended: Promise<void>
  readonly #cancel = new AbortController()
  #state: JobState = 'running'
  #progress = NOTHING
  #endedAt: Date | undefined
  #error: Error | undefined
  #cancelledBy: string | undefined

  /** @param closed - aborts when the handler is closed, which cancels the job. */
  constructor(about: JobDescription, work: JobWork, closed: AbortSignal) {
    this.about = about
    this.ended = this.#run(work, AbortSignal.any([this.#cancel.signal, closed]))
  }

  get state(): JobState {
    return this.#state
  }

  get progress(): JobProgress {
    return this.#progress
  }

  get endedAt(): Date | undefined {
    return this.#endedAt
  }

  get error(): Error | undefined {
    return this.#error
  }

  get cancelledBy(): string | undefined {
    return this.#cancelledBy
  }

  get isRunning(): boolean {
    return this.#endedAt === undefined
  }

  /** Ends it after the batch in progress. @returns false if it has ended. */
  cancel(by: string): boolean {
    if (!this.isRunning) return false
    this.#cancelledBy ??= by
    this.#state = 'cancelling'
    this.#cancel.abort()
    return true
  }

  /** Never rejects. */
  async #run(work: JobWork, signal: AbortSignal): Promise<void> {
    try {
      const changed = await work({
        signal,
        onProgress: (progress) => {
          this.#progress = progress
        },
      })
      this.#progress = { ...this.#progress, ...(this.about.isDryRun ? { matched: changed } : { changed }) }
      this.#state = signal.aborted ? 'cancelled' : 'done'
    } catch (thrown) {
      this.#error = toError(thrown)
      this.#state = 'failed'
    }
    this.#endedAt = new Date()
  }
}
