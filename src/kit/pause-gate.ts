import { settledUntil } from './time.ts'

/** Makes callers of `passed` wait while it is closed. */
export class PauseGate {
  #opened: PromiseWithResolvers<void> | undefined

  get isOpen(): boolean {
    return this.#opened === undefined
  }

  close(): void {
    this.#opened ??= Promise.withResolvers()
  }

  open(): void {
    this.#opened?.resolve()
    this.#opened = undefined
  }

  /** Waits until the gate is open. @returns false if the signal aborted first. */
  async passed(signal: AbortSignal): Promise<boolean> {
    while (this.#opened !== undefined) {
      if (!(await settledUntil(this.#opened.promise, signal))) return false
    }
    return !signal.aborted
  }
}
