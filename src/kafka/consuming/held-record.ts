import { type ReplayTarget, replayTarget } from '../../transport/replay-headers.ts'
import { isRecorded } from '../../transport/settled-handlers.ts'
import type { DeadLetterReason, Delivery, IncomingMessage } from '../../transport/transport.ts'
import type { Wait } from '../../transport/waiting.ts'
import { type MessageNames, RecordMessage } from '../wire/message.ts'
import type { AttemptHistory } from '../wire/progress.ts'
import type { StoredRecord } from '../wire/stored-record.ts'
import type { RunningRecords } from './running-records.ts'

/** Stores copies of records. Each method resolves when the copy is safe. */
export interface RecordStore {
  deadLetter(record: HeldRecord, reason: DeadLetterReason): Promise<void>
  postpone(record: HeldRecord, wait: Wait): Promise<void>
  /** @returns as `Delivery.waitBehind`. */
  waitBehind(record: HeldRecord, handlerName: string, limit: number): Promise<number>
  passOn(record: HeldRecord, except: readonly string[]): Promise<void>
}

export interface PartitionPlace {
  readonly topic: string
  readonly index: number
  readonly topicId: string
  /** True for the topic with the replays of this group. */
  readonly isReplays: boolean
}

/** The partition of a held record, as the record sees it. */
export interface RecordHolder extends PartitionPlace {
  readonly running: RunningRecords
  /** True once the partition belongs to another consumer. */
  readonly isLost: boolean
  /** False while this consumer may no longer be a member of its group, or another record has to come first. */
  canStart(record: HeldRecord): boolean
  /** True if this consumer has finished the record: it lost the partition meanwhile, and owns it again. */
  isDone(record: HeldRecord): boolean
  onStarted(record: HeldRecord): void
  giveBack(record: HeldRecord): void
  finish(record: HeldRecord): void
  /** Commits the attempts of the partition's records. @returns false if the partition was lost first. */
  commitAttempt(): Promise<boolean>
  /** Stores a copy of the record. The partition is not handed over meanwhile. */
  store<T>(record: HeldRecord, store: (records: RecordStore) => Promise<T>): Promise<T>
}

/** A record that was delivered to the pipeline. */
export class HeldRecord implements Delivery, MessageNames {
  readonly record: StoredRecord
  readonly message: IncomingMessage
  readonly deliveryCount: number
  readonly partition: RecordHolder
  readonly settledHandlers: readonly string[]
  readonly replayTarget: ReplayTarget | undefined
  /** Handlers that have succeeded by now, in this delivery or an earlier one. */
  settledSoFar: readonly string[]
  attemptsStarted: number
  isFinished = false
  /** True while an attempt runs. An attempt that a stop interrupts does not count. */
  isAttempting = false
  /** True while an attempt runs or a dead letter is stored. The partition is not handed over meanwhile. */
  isRunning = false
  /** True once the pipeline has given it back. A redelivery is another held record. */
  isGivenBack = false

  constructor(partition: RecordHolder, record: StoredRecord, history: AttemptHistory) {
    this.partition = partition
    this.record = record
    this.message = new RecordMessage(this, record)
    // Any producer can write the same header to the stream's topic.
    this.replayTarget = partition.isReplays ? replayTarget(this.message.headers) : undefined
    this.attemptsStarted = history.count
    this.deliveryCount = history.count + 1
    this.settledHandlers = history.settledHandlers
    this.settledSoFar = history.settledHandlers
  }

  messageId(offset: number): string {
    const { topic, index } = this.partition
    return `${topic}-${index}-${offset}`
  }

  get offset(): number {
    return this.record.offset
  }

  /** Records of one lane are handled in order. A record without a key has a lane of its own. */
  get lane(): string {
    return this.message.key ?? `\0${this.offset}`
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
    if (!this.partition.canStart(this)) {
      this.partition.giveBack(this)
      return false
    }
    if (this.partition.isDone(this)) {
      this.ack()
      return false
    }
    this.partition.onStarted(this)
    return true
  }

  async beginAttempt(attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    this.settledSoFar = settledHandlers
    if (this.partition.canStart(this)) {
      this.attemptsStarted = attempt
      this.isAttempting = true
      this.partition.running.add(this)
      if (await this.partition.commitAttempt()) return true
      this.isAttempting = false
    }
    this.partition.giveBack(this)
    return false
  }

  async attemptFailed(_attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    const hasNews = !isRecorded(settledHandlers, this.settledSoFar)
    this.settledSoFar = settledHandlers
    this.isAttempting = false
    // The partition may be handed over during the wait: its last commit contains this attempt.
    this.partition.running.remove(this)
    if (!hasNews || (await this.partition.commitAttempt())) return true
    this.partition.giveBack(this)
    return false
  }

  ack(): void {
    this.partition.finish(this)
  }

  async deadLetter(reason: DeadLetterReason): Promise<boolean> {
    if (this.isFinished || this.partition.isLost) return this.isFinished
    this.isAttempting = false
    await this.partition.store(this, (records) => records.deadLetter(this, reason))
    this.partition.finish(this)
    return true
  }

  async postpone(wait: Wait): Promise<boolean> {
    if (this.isFinished || this.partition.isLost) return false
    this.isAttempting = false
    await this.partition.store(this, (records) => records.postpone(this, wait))
    return true
  }

  async waitBehind(handlerName: string, limit: number): Promise<number | undefined> {
    if (this.isFinished || this.partition.isLost) return undefined
    const wasRunning = this.isRunning
    const before = await this.partition.store(this, (records) => records.waitBehind(this, handlerName, limit))
    if (!wasRunning) this.partition.running.remove(this)
    // The partition may have been lost, or a record before this one given back, since the handling started.
    if ((before > 0 && before < limit) || this.partition.canStart(this)) return before
    this.partition.giveBack(this)
    return undefined
  }

  async passOn(except: readonly string[] = []): Promise<boolean> {
    if (this.isFinished || this.partition.isLost) return false
    await this.partition.store(this, (records) => records.passOn(this, except))
    return true
  }
}
