import { setImmediate as nextTurn } from 'node:timers/promises'
import { currentFrame } from '../events/causation.ts'
import { HandlerDeadlockError } from './errors.ts'
import type { RunInfo } from './handler-run.ts'

/**
 * The handlers of one event while they run. Code in a handler can find this object, even in asynchronous calls and in
 * handlers of another bus that the handler publishes to. A call uses it to detect that it would wait for its own
 * caller.
 */
export class RunningHandlers {
  readonly #owner: object
  #info: RunInfo | undefined
  /** The handlers that wait for these. Removed when these end, so that a chain of publishes does not keep all of them. */
  #outer: RunningHandlers | undefined

  /** @param owner - the bus or subscription that waits for the handlers when it stops. */
  constructor(owner: object, info: RunInfo) {
    this.#owner = owner
    this.#info = info
    this.#outer = currentHandlers()
  }

  /** The owner no longer waits for the handlers. */
  end(): void {
    this.#info = undefined
    this.#outer = undefined
  }

  /** False once the owner no longer waits for them. */
  get areRunning(): boolean {
    return this.#info !== undefined
  }

  /** What the handlers were given; undefined once they ended. */
  get info(): RunInfo | undefined {
    return this.#info
  }

  /** The handlers of this owner that the calling code belongs to; undefined if none of them waits for the caller. */
  static of(owner: object): RunningHandlers | undefined {
    let running = currentHandlers()
    while (running !== undefined && running.#owner !== owner) running = running.#outer
    return running?.areRunning === true ? running : undefined
  }
}

function currentHandlers(): RunningHandlers | undefined {
  const running = currentFrame()?.running
  return running instanceof RunningHandlers ? running : undefined
}

/** True if a handler of this bus or subscription waits for the calling code, so that waiting for the handler would deadlock. */
function isInHandlerOf(owner: object): boolean {
  return RunningHandlers.of(owner) !== undefined
}

/**
 * Stops a bus or subscription, and waits for it unless one of its handlers waits for the calling code. A handler that
 * has ended by the next turn of the event loop did not wait. The stop starts only after the calling handler is counted
 * as running.
 * @param stop - must not reject.
 */
export async function stopFromAnywhere(owner: object, stop: () => Promise<unknown>): Promise<void> {
  const handlers = RunningHandlers.of(owner)
  if (handlers !== undefined) await Promise.resolve()
  const stopped = stop()
  if (handlers !== undefined) await nextTurn()
  if (handlers?.areRunning !== true) await stopped
}

/** @throws HandlerDeadlockError if a handler of this bus or subscription waits for the calling code. */
export function refuseInHandlerOf(owner: object, call: string): void {
  if (isInHandlerOf(owner)) throw new HandlerDeadlockError(call)
}
