import type { RetryPolicy } from '../bus/retry-policy.ts'
import { wait } from '../bus/time.ts'
import { toError } from '../errors.ts'
import type { CheckpointStore } from './checkpoint-store.ts'
import { CheckpointConflictError } from './errors.ts'
import type { SubscriptionMonitor } from './subscription-monitor.ts'

export interface CheckpointSaverParts {
  readonly name: string
  readonly store: CheckpointStore
  /** What the store has. */
  readonly saved: number | undefined
  readonly everyEvents: number
  readonly everyMs: number
  readonly retryPolicy: RetryPolicy
  readonly monitor: SubscriptionMonitor
  /** Called when somebody else has moved the checkpoint; nothing is saved any more. */
  readonly onConflict: (error: Error) => void
}

/** Saves the position after so many events or so much time, one save at a time, each until it works. */
export class CheckpointSaver {
  readonly #parts: CheckpointSaverParts
  readonly #closing = new AbortController()
  #saved: number | undefined
  #position: number | undefined
  #unsavedEvents = 0
  #saving: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(parts: CheckpointSaverParts) {
    this.#parts = parts
    this.#saved = parts.saved
    this.#position = parts.saved
  }

  get saved(): number | undefined {
    return this.#saved
  }

  /** The save under way: handling waits for it, so that no more is repeated after a crash than the policy says. */
  get busy(): Promise<void> | undefined {
    return this.#saving
  }

  advance(position: number, events: number): void {
    this.#position = position
    this.#unsavedEvents += events
    if (this.#unsavedEvents >= this.#parts.everyEvents) void this.flush()
    else this.#saveLater()
  }

  /** Saves what is unsaved. Never rejects; resolves without having saved when it was closed, or after a conflict. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#saving ??= this.#save().finally(() => {
      this.#saving = undefined
    })
    return this.#saving
  }

  /** Ends the timer, and a save that does not succeed. */
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
    const { retryPolicy, monitor, onConflict } = this.#parts
    for (let failure = 1; !this.#closing.signal.aborted; failure += 1) {
      try {
        await this.#saveOnce()
        monitor.troubleOver('checkpoint')
        return
      } catch (thrown) {
        const error = toError(thrown)
        monitor.trouble('checkpoint', 'saving the checkpoint failed', error)
        if (error instanceof CheckpointConflictError) {
          this.close()
          return onConflict(error)
        }
      }
      await wait(retryPolicy.backoff(failure), this.#closing.signal)
    }
  }

  async #saveOnce(): Promise<void> {
    const { name, store, everyEvents } = this.#parts
    do {
      const [position, events] = [this.#position, this.#unsavedEvents]
      if (position === undefined || position === this.#saved) return
      await store.save(name, position, this.#saved)
      this.#saved = position
      this.#unsavedEvents -= events
    } while (this.#unsavedEvents >= everyEvents)
  }
}
