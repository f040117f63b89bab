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
  /** Records before this index were taken. */
  #head = 0
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
    return this.batch === undefined && this.#head === this.#records.length
  }

  /** True if it has records to send and none in flight. */
  get isWaiting(): boolean {
    return !this.isBusy && !this.isEmpty
  }

  add(record: QueuedRecord): void {
    this.#records.push(record)
  }

  /** Releases records that their callers have given up. Its work grows with what waits: call it once for many of them. */
  prune(): void {
    this.#abandonGivenUp()
    this.#records = this.#records.slice(this.#head).filter(({ isSettled }) => !isSettled)
    this.#head = 0
  }

  /** The batch to send now; undefined if there are no records. */
  next(identity: ProducerIdentity | undefined, targetBytes: number, maxBytes: number): Batch | undefined {
    this.#abandonGivenUp()
    if (this.batch !== undefined) return this.batch
    const records = this.#take(targetBytes, maxBytes)
    if (records.length === 0) return undefined
    this.batch = { records, sequence: this.#sequenceFor(identity), isInDoubt: false }
    return this.batch
  }

  /**
   * Called when the batch is sent. A record that its caller has given up must not be sent if it was reported as not
   * stored. If an earlier attempt may have stored the batch, it must stay the same; all its records were sent then.
   */
  markSent(): void {
    const { batch } = this
    if (batch === undefined) return
    if (!batch.isInDoubt) batch.records = batch.records.filter(({ isSettled }) => !isSettled)
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
    this.#records = [...(this.batch?.records ?? []), ...this.#records.slice(this.#head)]
    this.#head = 0
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

  /**
   * Drops the batch. If it is in doubt, the next batch needs another identity: it must not be mistaken for this one.
   */
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

  #abandonGivenUp(): void {
    if (!this.isBusy && this.batch?.records.every(({ isSettled }) => isSettled) === true) this.abandon()
  }

  /** Takes the next records. The work is proportional to their number, however many wait behind them. */
  #take(targetBytes: number, maxBytes: number): QueuedRecord[] {
    const taken: QueuedRecord[] = []
    let bytes = 0
    for (let record = this.#records[this.#head]; record !== undefined; record = this.#records[this.#head]) {
      if (!record.isSettled) {
        const isFull = bytes + record.size > maxBytes || taken.length >= this.#maxRecords
        const isEnough = bytes >= targetBytes && record.call !== taken.at(-1)?.call
        if (taken.length > 0 && (isFull || isEnough)) break
        bytes += record.size
        taken.push(record)
      }
      this.#head += 1
    }
    // Removes taken records from the array in larger steps, so that the work per record stays constant.
    if (this.#head * 2 >= this.#records.length) {
      this.#records = this.#records.slice(this.#head)
      this.#head = 0
    }
    return taken
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
