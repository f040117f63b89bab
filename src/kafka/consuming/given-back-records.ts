import type { HeldRecord } from './held-record.ts'

/**
 * Held records that the pipeline did not handle, until they are redelivered in log order. The records of a lane wait until
 * the pipeline holds no other of that lane, so that none overtakes another. Lanes do not wait for each other.
 */
export class GivenBackRecords {
  /** Records in the pipeline, by lane. Counted only while a record is given back. */
  #inPipeline: Map<string, number> | undefined
  readonly #waiting = new Map<string, HeldRecord[]>()
  #ready: HeldRecord[] = []
  #isSorted = true

  get isEmpty(): boolean {
    return this.#ready.length === 0 && this.#waiting.size === 0
  }

  /** The next record to redeliver. */
  get next(): HeldRecord | undefined {
    if (!this.#isSorted) this.#ready.sort((a, b) => a.offset - b.offset)
    this.#isSorted = true
    return this.#ready[0]
  }

  /** True while records of the lane wait: another one would overtake them. */
  isWaiting(lane: string): boolean {
    return this.#waiting.has(lane)
  }

  /** @param inPipeline - the records that the pipeline holds, without this one. */
  add(record: HeldRecord, inPipeline: () => Iterable<HeldRecord>): void {
    if (this.#inPipeline === undefined) this.#inPipeline = countByLane(inPipeline())
    else this.#count(record.lane, -1)
    const waiting = this.#waiting.get(record.lane)
    if (waiting === undefined) this.#waiting.set(record.lane, [record])
    else waiting.push(record)
    this.#release(record.lane)
  }

  /** The next record was redelivered. */
  removeNext(): void {
    this.#ready.shift()
    if (this.isEmpty) this.#inPipeline = undefined
  }

  /** The pipeline got a record. */
  onDelivered({ lane }: HeldRecord): void {
    this.#count(lane, 1)
  }

  /** The pipeline finished a record. */
  onFinished({ lane }: HeldRecord): void {
    if (this.#inPipeline === undefined) return
    this.#count(lane, -1)
    this.#release(lane)
  }

  /** Forgets the records from an offset on. */
  removeFrom(offset: number): void {
    const isKept = (record: HeldRecord) => record.offset < offset
    this.#ready = this.#ready.filter(isKept)
    for (const [lane, waiting] of this.#waiting) {
      const kept = waiting.filter(isKept)
      if (kept.length === 0) this.#waiting.delete(lane)
      else this.#waiting.set(lane, kept)
    }
    if (this.isEmpty) this.#inPipeline = undefined
  }

  #count(lane: string, change: number): void {
    const count = this.#inPipeline?.get(lane) ?? 0
    this.#inPipeline?.set(lane, count + change)
  }

  /** Makes the waiting records of a lane ready if the pipeline holds no other. */
  #release(lane: string): void {
    const waiting = this.#waiting.get(lane)
    if (waiting === undefined || (this.#inPipeline?.get(lane) ?? 0) > 0) return
    this.#waiting.delete(lane)
    this.#ready.push(...waiting)
    this.#isSorted = false
  }
}

function countByLane(records: Iterable<HeldRecord>): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { lane } of records) counts.set(lane, (counts.get(lane) ?? 0) + 1)
  return counts
}
