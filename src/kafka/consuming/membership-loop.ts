import { toError } from '../../errors.ts'
import { sleep } from '../../kit/time.ts'
import { FirstAssignment } from './first-assignment.ts'

/** One protocol's part of the loop. */
export interface MembershipProtocol {
  /** Gets the current assignment and applies it. */
  enter(): Promise<void>
  /** Remains a member until the next `enter` is due. */
  stay(): Promise<void>
  /** Handles a failure of either. @returns the delay before the next attempt, in milliseconds. */
  recover(error: Error, failures: number): number
}

/** Repeats the steps of a membership until it is stopped: enter, stay, and recover from failures. */
export class MembershipLoop {
  readonly firstAssignment = new FirstAssignment()
  readonly #whenUp: (signal: AbortSignal) => Promise<boolean>
  readonly #stopped = new AbortController()
  #interrupted = new AbortController()
  #ended: Promise<void> = Promise.resolve()

  /** @param whenUp - waits for the brokers; false if the signal aborts first. */
  constructor(whenUp: (signal: AbortSignal) => Promise<boolean>) {
    this.#whenUp = whenUp
  }

  get isStopped(): boolean {
    return this.#stopped.signal.aborted
  }

  /** Resolves when no step runs any more. */
  get ended(): Promise<void> {
    return this.#ended
  }

  start(protocol: MembershipProtocol): void {
    this.#ended = this.#run(protocol)
  }

  /** Waits within `stay`. @returns false if the wait was interrupted or the loop was stopped. */
  pause(ms: number): Promise<boolean> {
    this.#interrupted = new AbortController()
    return sleep(ms, AbortSignal.any([this.#stopped.signal, this.#interrupted.signal]))
  }

  /** Ends a pause. No-op if there is none. */
  interrupt(): void {
    this.#interrupted.abort()
  }

  /** Starts no further step. */
  stop(): void {
    this.#stopped.abort()
    this.firstAssignment.end()
  }

  async #run(protocol: MembershipProtocol): Promise<void> {
    const { signal } = this.#stopped
    for (let failures = 0; !signal.aborted && (await this.#whenUp(signal)); ) {
      try {
        await protocol.enter()
        failures = 0
        await protocol.stay()
      } catch (thrown) {
        if (signal.aborted) return
        failures += 1
        await sleep(protocol.recover(toError(thrown), failures), signal)
      }
    }
  }
}
