import type { DeadLetterReason, Intake } from '../../transport/transport.ts'
import type { AttemptNote, PartitionProgress } from '../wire/progress.ts'
import type { StoredRecord } from '../wire/record-reader.ts'
import { HeldRecord, type RecordHolder } from './held-record.ts'

/** How many records are announced ahead when it is quiet. */
const LEAST_RESERVE = 64
/** How many at most under load: it doubles whenever handing over has to wait for it. */
const MOST_RESERVE = 4096

const NOT_BEGUN: AttemptNote = { count: 0, settledHandlers: [] }
const PERHAPS_BEGUN: AttemptNote = { count: 1, settledHandlers: [] }

/** What a partition asks of its consumption. */
export interface PartitionOwner {
  /** False when the group may have put this member out. */
  isMember(): boolean
  /** Called after each record that ended. */
  onFinished(partition: KafkaAssignedPartition): void
  /** Called after each record that was not begun, or not begun again, because this may be no member. */
  onGivenBack(): void
  /** Wants a commit soon. */
  wantCommit(): void
  /** @returns false when the partition was lost before its state was committed */
  committed(partition: KafkaAssignedPartition): Promise<boolean>
  deadLetter(record: HeldRecord, reason: DeadLetterReason): Promise<void>
}

/** How far a partition may go when it hands records over. */
export interface DeliveryLimits {
  /** Records of this partition that may be held: a stuck one leaves room to the others. */
  readonly share: number
  /** Records that may be held, or finished and not committed, of all partitions: so many may a crash bring back. */
  readonly allowance: { left: number }
  /** Offsets between the first unfinished record and the last one that was handed over. */
  readonly window: number
}

/** What is committed of a partition. */
export interface CommitState {
  readonly offset: number
  readonly progress: PartitionProgress
  readonly version: number
  /** How many finished records it tells of for the first time. */
  readonly finished: number
}

/** A place in the order of the log: only finished ones before it let an offset be committed. */
interface Tracked {
  readonly offset: number
  readonly isFinished: boolean
}

/** One partition that this consumer owns: what was fetched, what is being handled, what is finished. */
export class KafkaAssignedPartition implements RecordHolder {
  readonly topic: string
  readonly index: number
  readonly topicId: string
  readonly #owner: PartitionOwner
  readonly #inherited: PartitionProgress
  #tracked: Tracked[] = []
  #head = 0
  #buffer: StoredRecord[] = []
  #bufferHead = 0
  /** The offset after the last record that was delivered or passed. */
  #deliveredUpTo: number
  #held = 0
  #running = 0
  /** Held ones that the pipeline refused to begin while this might have been no member. */
  #givenBack: HeldRecord[] = []
  /** Those of them that are to be handed over again, since it was one all the time. */
  #again: HeldRecord[] = []
  #reserve = LEAST_RESERVE
  #openUpTo: number
  #version = 1
  #committedVersion = 0
  #uncommitted = 0
  #whenQuiet: PromiseWithResolvers<void> | undefined
  #isRevoking = false
  /** The offset to fetch next. */
  position: number
  /** True once it belongs to somebody else: nothing of it may begin or be committed. */
  isLost = false

  constructor(
    owner: PartitionOwner,
    place: { readonly topic: string; readonly index: number; readonly topicId: string },
    offset: number,
    progress: PartitionProgress,
  ) {
    this.#owner = owner
    this.topic = place.topic
    this.index = place.index
    this.topicId = place.topicId
    this.#inherited = progress
    this.#deliveredUpTo = offset
    this.#openUpTo = offset
    this.position = offset
  }

  /** Records that were fetched and not delivered. */
  get buffered(): number {
    return this.#buffer.length - this.#bufferHead
  }

  get hasMore(): boolean {
    return this.buffered > 0 || this.#again.length > 0 || this.#givenBack.length > 0
  }

  get isDirty(): boolean {
    return !this.isLost && this.#version > this.#committedVersion
  }

  /** Records that were finished, and that a crash would bring back. */
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

  /** Takes what was fetched from `position` on. */
  addFetched(records: readonly StoredRecord[], nextOffset: number): void {
    // What was handed over is let go, though there may always be more behind it.
    if (this.#bufferHead * 2 >= this.#buffer.length) {
      this.#buffer.splice(0, this.#bufferHead)
      this.#bufferHead = 0
    }
    for (const record of records) this.#buffer.push(record)
    if (nextOffset > this.position) this.position = nextOffset
  }

  /** Reads on at another offset, as what was to be read is gone. What was read before that is still here. */
  restart(offset: number): void {
    if (offset < this.position) {
      this.#buffer = []
      this.#bufferHead = 0
    }
    this.position = offset
    if (this.#unfinished() === undefined && this.buffered === 0) this.#deliveredUpTo = offset
    this.#changed()
  }

  /**
   * Hands records to the pipeline while they fit.
   * @returns false when the pipeline is full
   */
  deliver(intake: Intake, { share, allowance, window }: DeliveryLimits): boolean {
    if (!this.canBegin() && !this.#isSettled()) return true
    for (let record = this.#again[0]; record !== undefined; record = this.#again[0]) {
      if (intake.room === 0) return false
      this.#again.shift()
      this.#handAgain(intake, record)
    }
    while (!this.#isRevoking && !this.isLost) {
      const record = this.#buffer[this.#bufferHead]
      if (record === undefined) break
      // The log has no records between: a gap of any size is passed.
      this.#deliveredUpTo = Math.max(this.#deliveredUpTo, record.offset)
      const note = this.#noteOf(record.offset)
      if (note !== undefined) {
        if (this.#held >= share || allowance.left <= 0) break
        if (record.offset - this.#committable() >= window) break
        if (!this.#isAnnounced(record.offset)) break
        if (intake.room === 0) return false
      }
      this.#bufferHead += 1
      this.#deliveredUpTo = record.offset + 1
      if (note === undefined) {
        this.#passed(record.offset)
        continue
      }
      allowance.left -= 1
      this.#hand(intake, record, note)
    }
    return true
  }

  /** While something was given back nothing begins: what follows it in its lane would overtake it. */
  canBegin(): boolean {
    return !this.isLost && !this.#isRevoking && this.#givenBack.length === 0 && this.#owner.isMember()
  }

  begun(record: HeldRecord): void {
    // Further ones begin when they are noted.
    if (record.attemptsBegun > 0) return
    record.attemptsBegun = 1
    record.isAttempting = true
    this.run(record)
  }

  /** The partition cannot be given away until it rests or has ended. */
  run(record: HeldRecord): void {
    if (record.isRunning) return
    record.isRunning = true
    this.#running += 1
  }

  /** It waits: nobody has to wait for it. */
  rest(record: HeldRecord): void {
    if (!record.isRunning) return
    record.isRunning = false
    this.#running -= 1
    if (this.#running === 0) this.#whenQuiet?.resolve()
  }

  /** Resolves to true when the attempt is committed, so that it survives a crash. */
  noteAttempt(): Promise<boolean> {
    this.#changed()
    return this.#owner.committed(this)
  }

  async deadLetter(record: HeldRecord, reason: DeadLetterReason): Promise<void> {
    // It is its next owner's to bury.
    if (this.#isRevoking && !record.isRunning) throw new Error('the partition is being given away')
    this.run(record)
    try {
      await this.#owner.deadLetter(record, reason)
    } catch (error) {
      this.rest(record)
      throw error
    }
  }

  finish(record: HeldRecord): void {
    if (record.isFinished) return
    record.isFinished = true
    this.#held -= 1
    this.#uncommitted += 1
    this.rest(record)
    this.#advance()
    this.#changed()
    this.#owner.onFinished(this)
  }

  /** The pipeline does not handle it after all: it stays unfinished, for the next owner or for later. */
  giveBack(record: HeldRecord): void {
    if (record.isFinished) return
    this.rest(record)
    if (this.isLost || this.#isRevoking) return
    this.#givenBack.push(record)
    this.#owner.onGivenBack()
  }

  /** Nothing more begins; resolves when what runs has ended. */
  revoke(): Promise<void> {
    this.#isRevoking = true
    if (this.#running === 0) return Promise.resolve()
    this.#whenQuiet ??= Promise.withResolvers()
    return this.#whenQuiet.promise
  }

  /** It belongs to somebody else from now on. */
  lose(): void {
    this.isLost = true
    this.#buffer = []
    this.#bufferHead = 0
    this.#whenQuiet?.resolve()
  }

  /** What to commit now. @param isEnd - true when this consumer begins nothing more of it */
  commitState(isEnd: boolean): CommitState {
    const offset = this.#committable()
    const attempts = new Map<number, AttemptNote>()
    const finished: [number, number][] = []
    for (let index = this.#head; index < this.#tracked.length; index += 1) {
      const place = this.#tracked[index]
      if (place === undefined) continue
      if (place.isFinished) extend(finished, place.offset, this.#tracked[index - 1]?.offset)
      else if (place instanceof HeldRecord) noteUnfinished(attempts, place, isEnd)
    }
    this.#inherit(attempts, finished)
    const own = isEnd ? offset : this.#deliveredUpTo + this.#reserve
    const openUpTo = Math.max(own, this.#inheritedOpen())
    const progress = { openUpTo, finished, attempts }
    return { offset, version: this.#version, progress, finished: this.#uncommitted }
  }

  onCommitted({ version, progress, offset, finished }: CommitState): void {
    this.#committedVersion = Math.max(this.#committedVersion, version)
    this.#openUpTo = Math.max(progress.openUpTo, offset)
    this.#uncommitted -= finished
  }

  /** Sees to it that what was given back comes again once all that was held has ended or was given back. */
  #isSettled(): boolean {
    if (this.isLost || this.#isRevoking || !this.#owner.isMember()) return false
    if (this.#held > this.#givenBack.length + this.#again.length) return false
    this.#again = [...this.#again, ...this.#givenBack].sort((a, b) => a.offset - b.offset)
    this.#givenBack = []
    return true
  }

  #handAgain(intake: Intake, former: HeldRecord): void {
    const { record, attemptsBegun: count, settledSoFar: settledHandlers } = former
    const held = new HeldRecord(this, record, { count, settledHandlers })
    this.#tracked[this.#tracked.indexOf(former, this.#head)] = held
    intake.deliver(held)
  }

  #hand(intake: Intake, record: StoredRecord, note: AttemptNote): void {
    const held = new HeldRecord(this, record, note)
    this.#tracked.push(held)
    this.#held += 1
    intake.deliver(held)
  }

  /** A record that an earlier owner has finished. */
  #passed(offset: number): void {
    this.#tracked.push({ offset, isFinished: true })
    this.#advance()
    this.#changed()
  }

  /** What is known of a record from before; undefined when it is finished. */
  #noteOf(offset: number): AttemptNote | undefined {
    const { finished, attempts, openUpTo } = this.#inherited
    if (offset >= openUpTo && attempts.size === 0 && finished.length === 0) return NOT_BEGUN
    if (finished.some(([from, to]) => offset >= from && offset < to)) return undefined
    return attempts.get(offset) ?? (offset < openUpTo ? PERHAPS_BEGUN : NOT_BEGUN)
  }

  /** True when the last commit says that this record may have been begun, so that a crash leaves a trace. */
  #isAnnounced(offset: number): boolean {
    const left = this.#openUpTo - offset
    if (left > this.#reserve / 2) return true
    if (left <= 0) this.#reserve = Math.min(MOST_RESERVE, this.#reserve * 2)
    this.#changed()
    this.#owner.wantCommit()
    return left > 0
  }

  /** The first offset that is not finished. */
  #committable(): number {
    return this.#unfinished()?.offset ?? (this.buffered === 0 ? this.position : this.#deliveredUpTo)
  }

  #unfinished(): Tracked | undefined {
    return this.#tracked[this.#head]
  }

  #advance(): void {
    while (this.#tracked[this.#head]?.isFinished === true) this.#head += 1
    if (this.#head === this.#tracked.length) {
      this.#tracked = []
      this.#head = 0
    } else if (this.#head > 1024) {
      this.#tracked.splice(0, this.#head)
      this.#head = 0
    }
  }

  #changed(): void {
    this.#version += 1
  }

  #inheritedOpen(): number {
    return this.#inherited.openUpTo > this.#deliveredUpTo ? this.#inherited.openUpTo : 0
  }

  /** What is known of records that were not delivered yet. */
  #inherit(attempts: Map<number, AttemptNote>, finished: [number, number][]): void {
    for (const [offset, note] of this.#inherited.attempts) {
      if (offset >= this.#deliveredUpTo) attempts.set(offset, note)
    }
    for (const [from, to] of this.#inherited.finished) {
      const start = Math.max(from, this.#deliveredUpTo)
      if (to > start) finished.push([start, to])
    }
  }
}

/** Adds an offset to ranges, joining what only gaps of the log divide. */
function extend(ranges: [number, number][], offset: number, previous: number | undefined): void {
  const last = ranges.at(-1)
  if (last !== undefined && previous !== undefined && last[1] === previous + 1) last[1] = offset + 1
  else ranges.push([offset, offset + 1])
}

function noteUnfinished(attempts: Map<number, AttemptNote>, record: HeldRecord, isEnd: boolean): void {
  const { attemptsBegun, settledSoFar: settledHandlers, isAttempting } = record
  // An attempt that the end interrupts has not failed; until then one attempt is what the open range stands for.
  const count = isEnd && isAttempting ? attemptsBegun - 1 : attemptsBegun
  if (count > (isEnd ? 0 : 1) || settledHandlers.length > 0) {
    attempts.set(record.offset, { count, settledHandlers })
  }
}
