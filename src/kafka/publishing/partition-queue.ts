import { type BatchSequence, type RecordToWrite, sizeOfRecord } from '../wire/record-batch.ts'

/** The result of storing a record. */
export interface RecordOutcome {
  readonly status: 'stored' | 'notStored' | 'unknown'
  readonly error?: Error
}

/** A record that waits to be sent, or to be confirmed. */
export class QueuedRecord {
  readonly record: RecordToWrite
  readonly size: number
  /** The call that published it. Records of one call stay together. */
  readonly call: object
  readonly #settle: (outcome: RecordOutcome) => void
  /** True once the broker may have it. */
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

/** Records that are sent together. Each attempt has the same sequence. */
export interface Batch {
  records: readonly QueuedRecord[]
  readonly sequence: BatchSequence | undefined
  /** True once an answer was lost: the broker may have stored the batch. */
  isInDoubt: boolean
}

/** Identifies a producer. With the sequence, the broker recognizes records that are sent twice. */
export interface ProducerIdentity {
  readonly producerId: bigint
  readonly producerEpoch: number
}

/** Records for one partition. At most one batch is in flight, which keeps the order. */
export class PartitionQueue {
  readonly topic: string
  readonly partition: number
  #records: QueuedRecord[] = []
  #identity: ProducerIdentity | undefined
  #nextSequence = 0
  /** True after a batch in doubt was abandoned: its sequence numbers may be in use. */
  #hasUnknownSequence = false
  /** The batch in flight, or to be sent again. */
  batch: Batch | undefined
  isBusy = false
  /** Earliest time of the next attempt, by the monotonic clock. */
  notBefore = 0
  /** Failed attempts since the last stored batch. */
  failures = 0
  /** Limited after the broker found a batch too large. */
  #maxRecords = Number.POSITIVE_INFINITY

  constructor(topic: string, partition: number) {
    this.topic = topic
    this.partition = partition
  }

  get isEmpty(): boolean {
    return this.batch === undefined && this.#records.length === 0
  }

  /** True if it has records to send and none in flight. */
  get isWaiting(): boolean {
    return !this.isBusy && !this.isEmpty
  }

  add(record: QueuedRecord): void {
    this.#records.push(record)
  }

  /** Removes records that their callers have given up. */
  prune(): void {
    if (!this.isBusy && this.batch?.records.every(({ isSettled }) => isSettled) === true) this.abandon()
    if (this.#records.some(({ isSettled }) => isSettled)) {
      this.#records = this.#records.filter(({ isSettled }) => !isSettled)
    }
  }

  /** The batch to send now; undefined if there are no records. */
  next(identity: ProducerIdentity | undefined, targetBytes: number, maxBytes: number): Batch | undefined {
    this.prune()
    if (this.batch !== undefined) return this.batch
    const records = this.#take(targetBytes, maxBytes)
    if (records.length === 0) return undefined
    this.batch = { records, sequence: this.#sequenceFor(identity), isInDoubt: false }
    return this.batch
  }

  /**
   * Called when the batch is sent. A record that its caller has given up must not be sent if it was reported as not
   * stored. If an earlier attempt may have stored it, it was reported as unknown, and the batch must stay the same.
   */
  markSent(): void {
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
    // Sequence numbers wrap around at 2^31.
    if (this.#nextSequence > 0x7fffffff) this.#nextSequence -= 0x80000000
    this.batch = undefined
    this.failures = 0
    // One batch that was too large must not limit all later ones.
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

  /** Returns the records of the batch to the queue, to form another batch. */
  requeue(): void {
    this.#records.unshift(...(this.batch?.records ?? []))
    this.batch = undefined
  }

  /** Halves the batch, which was too large for the broker. @returns false if it is a single record. */
  split(): boolean {
    const count = this.batch?.records.length ?? 0
    if (count < 2) return false
    this.#maxRecords = Math.ceil(count / 2)
    this.requeue()
    return true
  }

  /** Drops the batch. If it is in doubt, the next batch needs another identity: it must not be mistaken for this one. */
  abandon(): void {
    if (this.batch?.isInDoubt === true) this.#hasUnknownSequence = true
    this.batch = undefined
  }

  /** True if the next sequence number of this identity is unknown. */
  needsNewIdentity(identity: ProducerIdentity | undefined): boolean {
    return this.#hasUnknownSequence && this.#identity === identity
  }

  /** The broker has certainly not stored the batch in the last attempt. */
  markNotStored(): void {
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
      this.#hasUnknownSequence = false
    }
    return { ...identity, first: this.#nextSequence }
  }
}
