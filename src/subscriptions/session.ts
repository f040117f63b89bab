import { toError } from '../errors.ts'
import { ShutdownError } from '../handling/errors.ts'
import { STORE_BACKOFF } from '../kit/backoff.ts'
import { settledUntil, sleep } from '../kit/time.ts'
import { checkOrigin } from './checkpoint-origin.ts'
import { CheckpointSaver } from './checkpoint-saver.ts'
import type { Checkpoint, CheckpointStore } from './checkpoint-store.ts'
import { ForeignCheckpointError, PositionAheadError, SubscriptionStoppedError } from './errors.ts'
import type { FeedMark } from './feed-mark.ts'
import { FeedRun, type FeedRunParts } from './feed-run.ts'
import type { HeldLease, LeaseKeeper } from './lease-keeper.ts'
import { boundTo } from './projection.ts'
import type { StartPlace } from './subscription-options.ts'

export interface SessionParts extends Omit<FeedRunParts, 'start' | 'progress'> {
  readonly checkpoints: CheckpointStore
  readonly leases: LeaseKeeper
  /** True if other instances may run the same subscription. A conflict then means that one of them does. */
  readonly isShared: boolean
  /**
   * Where to start, regardless of the checkpoint; undefined to start at the checkpoint, for example if an earlier
   * session has already applied it.
   */
  readonly startFrom: StartPlace | undefined
  readonly onMoved: (position: number) => void
  readonly onPageRead: (run: FeedRun, head: number) => void
  readonly onFailed: (error: Error) => void
}

/** The handlers in flight when a session was stopped, and their outcome. */
export interface SessionEnd {
  readonly inFlight: number
  readonly notDrained: number
  /** True if the checkpoint includes all finished events. */
  readonly isSaved: boolean
}

interface Start {
  readonly mark: FeedMark
  readonly storeId: string
  /** The checkpoint in the checkpoint store. */
  readonly saved: Checkpoint | undefined
  /** True if the session does not start at the saved position. */
  readonly isNew: boolean
}

/** Maximum number of events that a relay publishes again after a crash, unless two batches have more. */
const REPEATED = 1000

/** Number of finished events with which a relay starts the next batch while a save is in flight. */
function maxUnsaved({ batchSize, checkpointEveryEvents }: SessionParts['options']): number {
  const step = Math.max(batchSize, checkpointEveryEvents)
  return Math.max(step, Math.min(10 * step, REPEATED) - batchSize)
}

/** A subscription from its start to its stop: acquires the lease, finds the position to start from, runs, saves the checkpoint. */
export class Session {
  readonly #parts: SessionParts
  readonly #stopping = new AbortController()
  readonly #deadline = new AbortController()
  #phase: 'standby' | 'running' | 'ended' = 'standby'
  #run: FeedRun | undefined
  #saver: CheckpointSaver | undefined
  /** Resolves when nothing runs, or when the deadline of the stop has passed. */
  readonly ended: Promise<void>

  /** @param after - resolves when the previous session has ended. This session waits for it. */
  constructor(parts: SessionParts, after: Promise<void> | undefined) {
    this.#parts = parts
    this.ended = settledUntil(this.#live(after), this.#deadline.signal).then(() => undefined)
  }

  get phase(): 'standby' | 'running' | 'ended' {
    return this.#phase
  }

  get isStopping(): boolean {
    return this.#stopping.signal.aborted || this.#phase === 'ended'
  }

  get run(): FeedRun | undefined {
    return this.#run
  }

  /** The position that the checkpoint store has. */
  get saved(): number | undefined {
    return this.#saver?.saved?.position
  }

  /** Stops reading, waits for running handlers until the signal aborts, and saves the position. */
  async stop(deadline: AbortSignal): Promise<SessionEnd> {
    const run = this.#run
    const inFlight = run?.running ?? 0
    let notDrained = 0
    const giveUp = () => {
      if (this.#deadline.signal.aborted) return
      this.#deadline.abort()
      notDrained = run?.running ?? 0
      run?.abandon(new ShutdownError())
    }
    this.#stopping.abort()
    run?.stop()
    if (this.#phase === 'running') void this.#saver?.flush()
    deadline.addEventListener('abort', giveUp, { once: true })
    await settledUntil(this.ended, deadline)
    if (deadline.aborted) giveUp()
    deadline.removeEventListener('abort', giveUp)
    return { inFlight, notDrained, isSaved: this.saved === run?.position }
  }

  /** The intermediate result of a stop that is still waiting for handlers. */
  get endSoFar(): SessionEnd {
    const running = this.#run?.running ?? 0
    return { inFlight: running, notDrained: running, isSaved: this.saved === this.#run?.position }
  }

  async #live(after: Promise<void> | undefined): Promise<void> {
    await after
    while (!this.isStopping) {
      this.#phase = 'standby'
      const lease = await this.#parts.leases.hold(this.#stopping.signal)
      if (lease === undefined) break
      const failure = await this.#lead(lease).catch(toError)
      await lease.release()
      if (failure === undefined) continue
      this.#phase = 'ended'
      this.#parts.onFailed(failure)
    }
    this.#phase = 'ended'
  }

  /**
   * Runs while the lease is held. @returns the error because of which it cannot continue; undefined if it was stopped
   * or lost the lease.
   */
  async #lead(lease: HeldLease): Promise<Error | undefined> {
    const start = await this.#findStart(lease.wasAwaited || this.#run !== undefined)
    if (start === undefined || start instanceof Error) return start
    if (this.#stopping.signal.aborted) return undefined
    const saver = this.#openSaver(start, lease.fence)
    const run = this.#openRun(start, saver)
    lease.lost.addEventListener('abort', () => run.abandon(this.#lostLease()), { once: true })
    // Save the position of a new start, so that a crash does not move it to a later end.
    if (start.isNew || lease.fence !== undefined) saver.advance(start.mark, 0)
    // With the fencing number of this lease in the checkpoint, a former owner that still runs can no longer move it.
    const isDue = (start.isNew && start.mark.position > 0) || lease.fence !== undefined
    if (isDue) await settledUntil(saver.flush(), this.#stopping.signal)
    this.#phase = 'running'
    await run.follow()
    if (!lease.lost.aborted) await settledUntil(saver.flush(), this.#deadline.signal)
    saver.close()
    return run.failure
  }

  #openSaver({ saved, storeId }: Start, fence: number | undefined): CheckpointSaver {
    const { checkpoints, options, monitor, consumer, isShared } = this.#parts
    const saver = new CheckpointSaver({
      name: consumer.name,
      store: checkpoints,
      saved,
      storeId,
      fence,
      everyEvents: options.checkpointEveryEvents,
      everyMs: options.checkpointEveryMs,
      monitor,
      onConflict: (error) => (isShared ? this.#run?.abandon(this.#lostLease()) : this.#run?.fail(error)),
    })
    this.#saver = saver
    return saver
  }

  #openRun({ mark }: Start, saver: CheckpointSaver): FeedRun {
    const { onMoved, onPageRead, options } = this.#parts
    const { relay } = this.#parts.consumer
    const unsaved = maxUnsaved(options)
    const progress = {
      moved: (mark: FeedMark, events: number) => {
        saver.advance(mark, events)
        onMoved(mark.position)
      },
      pageRead: onPageRead,
      get busy() {
        return relay === undefined ? saver.busy : saver.behind(unsaved)
      },
    }
    const consumer = boundTo(this.#parts.consumer, saver)
    const run = new FeedRun({ ...this.#parts, consumer, start: mark, progress })
    this.#run = run
    onMoved(mark.position)
    return run
  }

  #lostLease(): Error {
    return new SubscriptionStoppedError(this.#parts.consumer.name, 'continue: another instance has its lease')
  }

  /** The position to continue from. Retries while a store does not answer. @returns undefined if the session is stopping. */
  async #findStart(isSuccessor: boolean): Promise<Start | Error | undefined> {
    const { monitor } = this.#parts
    for (let failure = 1; !this.#stopping.signal.aborted; failure += 1) {
      try {
        const start = await this.#readStart(isSuccessor)
        monitor.troubleOver('checkpoint')
        return start
      } catch (thrown) {
        const error = toError(thrown)
        if (error instanceof PositionAheadError || error instanceof ForeignCheckpointError) return error
        monitor.trouble('checkpoint', 'finding the start position failed', error)
      }
      await sleep(STORE_BACKOFF.backoff(failure), this.#stopping.signal)
    }
    return undefined
  }

  /** @throws PositionAheadError, ForeignCheckpointError */
  async #readStart(isSuccessor: boolean): Promise<Start> {
    const { checkpoints, consumer, store, startFrom, options } = this.#parts
    const saved = await checkpoints.load(consumer.name)
    const storeId = await store.identity()
    const place =
      (isSuccessor ? undefined : startFrom) ?? (saved === undefined ? options.startNewFrom : undefined)
    if (place === undefined && saved !== undefined) {
      await checkOrigin(store, consumer.name, saved)
      return { mark: saved, saved, storeId, isNew: false }
    }
    const head = await store.headPosition()
    const position = await this.#positionOf(place ?? 'beginning', head)
    if (position > head) throw new PositionAheadError(consumer.name, position, head)
    if (saved !== undefined && position > saved.position) this.#tellSkip(saved.position, position)
    return { mark: { position, eventId: undefined }, saved, storeId, isNew: true }
  }

  #tellSkip(saved: number, position: number): void {
    const { monitor } = this.#parts
    monitor.notice('startFrom skips events after the checkpoint', { checkpoint: saved, position })
  }

  async #positionOf(place: StartPlace, head: number): Promise<number> {
    if (place === 'beginning') return 0
    if (place === 'end') return head
    return typeof place === 'number' ? place : this.#parts.store.positionBefore(place)
  }
}
