import type { DeadLetterReason, Delivery, IncomingMessage } from '../../transport/transport.ts'
import { messageOf } from '../wire/message.ts'
import type { AttemptNote } from '../wire/progress.ts'
import type { StoredRecord } from '../wire/record-reader.ts'

/** What a record asks of the partition that holds it. */
export interface RecordHolder {
  readonly topic: string
  readonly index: number
  /** True once the partition belongs to another consumer. */
  readonly isLost: boolean
  /** False while this consumer may no longer be a member of its group. */
  canBegin(): boolean
  begun(record: HeldRecord): void
  run(record: HeldRecord): void
  rest(record: HeldRecord): void
  giveBack(record: HeldRecord): void
  finish(record: HeldRecord): void
  /** @returns false if the partition was lost before the note was committed. */
  noteAttempt(): Promise<boolean>
  deadLetter(record: HeldRecord, reason: DeadLetterReason): Promise<void>
}

/** A record that was handed to the pipeline. */
export class HeldRecord implements Delivery {
  readonly record: StoredRecord
  readonly message: IncomingMessage
  readonly deliveryCount: number
  readonly partition: RecordHolder
  readonly settledHandlers: readonly string[]
  /** Those that have succeeded by now. */
  settledSoFar: readonly string[]
  attemptsBegun: number
  isFinished = false
  /** While an attempt is made at it. If the end interrupts it, it does not count. */
  isAttempting = false
  /** While an attempt is made or a dead letter stored: a partition is given away only when that has ended. */
  isRunning = false

  constructor(partition: RecordHolder, record: StoredRecord, note: AttemptNote) {
    this.partition = partition
    this.record = record
    this.message = messageOf(`${partition.topic}-${partition.index}-${record.offset}`, record)
    this.attemptsBegun = note.count
    this.deliveryCount = note.count + 1
    this.settledHandlers = note.settledHandlers
    this.settledSoFar = note.settledHandlers
  }

  get offset(): number {
    return this.record.offset
  }

  describe(): Readonly<Record<string, string | number>> {
    const { topic, index } = this.partition
    return {
      'messaging.destination.name': topic,
      'messaging.destination.partition.id': String(index),
      'messaging.kafka.offset': this.offset,
    }
  }

  begin(): boolean {
    if (!this.partition.canBegin()) {
      this.partition.giveBack(this)
      return false
    }
    this.partition.begun(this)
    return true
  }

  async beginAttempt(attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    this.settledSoFar = settledHandlers
    if (this.partition.canBegin()) {
      this.attemptsBegun = attempt
      this.isAttempting = true
      this.partition.run(this)
      if (await this.partition.noteAttempt()) return true
      this.isAttempting = false
    }
    this.partition.giveBack(this)
    return false
  }

  async attemptFailed(_attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    const isNews = settledHandlers.length > this.settledSoFar.length
    this.settledSoFar = settledHandlers
    this.isAttempting = false
    // Whoever gets the partition meanwhile reads it in the last commit.
    this.partition.rest(this)
    if (!isNews || (await this.partition.noteAttempt())) return true
    this.partition.giveBack(this)
    return false
  }

  ack(): void {
    this.partition.finish(this)
  }

  async deadLetter(reason: DeadLetterReason): Promise<boolean> {
    if (this.isFinished || this.partition.isLost) return this.isFinished
    this.isAttempting = false
    await this.partition.deadLetter(this, reason)
    this.partition.finish(this)
    return true
  }
}
