import type { DeadLetterReason, Delivery, IncomingMessage } from '../bus/transport.ts'
import type { KafkaAssignedPartition } from './kafka-assigned-partition.ts'
import type { AttemptNote } from './kafka-progress.ts'
import type { StoredRecord } from './kafka-record-reader.ts'
import { messageOf } from './kafka-wire.ts'

/** A record that was handed to the pipeline. */
export class HeldRecord implements Delivery {
  readonly record: StoredRecord
  readonly message: IncomingMessage
  readonly deliveryCount: number
  readonly partition: KafkaAssignedPartition
  readonly settledHandlers: readonly string[]
  /** Those that have succeeded by now. */
  settledSoFar: readonly string[]
  attemptsBegun: number
  isFinished = false
  /** Between `begin` and the end. */
  isRunning = false

  constructor(partition: KafkaAssignedPartition, record: StoredRecord, note: AttemptNote) {
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
      if (await this.partition.noteAttempt()) return true
    }
    this.partition.giveBack(this)
    return false
  }

  ack(): void {
    this.partition.finish(this)
  }

  async deadLetter(reason: DeadLetterReason): Promise<void> {
    if (this.isFinished || this.partition.isLost) return
    await this.partition.deadLetter(this, reason)
    this.partition.finish(this)
  }
}
