import type { Intake } from '../../transport/transport.ts'
import type { AttemptHistory } from '../wire/progress.ts'
import type { EpochStart } from '../wire/record-reader.ts'
import type { StoredRecord } from '../wire/stored-record.ts'
import { AnnouncedRange } from './announced-range.ts'
import type { CommitState } from './commit-state.ts'
import { DeliveredRecords } from './delivered-records.ts'
import type { DeliveryLimits } from './delivery-limits.ts'
import { GivenBackRecords } from './given-back-records.ts'
import { HeldRecord, type PartitionPlace, type RecordHolder, type RecordStore } from './held-record.ts'
import { InheritedProgress } from './inherited-progress.ts'
import { LeaderEpochs } from './leader-epochs.ts'
import type { CommittedOffset } from './offsets.ts'
import { RecordBuffer } from './record-buffer.ts'
import { RunningRecords } from './running-records.ts'
import { UncommittedWork } from './uncommitted-work.ts'

/** The operations of a consumption that a partition uses. */
export interface PartitionOwner extends RecordStore {
  /** False if the group may have evicted this member. */
  isMember(): boolean
  /** Called after each record that finished. */
  onFinished(partition: KafkaAssignedPartition): void
  /** Called after each record that was not started, or not retried, because this consumer may not be a member. */
  onGivenBack(): void
  requestCommit(): void
  /** Resolves when the present state is committed. @returns false if the partition was lost first. */
  whenCommitted(partition: KafkaAssignedPartition): Promise<boolean>
}

/** One partition that this consumer owns, with its fetched, running and finished records. */
export class KafkaAssignedPartition implements RecordHolder {
  readonly topic: string
  readonly index: number
  readonly topicId: string
  readonly isReplays: boolean
  readonly running = new RunningRecords()
  readonly #owner: PartitionOwner
  readonly #inherited: InheritedProgress
  readonly #delivered = new DeliveredRecords()
  readonly #buffer = new RecordBuffer()
  readonly #epochs: LeaderEpochs
  /** The offset after the last record that was delivered or skipped. */
  #deliveredUpTo: number
  #held = 0
  /** Held records that did not start because this consumer might not have been a member. */
  readonly #givenBack = new GivenBackRecords()
  readonly #announced: AnnouncedRange
  #version = 1
  #committedVersion = 0
  #uncommitted = 0
  #committedOffset: number
  /** What this consumer finished when it owned the partition before. */
  readonly #work: UncommittedWork
  #isRevoking = false
  /** The next offset to fetch. */
  position: number
  /** True once another consumer owns the partition. Then nothing of it may start or be committed. */
  isLost = false

  constructor(
    owner: PartitionOwner,
    partition: PartitionPlace,
    { offset, progress, epoch }: CommittedOffset,
    work = new UncommittedWork(),
  ) {
    this.#owner = owner
    this.topic = partition.topic
    this.index = partition.index
    this.topicId = partition.topicId
    this.isReplays = partition.isReplays
    this.#inherited = new InheritedProgress(progress)
    this.#epochs = new LeaderEpochs(epoch)
    this.#deliveredUpTo = offset
    this.#announced = new AnnouncedRange(offset)
    this.position = offset
    this.#committedOffset = offset
    this.#work = work
    work.regained(offset)
  }

  /** Epoch of the leader that wrote the record before `position`, if it is known. */
  get lastEpoch(): number | undefined {
    return this.#epochs.before(this.position)
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
    return this.buffered > 0 || !this.#givenBack.isEmpty
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
  addFetched(records: readonly StoredRecord[], nextOffset: number, epochs: readonly EpochStart[] = []): void {
    this.#buffer.push(records)
    this.#epochs.add(epochs)
    if (nextOffset > this.position) this.position = nextOffset
  }

  /** Continues at another offset, because the log no longer has `position`. Records fetched before it are kept. */
  restart(offset: number): void {
    if (offset < this.position) this.#forgetFrom(offset)
    this.#epochs.clear()
    this.#continueAt(offset)
  }

  /** Continues at the offset from which on the log has other records than those that were read. */
  cut(offset: number): void {
    this.#forgetFrom(offset)
    this.#epochs.cut(offset)
    this.#continueAt(offset)
  }

  /**
   * Delivers records to the pipeline within the limits.
   * @returns false if the pipeline is full.
   */
  deliver(intake: Intake, { share, allowance, window }: DeliveryLimits): boolean {
    if (!this.#isOurs) return true
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
      const history = this.isDone(record) ? undefined : this.#inherited.historyOf(record.offset)
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

  /** No record of a lane starts while another one of it is given back: it would overtake it. */
  canStart(record: HeldRecord): boolean {
    return this.#isOurs && !record.isFinished && !this.#givenBack.isWaiting(record.lane)
  }

  isDone({ offset }: { readonly offset: number }): boolean {
    return this.#work.has(offset, this.#epochs)
  }

  onStarted(record: HeldRecord): void {
    // Later attempts start in `beginAttempt`, which commits them.
    if (record.attemptsStarted > 0) return
    record.attemptsStarted = 1
    record.isAttempting = true
    this.running.add(record)
  }

  /** Resolves to true when the attempt is committed, so that it survives a crash. */
  commitAttempt(): Promise<boolean> {
    this.#changed()
    return this.#owner.whenCommitted(this)
  }

  async store<T>(record: HeldRecord, store: (records: RecordStore) => Promise<T>): Promise<T> {
    // The next owner stores the copy.
    if (this.#isRevoking && !record.isRunning) throw new Error('The partition is being handed over.')
    this.running.add(record)
    try {
      return await store(this.#owner)
    } catch (error) {
      this.running.remove(record)
      throw error
    }
  }

  finish(record: HeldRecord): void {
    if (record.isFinished) return
    record.isFinished = true
    if (this.isLost) this.#work.finishedLate(record.offset, this.#epochs)
    this.#held -= 1
    this.#uncommitted += 1
    this.running.remove(record)
    this.#delivered.advance()
    this.#givenBack.onFinished(record)
    this.#changed()
    this.#owner.onFinished(this)
  }

  /** The pipeline did not handle the record. It remains unfinished, for a redelivery or for the next owner. */
  giveBack(record: HeldRecord): void {
    if (record.isFinished) return
    this.running.remove(record)
    if (this.isLost || this.#isRevoking) return
    record.isGivenBack = true
    this.#givenBack.add(record, () => this.#delivered.inPipeline())
    this.#owner.onGivenBack()
  }

  /** Starts no more records. Resolves when none is running. */
  revoke(): Promise<void> {
    this.#isRevoking = true
    return this.running.whenNone()
  }

  /** Another consumer owns the partition from this call on. */
  lose(): void {
    if (this.isDirty) this.#rememberFinished()
    this.isLost = true
    this.#buffer.clear()
    this.running.release()
  }

  /** The state to commit now. @param isFinal - true if this consumer starts no more of its records. */
  commitState(isFinal: boolean): CommitState {
    const offset = this.#committable()
    const { attempts, finished } = this.#delivered.progress(isFinal)
    this.#inherited.copyTo({ attempts, finished }, this.#deliveredUpTo)
    const own = isFinal ? offset : this.#announced.nextEnd(this.#deliveredUpTo)
    const openUpTo = Math.max(own, this.#inherited.openUpTo(this.#deliveredUpTo))
    const progress = { openUpTo, finished, attempts, topicId: this.topicId }
    const epoch = this.#epochs.before(offset)
    return { offset, epoch, version: this.#version, progress, finished: this.#uncommitted }
  }

  onCommitted({ version, progress, offset, finished }: CommitState): void {
    this.#committedVersion = Math.max(this.#committedVersion, version)
    this.#announced.onCommitted(Math.max(progress.openUpTo, offset))
    this.#uncommitted -= finished
    this.#committedOffset = offset
    this.#epochs.trim(offset)
    this.#work.committed(offset)
  }

  /** False while another consumer may own the partition. */
  get #isOurs(): boolean {
    return !this.isLost && !this.#isRevoking && this.#owner.isMember()
  }

  #rememberFinished(): void {
    const { offset, progress } = this.commitState(true)
    this.#work.lost(
      this.#committedOffset,
      [[this.#committedOffset, offset], ...progress.finished],
      this.#epochs,
    )
  }

  #redeliver(intake: Intake, former: HeldRecord): void {
    const { record, attemptsStarted: count, settledSoFar: settledHandlers } = former
    const held = new HeldRecord(this, record, { count, settledHandlers })
    this.#delivered.replace(former, held)
    this.#givenBack.onDelivered(held)
    intake.deliver(held)
  }

  #deliverRecord(intake: Intake, record: StoredRecord, history: AttemptHistory): void {
    const held = new HeldRecord(this, record, history)
    this.#delivered.push(held)
    this.#held += 1
    this.#givenBack.onDelivered(held)
    intake.deliver(held)
  }

  /** Skips a record that an earlier owner finished. */
  #skipFinished(offset: number): void {
    this.#delivered.pushFinished(offset)
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
    return this.#delivered.firstUnfinished ?? (this.buffered === 0 ? this.position : this.#deliveredUpTo)
  }

  #continueAt(offset: number): void {
    this.position = offset
    if (this.#delivered.firstUnfinished === undefined && this.buffered === 0) this.#deliveredUpTo = offset
    this.#changed()
  }

  /** Other records have these offsets from now on. What still runs of the former ones is not settled. */
  #forgetFrom(offset: number): void {
    this.#buffer.removeFrom(offset)
    this.#inherited.cut(offset)
    this.#givenBack.removeFrom(offset)
    for (const record of this.#delivered.removeFrom(offset)) {
      record.isFinished = true
      this.#held -= 1
      this.running.remove(record)
      if (!record.isGivenBack) this.#givenBack.onFinished(record)
    }
    this.#deliveredUpTo = Math.min(this.#deliveredUpTo, offset)
  }

  #changed(): void {
    this.#version += 1
  }
}
