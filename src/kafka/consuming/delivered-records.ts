import { FinishedPrefix } from '../../kit/finished-prefix.ts'
import type { AttemptHistory } from '../wire/progress.ts'
import { addFinished, addUnfinished } from './commit-state.ts'
import { HeldRecord } from './held-record.ts'

/** A record in log order. Only finished records before an offset let it be committed. */
interface OrderedRecord {
  readonly offset: number
  readonly isFinished: boolean
}

/** The delivered records of a partition in log order, from the first unfinished one on. */
export class DeliveredRecords {
  readonly #records = new FinishedPrefix<OrderedRecord>()

  /** The offset of the first unfinished record; undefined if all are finished. */
  get firstUnfinished(): number | undefined {
    return this.#records.first?.offset
  }

  push(record: HeldRecord): void {
    this.#records.push(record)
  }

  /** Adds a record that an earlier owner finished. */
  pushFinished(offset: number): void {
    this.#records.push({ offset, isFinished: true })
    this.#records.advance()
  }

  /** Passes the finished records before the first unfinished one. */
  advance(): void {
    this.#records.advance()
  }

  replace(former: HeldRecord, redelivered: HeldRecord): void {
    this.#records.replace(former, redelivered)
  }

  /** The records that the pipeline has, and has neither finished nor given back. */
  *inPipeline(): Iterable<HeldRecord> {
    for (const record of this.#records) {
      if (record instanceof HeldRecord && !record.isFinished && !record.isGivenBack) yield record
    }
  }

  /** The attempts of unfinished records, and the ranges of finished ones. @param isFinal - as for `commitState`. */
  progress(isFinal: boolean) {
    const attempts = new Map<number, AttemptHistory>()
    const finished: [number, number][] = []
    let previous: number | undefined
    this.#records.forEach((record) => {
      if (record.isFinished) addFinished(finished, record.offset, previous)
      else if (record instanceof HeldRecord) addUnfinished(attempts, record, isFinal)
      previous = record.offset
    })
    return { attempts, finished }
  }

  /** Removes the records from an offset on. @returns the unfinished ones. */
  removeFrom(offset: number): readonly HeldRecord[] {
    const unfinished: HeldRecord[] = []
    for (const record of this.#records) {
      if (record.offset >= offset && record instanceof HeldRecord && !record.isFinished)
        unfinished.push(record)
    }
    this.#records.keep((record) => record.offset < offset)
    return unfinished
  }
}
