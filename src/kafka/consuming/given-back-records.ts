import type { HeldRecord } from './held-record.ts'

/** Held records that the pipeline did not handle, until they are redelivered in log order. */
export class GivenBackRecords {
  #waiting: HeldRecord[] = []
  #ready: HeldRecord[] = []

  /** Records that are not prepared for redelivery yet. */
  get waiting(): number {
    return this.#waiting.length
  }

  get count(): number {
    return this.#waiting.length + this.#ready.length
  }

  /** The next record to redeliver. */
  get next(): HeldRecord | undefined {
    return this.#ready[0]
  }

  add(record: HeldRecord): void {
    this.#waiting.push(record)
  }

  /** Makes the waiting records ready for redelivery. */
  prepare(): void {
    this.#ready = [...this.#ready, ...this.#waiting].sort((a, b) => a.offset - b.offset)
    this.#waiting = []
  }

  removeNext(): void {
    this.#ready.shift()
  }
}
