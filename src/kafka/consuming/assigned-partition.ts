import { FinishedPrefix } from '../../kit/finished-prefix.ts'
import type { DeadLetterReason, Intake } from '../../transport/transport.ts'
import type { AttemptHistory, PartitionProgress } from '../wire/progress.ts'
import type { StoredRecord } from '../wire/record-reader.ts'
import { AnnouncedRange } from './announced-range.ts'
import { addFinished, addUnfinished, type CommitState } from './commit-state.ts'
import { GivenBackRecords } from './given-back-records.ts'
import { HeldRecord, type RecordHolder } from './held-record.ts'
import { InheritedProgress } from './inherited-progress.ts'
import { RecordBuffer } from './record-buffer.ts'

/** The operations of a consumption that a partition uses. */
export interface PartitionOwner {
  /** False if the group may have evicted this member. */
  isMember(): boolean
  /** Called after each record that finished. */
  onFinished(partition: KafkaAssignedPartition): void
  /** Called after each record that was not started, or not retried, because this consumer may not be a member. */
  onGivenBack(): void
  requestCommit(): void
  /** Resolves when the present state is committed. @returns false if the partition was lost first. */
  whenCommitted(partition: KafkaAssignedPartition): Promise<boolean>
  deadLetter(record: HeldRecord, reason: DeadLetterReason): Promise<void>
}

/** Limits of one round of deliveries. */
export interface DeliveryLimits {
  /** Records of this partition that may be held. It leaves room for the other partitions if this one is stuck. */
  readonly share: number
  /** Records of all partitions that may still be delivered: an upper bound on redelivery after a crash. */
  readonly allowance: { left: number }
  /** Offsets between the first unfinished record and the last delivered one. */
  readonly window: number
}

/** A record in log order. Only finished records before an offset let it be committed. */
interface OrderedRecord {
  readonly offset: number
  readonly isFinished: boolean
}

/** One partition that this consumer owns, with its fetched, running and finished records. */
export class KafkaAssignedPartition implements RecordHolder {
  readonly topic: string
  readonly index: number
  readonly topicId: string
  readonly isReplays: boolean
  readonly #owner: PartitionOwner
  readonly #inherited: InheritedProgress
  readonly #delivered = new FinishedPrefix<OrderedRecord>()
  readonly #buffer = new RecordBuffer()
  /** The offset after the last record that was delivered or skipped. */
  #deliveredUpTo: number
  #held = 0
  #running = 0
  /** Held records that did not start because this consumer might not have been a member. */
  readonly #givenBack = new GivenBackRecords()
  readonly #announced: AnnouncedRange
  #version = 1
  #committedVersion = 0
  #uncommitted = 0
  #whenIdle: PromiseWithResolvers<void> | undefined
  #isRevoking = false
  /** The next offset to fetch. */
  position: number
  /** Epoch of the leader that wrote the record before `position`, if this consumer has fetched it. */
  lastEpoch: number | undefined
  /** True once another consumer owns the partition. Then nothing of it may start or be committed. */
  isLost = false

  constructor(
    owner: PartitionOwner,
    partition: {
      readonly topic: string
      readonly index: number
      readonly topicId: string
      readonly isReplays: boolean
    },
    offset: number,
    progress: PartitionProgress,
  ) {
    this.#owner = owner
    this.topic = partition.topic
    this.index = partition.index
    this.topicId = partition.topicId
    this.isReplays = partition.isReplays
    this.#inherited = new InheritedProgress(progress)
    this.#deliveredUpTo = offset
    this.#announced = new AnnouncedRange(offset)
    this.position = offset
  }

  /** Records that were fetched and not delivered. */
  get buffered(): number {
    return this.#buffer.length
  }

  /** Size of the records that were fetched and not delivered. */
  get bufferedBytes(): number {
    return this.#buffer.bytes
  }

  get hasMore(): boolean {
    return this.buffered > 0 || this.#givenBack.count > 0
  }

  get isDirty(): boolean {
    return !this.isLost && this.#version > this.#committedVersion
  }

  /** Finished records that a crash would redeliver. */
  get uncommitted(): number {
    return this.#uncommitted
  }

  /** Records that are held, or finished and not committed. */
  get load(): number {
    return this.#held + this.#uncommitted
  }

  get version(): number {
    return this.#version
  }

  get committedVersion(): number {
    return this.#committedVersion
  }

  /** Records the end of the log from a response of the leader. */
  noteLogEnd(logEnd: number): void {
    this.#inherited.bound(logEnd)
  }

  /** Buffers the records fetched from `position`. */
  addFetched(records: readonly StoredRecord[], nextOffset: number, lastEpoch?: number): void {
    this.#buffer.push(records)
    this.lastEpoch = lastEpoch ?? this.lastEpoch
    if (nextOffset > this.position) this.position = nextOffset
  }

  /** Continues at another offset, because the log no longer has `position`. Records fetched before it are kept. */
  restart(offset: number): void {
    if (offset < this.position) this.#buffer.clear()
    this.position = offset
    this.lastEpoch = undefined
    if (this.#delivered.first === undefined && this.buffered === 0) this.#deliveredUpTo = offset
    this.#changed()
  }

  /**
   * Delivers records to the pipeline within the limits.
   * @returns false if the pipeline is full.
   */
  deliver(intake: Intake, { share, allowance, window }: DeliveryLimits): boolean {
    if (!this.canStart() && !this.#prepareRedelivery()) return true
    for (let record = this.#givenBack.next; record !== undefined; record = this.#givenBack.next) {
      if (intake.room === 0) return false
      this.#givenBack.removeNext()
      this.#redeliver(intake, record)
    }
    while (!this.#isRevoking && !this.isLost) {
      const record = this.#buffer.first
      if (record === undefined) break
      // The log may have gaps of any size: skip to the record's offset.
      this.#deliveredUpTo = Math.max(this.#deliveredUpTo, record.offset)
      const history = this.#inherited.historyOf(record.offset)
      if (history !== undefined) {
        if (this.#held >= share || allowance.left <= 0) break
        if (record.offset - this.#committable() >= window) break
        if (!this.#isAnnounced(record.offset)) break
        if (intake.room === 0) return false
      }
      this.#buffer.removeFirst()
      this.#deliveredUpTo = record.offset + 1
      if (history === undefined) {
        this.#skipFinished(record.offset)
        continue
      }
      allowance.left -= 1
      this.#deliverRecord(intake, record, history)
    }
    return true
  }

  /** Nothing starts while a record is given back: later records of its lane would overtake it. */
  canStart(): boolean {
    return !this.isLost && !this.#isRevoking && this.#givenBack.waiting === 0 && this.#owner.isMember()
  }

  onStarted(record: HeldRecord): void {
    // Later attempts start in `beginAttempt`, which commits them.
    if (record.attemptsStarted > 0) return
    record.attemptsStarted = 1
    record.isAttempting = true
    this.markRunning(record)
  }

  /** Prevents the partition from being handed over until the record is idle or finished. */
  markRunning(record: HeldRecord): void {
    if (record.isRunning) return
    record.isRunning = true
    this.#running += 1
  }

  /** The record waits for its next attempt, and does not prevent a handover. */
  markIdle(record: HeldRecord): void {
    if (!record.isRunning) return
    record.isRunning = false
    this.#running -= 1
    if (this.#running === 0) this.#whenIdle?.resolve()
  }

  /** Resolves to true when the attempt is committed, so that it survives a crash. */
  commitAttempt(): Promise<boolean> {
    this.#changed()
    return this.#owner.whenCommitted(this)
  }

  async deadLetter(record: HeldRecord, reason: DeadLetterReason): Promise<void> {
    // The next owner publishes the dead letter.
    if (this.#isRevoking && !record.isRunning) throw new Error('The partition is being handed over.')
    this.markRunning(record)
    try {
      await this.#owner.deadLetter(record, reason)
    } catch (error) {
      this.markIdle(record)
      throw error
    }
  }

  finish(record: HeldRecord): void {
    if (record.isFinished) return
    record.isFinished = true
    this.#held -= 1
    this.#uncommitted += 1
    this.markIdle(record)
    this.#delivered.advance()
    this.#changed()
    this.#owner.onFinished(this)
  }

  /** The pipeline did not handle the record. It remains unfinished, for a redelivery or for the next owner. */
  giveBack(record: HeldRecord): void {
    if (record.isFinished) return
    this.markIdle(record)
    if (this.isLost || this.#isRevoking) return
    this.#givenBack.add(record)
    this.#owner.onGivenBack()
  }

  /** Starts no more records. Resolves when none is running. */
  revoke(): Promise<void> {
    this.#isRevoking = true
    if (this.#running === 0) return Promise.resolve()
    this.#whenIdle ??= Promise.withResolvers()
    return this.#whenIdle.promise
  }

  /** Another consumer owns the partition from this call on. */
  lose(): void {
    this.isLost = true
    this.#buffer.clear()
    this.#whenIdle?.resolve()
  }

  /** The state to commit now. @param isFinal - true if this consumer starts no more of its records. */
  commitState(isFinal: boolean): CommitState {
    const offset = this.#committable()
    const attempts = new Map<number, AttemptHistory>()
    const finished: [number, number][] = []
    let previous: number | undefined
    for (const record of this.#delivered) {
      if (record.isFinished) addFinished(finished, record.offset, previous)
      else if (record instanceof HeldRecord) addUnfinished(attempts, record, isFinal)
      previous = record.offset
    }
    this.#inherited.copyTo({ attempts, finished }, this.#deliveredUpTo)
    const own = isFinal ? offset : this.#announced.nextEnd(this.#deliveredUpTo)
    const openUpTo = Math.max(own, this.#inherited.openUpTo(this.#deliveredUpTo))
    const progress = { openUpTo, finished, attempts }
    return { offset, version: this.#version, progress, finished: this.#uncommitted }
  }

  onCommitted({ version, progress, offset, finished }: CommitState): void {
    this.#committedVersion = Math.max(this.#committedVersion, version)
    this.#announced.onCommitted(Math.max(progress.openUpTo, offset))
    this.#uncommitted -= finished
  }

  /** Prepares the redelivery of the given-back records, once every held record is finished or given back. */
  #prepareRedelivery(): boolean {
    if (this.isLost || this.#isRevoking || !this.#owner.isMember()) return false
    if (this.#held > this.#givenBack.count) return false
    this.#givenBack.prepare()
    return true
  }

  #redeliver(intake: Intake, former: HeldRecord): void {
    const { record, attemptsStarted: count, settledSoFar: settledHandlers } = former
    const held = new HeldRecord(this, record, { count, settledHandlers })
    this.#delivered.replace(former, held)
    intake.deliver(held)
  }

  #deliverRecord(intake: Intake, record: StoredRecord, history: AttemptHistory): void {
    const held = new HeldRecord(this, record, history)
    this.#delivered.push(held)
    this.#held += 1
    intake.deliver(held)
  }

  /** Skips a record that an earlier owner finished. */
  #skipFinished(offset: number): void {
    this.#delivered.push({ offset, isFinished: true })
    this.#delivered.advance()
    this.#changed()
  }

  /** Requests a commit if the announced range is about to end. */
  #isAnnounced(offset: number): boolean {
    if (this.#announced.needsExtension(offset)) {
      this.#changed()
      this.#owner.requestCommit()
    }
    return this.#announced.has(offset)
  }

  /** The first offset that is not finished. */
  #committable(): number {
    return this.#delivered.first?.offset ?? (this.buffered === 0 ? this.position : this.#deliveredUpTo)
  }

  #changed(): void {
    this.#version += 1
  }
}
