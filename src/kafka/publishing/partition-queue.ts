import { type BatchSequence, type RecordToWrite, sizeOfRecord } from '../wire/record-batch.ts'

/** What became of a record. */
export interface RecordOutcome {
  readonly status: 'stored' | 'notStored' | 'unknown'
  readonly error?: Error
}

/** A record on its way. */
export class QueuedRecord {
  readonly record: RecordToWrite
  readonly size: number
  /** Which call it belongs to: what was published together stays together. */
  readonly call: object
  readonly #settle: (outcome: RecordOutcome) => void
  /** True once it may be at the broker. */
  wasSent = false
  isSettled = false

  constructor(record: RecordToWrite, call: object, settle: (outcome: RecordOutcome) => void) {
    this.record = record
    this.size = sizeOfRecord(record)
    this.call = call
    this.#settle = settle
  }

  settle(outcome: RecordOutcome): void {
    if (this.isSettled) return
    this.isSettled = true
    this.#settle(outcome)
  }
}

/** Records that travel together, with the same sequence however often they are sent. */
export interface Batch {
  records: readonly QueuedRecord[]
  readonly sequence: BatchSequence | undefined
  /** True once an answer was lost, so that the broker may have it. */
  isInDoubt: boolean
}

/** Who produces: the broker knows records sent twice by this and their sequence. */
export interface ProducerIdentity {
  readonly producerId: bigint
  readonly producerEpoch: number
}

/** What waits for one partition. One batch is on its way at a time, which keeps the order. */
export class PartitionQueue {
  readonly topic: string
  readonly partition: number
  #records: QueuedRecord[] = []
  #identity: ProducerIdentity | undefined
  #nextSequence = 0
  #isTainted = false
  /** The batch to be sent again, or on its way. */
  batch: Batch | undefined
  isBusy = false
  /** No try before this time, by the monotonic clock. */
  notBefore = 0
  /** Tries since the last batch that was stored. */
  failures = 0
  /** Set after the broker found a batch too large. */
  #maxRecords = Number.POSITIVE_INFINITY

  constructor(topic: string, partition: number) {
    this.topic = topic
    this.partition = partition
  }

  get isEmpty(): boolean {
    return this.batch === undefined && this.#records.length === 0
  }

  /** True when something could be sent, were the time and the broker right. */
  get isWaiting(): boolean {
    return !this.isBusy && !this.isEmpty
  }

  add(record: QueuedRecord): void {
    this.#records.push(record)
  }

  /** Forgets records that their callers have given up. */
  prune(): void {
    if (!this.isBusy && this.batch?.records.every(({ isSettled }) => isSettled) === true) this.abandon()
    if (this.#records.some(({ isSettled }) => isSettled)) {
      this.#records = this.#records.filter(({ isSettled }) => !isSettled)
    }
  }

  /** The batch to send now. @returns undefined when all who wanted something have given up */
  next(identity: ProducerIdentity | undefined, targetBytes: number, maxBytes: number): Batch | undefined {
    this.prune()
    if (this.batch !== undefined) return this.batch
    const records = this.#take(targetBytes, maxBytes)
    if (records.length === 0) return undefined
    this.batch = { records, sequence: this.#sequenceFor(identity), isInDoubt: false }
    return this.batch
  }

  /**
   * To be called when the batch leaves. What its caller has given up by then was told to be not stored, so it must not
   * go; of a batch that went before, that was told to be unknown.
   */
  leave(): void {
    const { batch } = this
    if (batch === undefined) return
    if (!batch.records.some(({ wasSent }) => wasSent)) {
      batch.records = batch.records.filter(({ isSettled }) => !isSettled)
    }
    for (const record of batch.records) record.wasSent = true
  }

  succeed(): void {
    const { batch } = this
    if (batch === undefined) return
    if (batch.sequence?.producerId === this.#identity?.producerId) this.#nextSequence += batch.records.length
    // The sequence of a partition wraps around where a 32-bit number does.
    if (this.#nextSequence > 0x7fffffff) this.#nextSequence -= 0x80000000
    this.batch = undefined
    this.failures = 0
    // One that was too large must not make all that follow small.
    this.#maxRecords *= 2
    for (const record of batch.records) record.settle({ status: 'stored' })
  }

  fail(outcome: RecordOutcome): void {
    const { batch } = this
    const isInDoubt = batch?.isInDoubt === true
    this.abandon()
    for (const record of batch?.records ?? [])
      record.settle(isInDoubt ? { ...outcome, status: 'unknown' } : outcome)
  }

  /** The batch is formed anew, because the broker knows its producer no more. */
  reform(): void {
    this.#records.unshift(...(this.batch?.records ?? []))
    this.batch = undefined
  }

  /** The batch was too large for the broker, so it goes in halves. @returns false when it is a single record */
  split(): boolean {
    const count = this.batch?.records.length ?? 0
    if (count < 2) return false
    this.#maxRecords = Math.ceil(count / 2)
    this.reform()
    return true
  }

  /** Gives up the batch. What follows must not be taken for it, where it may be at the broker. */
  abandon(): void {
    if (this.batch?.isInDoubt === true) this.#isTainted = true
    this.batch = undefined
  }

  /** True when a batch was given up that may be at the broker, so that the next sequence is unknown. */
  needsOtherThan(identity: ProducerIdentity | undefined): boolean {
    return this.#isTainted && this.#identity === identity
  }

  /** The broker has certainly not stored the batch. */
  refused(): void {
    if (this.batch?.isInDoubt === true) return
    for (const record of this.batch?.records ?? []) record.wasSent = false
  }

  #take(targetBytes: number, maxBytes: number): QueuedRecord[] {
    let bytes = 0
    let count = 0
    for (const record of this.#records) {
      const isFull = bytes + record.size > maxBytes || count >= this.#maxRecords
      const isEnough = bytes >= targetBytes && record.call !== this.#records[count - 1]?.call
      if (count > 0 && (isFull || isEnough)) break
      bytes += record.size
      count += 1
    }
    return this.#records.splice(0, count)
  }

  #sequenceFor(identity: ProducerIdentity | undefined): BatchSequence | undefined {
    if (identity === undefined) return undefined
    if (this.#identity !== identity) {
      this.#identity = identity
      this.#nextSequence = 0
      this.#isTainted = false
    }
    return { ...identity, first: this.#nextSequence }
  }
}
