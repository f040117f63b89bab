import type { StoredRecord } from '../wire/stored-record.ts'

/** A queue of fetched records. */
export class RecordBuffer {
  #records: StoredRecord[] = []
  #head = 0
  #bytes = 0

  /** Size of the records, decompressed. */
  get bytes(): number {
    return this.#bytes
  }

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
    for (const record of records) {
      this.#records.push(record)
      this.#bytes += record.sizeBytes
    }
  }

  removeFirst(): void {
    const { first } = this
    if (first === undefined) return
    this.#bytes -= first.sizeBytes
    this.#head += 1
    if (this.length === 0) this.clear()
  }

  /** Removes the records from an offset on. */
  removeFrom(offset: number): void {
    const kept = this.#records.slice(this.#head).filter((record) => record.offset < offset)
    this.clear()
    this.push(kept)
  }

  clear(): void {
    this.#records = []
    this.#head = 0
    this.#bytes = 0
  }
}
