import { settledBefore } from './deadline.ts'

/** Holds work back while it is closed. */
export class Gate {
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

  /** Resolves when the gate is open, with false when the signal aborts before. */
  async passed(signal: AbortSignal): Promise<boolean> {
    while (this.#opened !== undefined) {
      if (!(await settledBefore(this.#opened.promise, signal))) return false
    }
    return !signal.aborted
  }
}
