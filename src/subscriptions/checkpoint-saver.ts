import { toError } from '../errors.ts'
import { STORE_BACKOFF } from '../kit/backoff.ts'
import { IdleCounter } from '../kit/idle-counter.ts'
import { settledUntil, sleep } from '../kit/time.ts'
import type { Checkpoint, CheckpointStore } from './checkpoint-store.ts'
import { CheckpointConflictError } from './errors.ts'
import type { FeedMark } from './feed-mark.ts'
import type { SubscriptionMonitor } from './subscription-monitor.ts'
import type { UnitCheckpoint } from './unit-checkpoint.ts'

export interface CheckpointSaverParts {
  readonly name: string
  readonly store: CheckpointStore
  /** The checkpoint in the checkpoint store. */
  readonly saved: Checkpoint | undefined
  /** Identity of the event store that the positions belong to. */
  readonly storeId: string
  /** Fencing number of the lease under which it saves; undefined without a lease. */
  readonly fence: number | undefined
  readonly everyEvents: number
  readonly everyMs: number
  readonly monitor: SubscriptionMonitor
  /** Called when another instance has moved the checkpoint. After that, nothing is saved. */
  readonly onConflict: (error: Error) => void
}

/** Saves the position after a number of events or a time. Saves run one at a time, and each is retried until it succeeds. */
export class CheckpointSaver implements UnitCheckpoint {
  readonly #parts: CheckpointSaverParts
  readonly #closing = new AbortController()
  #saved: Checkpoint | undefined
  #mark: FeedMark | undefined
  #unsavedEvents = 0
  #saving: Promise<void> = Promise.resolve()
  #isSaving = false
  /** Resolves when a save has succeeded, or none runs. */
  #step = Promise.withResolvers<void>()
  /** True if events were finished during the save, so that another save must follow. */
  #isWanted = false
  #timer: NodeJS.Timeout | undefined
  /** The transactions that move the checkpoint. */
  readonly #transactions = new IdleCounter()

  constructor(parts: CheckpointSaverParts) {
    this.#parts = parts
    this.#saved = parts.saved
    this.#mark = parts.saved
  }

  get saved(): Checkpoint | undefined {
    return this.#saved
  }

  /** The running save. Handling waits for it, so that a crash repeats no more events than the policy allows. */
  get busy(): Promise<void> | undefined {
    return this.#isSaving ? this.#saving : undefined
  }

  /**
   * As {@link busy}, but only while more than this number of finished events is not saved. A save then runs while the next
   * events are handled. Resolves when a save has succeeded, or none runs.
   */
  behind(limit: number): Promise<void> | undefined {
    return this.#isSaving && this.#unsavedEvents > limit ? this.#step.promise : undefined
  }

  at({ position, eventId }: FeedMark): Checkpoint {
    const { storeId, fence } = this.#parts
    return { position, eventId, storeId, fence }
  }

  adopt(checkpoint: Checkpoint): void {
    this.#saved = checkpoint
    this.#mark = checkpoint
    this.#unsavedEvents = 0
    this.#parts.monitor.troubleOver('checkpoint')
  }

  conflict(error: Error): void {
    this.#giveUp(error)
  }

  async exclusively(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    while (this.#isSaving) await this.#saving
    const working = work()
    await this.#transactions.track(settledUntil(working, signal))
    await working
  }

  advance(mark: FeedMark, events: number): void {
    this.#mark = mark
    if (this.#isSaved(mark)) return
    this.#unsavedEvents += events
    if (this.#unsavedEvents >= this.#parts.everyEvents) void this.flush()
    else this.#saveLater()
  }

  /** Saves the current position. Never rejects; resolves without a save if it was closed, or after a conflict. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#isWanted = true
    if (!this.#isSaving) {
      this.#isSaving = true
      this.#saving = this.#save()
    }
    return this.#saving
  }

  /** Stops the timer and the retries of a save. */
  close(): void {
    clearTimeout(this.#timer)
    this.#closing.abort()
  }

  #saveLater(): void {
    const { everyMs } = this.#parts
    if (everyMs === Number.POSITIVE_INFINITY || this.#closing.signal.aborted) return
    this.#timer ??= setTimeout(() => void this.flush(), everyMs)
  }

  async #save(): Promise<void> {
    const { monitor } = this.#parts
    if (this.#transactions.count > 0) await this.#transactions.whenIdle()
    for (let failure = 1; this.#isWanted && !this.#closing.signal.aborted; ) {
      this.#isWanted = false
      const error = await this.#trySave()
      if (error === undefined) failure = 1
      else if (error instanceof CheckpointConflictError) this.#giveUp(error)
      else {
        monitor.trouble('checkpoint', 'saving the checkpoint failed', error)
        this.#isWanted = true
        await sleep(STORE_BACKOFF.backoff(failure), this.#closing.signal)
        failure += 1
      }
    }
    // No code runs between the last check of #isWanted and this line.
    this.#isSaving = false
    this.#endStep()
  }

  #endStep(): void {
    this.#step.resolve()
    this.#step = Promise.withResolvers()
  }

  async #trySave(): Promise<Error | undefined> {
    const { name, store, monitor } = this.#parts
    const [mark, events] = [this.#mark, this.#unsavedEvents]
    if (mark === undefined || this.#isSaved(mark)) return undefined
    const checkpoint = this.at(mark)
    try {
      await store.save(name, checkpoint, this.#saved?.position)
    } catch (thrown) {
      return toError(thrown)
    }
    this.#saved = checkpoint
    this.#unsavedEvents -= events
    monitor.troubleOver('checkpoint')
    this.#endStep()
    return undefined
  }

  /**
   * A checkpoint of another owner is saved again at the same position. After that, saves of the other owner are
   * refused.
   */
  #isSaved({ position }: FeedMark): boolean {
    const { fence, storeId } = this.#parts
    const saved = this.#saved
    return position === saved?.position && fence === saved.fence && storeId === saved.storeId
  }

  #giveUp(error: Error): void {
    this.#parts.monitor.problem('another instance has moved the checkpoint', error)
    this.close()
    this.#parts.onConflict(error)
  }
}
