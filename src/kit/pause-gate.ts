import { settledUntil } from './time.ts'

/** Holds work back while it is closed. */
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

  /** Resolves to true when the gate is open, to false if the signal aborts first. */
  async passed(signal: AbortSignal): Promise<boolean> {
    while (this.#opened !== undefined) {
      if (!(await settledUntil(this.#opened.promise, signal))) return false
    }
    return !signal.aborted
  }
}
