import type { StoredRecord } from '../wire/record-reader.ts'

/** A queue of fetched records. */
export class RecordBuffer {
  #records: StoredRecord[] = []
  #head = 0

  get length(): number {
    return this.#records.length - this.#head
  }

  get first(): StoredRecord | undefined {
    return this.#records[this.#head]
  }

  push(records: readonly StoredRecord[]): void {
    // Release the removed records here, because a busy buffer may never be empty.
    if (this.#head * 2 >= this.#records.length) {
      this.#records.splice(0, this.#head)
      this.#head = 0
    }
    for (const record of records) this.#records.push(record)
  }

  removeFirst(): void {
    this.#head += 1
  }

  clear(): void {
    this.#records = []
    this.#head = 0
  }
}
