import type { DomainEvent } from '../events/index.ts'
import { Mutex } from '../kit/mutex.ts'
import type { FailurePolicies, FailurePolicy, Verdict } from './failure-policy.ts'
import type { HandlerEntry } from './handler-entry.ts'
import type { HandlerFailure } from './handler-failure.ts'
import { limitsOf, takeAll } from './handler-limit.ts'

/** A handler that gets no further attempt at an event. */
export interface GivenUpHandler extends HandlerFailure {
  readonly attempts: number
  readonly reason: 'max_retries_exceeded' | 'rejected'
}

/** An attempt that is about to start. */
export interface NextAttempt {
  readonly handlers: readonly HandlerEntry[]
  /** Number of the attempt of these handlers, from 1. */
  readonly attempt: number
  readonly delayMs: number
}

/** An attempt of one handler that is far away. */
export interface PostponedAttempt {
  readonly handler: HandlerEntry
  /** Number of its attempts that have failed. */
  readonly attempts: number
  readonly delayMs: number
}

/** True if the handlers pause, so that the attempt only probes. It does not count, even if it is interrupted. */
export function isProbe(handlers: readonly HandlerEntry[]): boolean {
  return handlers.every(({ limit }) => limit?.guard?.isPaused === true)
}

/** How far the handlers of an event are. */
export interface RetryProgress {
  /** The failed attempts of each handler that runs, or waits for its next attempt. */
  readonly unfinished: ReadonlyMap<HandlerEntry, number>
  readonly givenUp: readonly GivenUpHandler[]
  /** Number of attempts that run. */
  readonly running: number
}

/** What the retries need of the bus or subscription. */
export interface RetrySteps {
  /** Waits for the next attempt. @returns false if none may start. */
  sleep(ms: number, ended: AbortSignal): Promise<boolean>
  readonly event: DomainEvent
  /** Aborts when no attempt may start any more. */
  readonly stopping: AbortSignal
  /** Takes a slot. The caller of `HandlerRetries.run` holds one. */
  enter(): Promise<void>
  leave(): void
  /** No handler of the event runs, and some wait. @returns false if the event must not be handled any more. */
  waiting(progress: RetryProgress): Promise<boolean>
  /** An attempt is about to start. @returns false if it must not. */
  starting(next: NextAttempt, progress: RetryProgress): Promise<boolean>
  run(next: NextAttempt): Promise<readonly HandlerFailure[]> | readonly HandlerFailure[]
  discarded(failure: HandlerFailure, attempt: number): void
  /**
   * Stores the event for the attempt, which then no longer belongs to these retries. Absent if no attempt can be stored:
   * it then waits here. @returns false if the event must not be handled any more.
   */
  postpone?(attempt: PostponedAttempt): Promise<boolean>
  /** True if the error is not one of the handler: the attempt does not count, and is repeated without a limit. */
  isOutage?(error: Error): boolean
  /** True if the failures do not count, because the stop has aborted the handlers. */
  readonly isAbandoned: boolean
}

/**
 * The further attempts at one event. Handlers with the same policy that failed in the same attempt retry together; the
 * others have their own times.
 */
export class HandlerRetries implements RetryProgress {
  readonly #policies: FailurePolicies
  readonly #steps: RetrySteps
  readonly unfinished = new Map<HandlerEntry, number>()
  readonly givenUp: GivenUpHandler[] = []
  running = 0
  /** Number of attempts of a handler that an outage ended. */
  readonly #outages = new Map<HandlerEntry, number>()
  /** Created on demand: most events that fail are given up at once. */
  #endedBy: AbortController | undefined
  /** Reports of different handlers reach the bus one after the other. */
  readonly #reports = new Mutex()

  constructor(policies: FailurePolicies, steps: RetrySteps) {
    this.#policies = policies
    this.#steps = steps
  }

  /**
   * Call it with a slot, after the first attempt. Holds none while it waits.
   * @param failures - of that attempt, with the number that the attempt had for each handler.
   * @returns the handlers that were given up; undefined if the retries were interrupted.
   */
  async run(
    failures: readonly HandlerFailure[],
    attemptOf: (handler: HandlerEntry) => number,
  ): Promise<readonly GivenUpHandler[] | undefined> {
    if (this.#steps.isAbandoned) return undefined
    const groups = await this.#postponed(this.#judge(failures, attemptOf))
    if (groups === undefined) return undefined
    if (groups.length === 0) return this.givenUp
    if (!(await this.#steps.waiting(this))) return undefined
    this.#steps.leave()
    await Promise.all(groups.map((group) => this.#follow(group)))
    await this.#steps.enter()
    return this.#ended.signal.aborted ? undefined : this.givenUp
  }

  async #follow(first: NextAttempt): Promise<void> {
    let group: NextAttempt | undefined = first
    while (group !== undefined) {
      const next: readonly NextAttempt[] = await this.#again(group)
      if (next.length > 1) {
        await Promise.all(next.map((each) => this.#follow(each)))
        return
      }
      group = next[0]
    }
  }

  async #again(next: NextAttempt): Promise<readonly NextAttempt[]> {
    if (!(await this.#steps.sleep(next.delayMs, this.#ended.signal))) return this.#end()
    const release = await takeAll(limitsOf(next.handlers), this.#steps.stopping)
    if (release === undefined) return this.#end()
    await this.#steps.enter()
    try {
      if (!(await this.#reports.runExclusive(() => this.#start(next)))) return this.#end()
      const failures = await this.#steps.run(next)
      release()
      if (this.#steps.isAbandoned) return this.#end()
      for (const handler of next.handlers) this.unfinished.delete(handler)
      const groups = await this.#postponed(this.#judge(failures, () => next.attempt))
      if (groups === undefined) return this.#end()
      return (await this.#reports.runExclusive(() => this.#stopped())) ? groups : this.#end()
    } finally {
      release()
      this.#steps.leave()
    }
  }

  async #start(next: NextAttempt): Promise<boolean> {
    if (this.#ended.signal.aborted) return false
    const isAllowed = await this.#steps.starting(next, this)
    if (isAllowed) this.running += 1
    return isAllowed
  }

  /** An attempt has ended. While others run, the event counts as running. */
  async #stopped(): Promise<boolean> {
    this.running -= 1
    if (this.running > 0 || this.unfinished.size === 0) return true
    return this.#steps.waiting(this)
  }

  get #ended(): AbortController {
    this.#endedBy ??= new AbortController()
    return this.#endedBy
  }

  #end(): readonly NextAttempt[] {
    this.#ended.abort()
    return []
  }

  /** Stores the attempts that are far away. @returns the others; undefined if the event must not be handled any more. */
  async #postponed(groups: readonly Group[]): Promise<readonly Group[] | undefined> {
    if (this.#steps.postpone === undefined || !groups.some(({ isLong }) => isLong)) return groups
    for (const { handlers, attempt, delayMs, isLong } of groups) {
      for (const handler of isLong ? handlers : []) {
        if (!(await this.#steps.postpone?.({ handler, attempts: attempt - 1, delayMs }))) return undefined
        this.unfinished.delete(handler)
      }
    }
    return groups.filter(({ isLong }) => !isLong)
  }

  #judge(
    failures: readonly HandlerFailure[],
    attemptOf: (handler: HandlerEntry) => number,
  ): readonly Group[] {
    const groups: Group[] = []
    for (const failure of failures) {
      const { handler, error } = failure
      const attempt = attemptOf(handler)
      const policy = this.#policies.of(handler)
      if (this.#steps.isOutage?.(error) === true) {
        this.unfinished.set(handler, attempt - 1)
        addTo(groups, { handler, policy, attempt, verdict: this.#afterOutage(handler, policy) })
        continue
      }
      const verdict = policy.verdict(error, attempt)
      if (isFromOutage(failure, verdict, this.#steps.event)) {
        this.unfinished.set(handler, attempt - 1)
        addTo(groups, { handler, policy, attempt, verdict: ONCE_RESUMED })
      } else if (verdict.kind === 'discard') this.#steps.discarded(failure, attempt)
      else if (verdict.kind === 'giveUp') {
        this.givenUp.push({ ...failure, attempts: attempt, reason: verdict.reason })
      } else {
        this.unfinished.set(handler, attempt)
        addTo(groups, { handler, policy, attempt: attempt + 1, verdict })
      }
    }
    return groups
  }

  #afterOutage(handler: HandlerEntry, { retry }: FailurePolicy): RetryVerdict {
    const outages = (this.#outages.get(handler) ?? 0) + 1
    this.#outages.set(handler, outages)
    return { kind: 'retry', delayMs: retry.backoff(outages), isOwnDelay: true, isLong: false }
  }
}

type RetryVerdict = Extract<Verdict, { kind: 'retry' }>

/** The limit of the handler delays the attempt until the handler resumes. */
const ONCE_RESUMED = { kind: 'retry', delayMs: 0, isOwnDelay: true, isLong: false } as const

/** True if the handler pauses because of such failures: the attempt does not count. */
function isFromOutage({ handler, error }: HandlerFailure, verdict: Verdict, event: DomainEvent): boolean {
  const guard = handler.limit?.guard
  if (guard === undefined || verdict.kind === 'discard') return false
  const isRejected = verdict.kind === 'giveUp' && verdict.reason === 'rejected'
  return !isRejected && guard.failed(event, error)
}

interface Group extends NextAttempt {
  readonly handlers: HandlerEntry[]
  /** Undefined if the error chose the delay. */
  readonly policy: FailurePolicy | undefined
  readonly isLong: boolean
}

interface Retry {
  readonly handler: HandlerEntry
  readonly policy: FailurePolicy
  readonly attempt: number
  readonly verdict: RetryVerdict
}

function addTo(groups: Group[], { handler, policy, attempt, verdict }: Retry): void {
  const shared = verdict.isOwnDelay
    ? undefined
    : groups.find((group) => group.policy === policy && group.attempt === attempt)
  if (shared !== undefined) {
    shared.handlers.push(handler)
    return
  }
  const { delayMs, isOwnDelay, isLong } = verdict
  groups.push({ handlers: [handler], policy: isOwnDelay ? undefined : policy, attempt, delayMs, isLong })
}
