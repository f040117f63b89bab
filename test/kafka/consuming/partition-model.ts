import {
  KafkaAssignedPartition,
  type PartitionOwner,
} from '../../../src/kafka/consuming/assigned-partition.ts'
import type { HeldRecord } from '../../../src/kafka/consuming/held-record.ts'
import { readProgress, writeProgress } from '../../../src/kafka/wire/progress.ts'
import type { StoredRecord } from '../../../src/kafka/wire/stored-record.ts'
import type { Delivery } from '../../../src/transport/transport.ts'

/** The committed offset and metadata of a partition. */
export interface Committed {
  readonly offset: number
  readonly metadata: string
  /** For checks: the records that were finished when the commit was sent. */
  readonly finished: ReadonlySet<number>
}

interface InFlightCommit {
  readonly state: ReturnType<KafkaAssignedPartition['commitState']>
  readonly committed: Committed
  hasLanded: boolean
}

export interface Seen {
  readonly offset: number
  readonly deliveryCount: number
  /** The committed state when this owner received the partition. */
  readonly known: Committed
}

/** A partition with its log, its broker and its successive owners. The test triggers every step. */
export class PartitionModel {
  readonly #offsets: readonly number[]
  readonly #metadataLimit: number
  #partition: KafkaAssignedPartition
  #known: Committed
  #waiting: HeldRecord[] = []
  #running: HeldRecord[] = []
  #inFlight: InFlightCommit | undefined
  committed: Committed
  /** Records that any owner finished. */
  readonly finished = new Set<number>()
  /** Records that this owner finished, or that were committed as finished before it. */
  #finishedHere = new Set<number>()
  /** Records that this owner started. */
  started = new Set<number>()
  /** Records that were delivered to this owner. */
  seen: Seen[] = []
  /** Records from this offset on are not published yet. */
  logEnd = Number.POSITIVE_INFINITY

  constructor(offsets: readonly number[], metadataLimit: number) {
    this.#offsets = offsets
    this.#metadataLimit = metadataLimit
    this.committed = { offset: 0, metadata: '', finished: new Set() }
    this.#known = this.committed
    this.#partition = this.#own()
  }

  get isAllDone(): boolean {
    return this.#offsets.every((offset) => this.finished.has(offset)) && this.committed.offset === this.#end
  }

  get running(): number {
    return this.#running.length
  }

  fetch(count: number): void {
    const { position } = this.#partition
    const end = Math.min(this.logEnd, this.#end)
    const records = this.#offsets.filter((offset) => offset >= position && offset < end).slice(0, count)
    const isAll = records.length < count
    const next = isAll ? end : (records.at(-1) ?? position - 1) + 1
    this.#partition.noteLogEnd(end)
    this.#partition.addFetched(records.map(recordAt), next)
  }

  deliver(room: number, share: number, window: number): void {
    let left = room
    const intake = {
      get room() {
        return left
      },
      roomBytes: Number.POSITIVE_INFINITY,
      whenRoom: () => Promise.resolve(),
      deliver: (delivery: Delivery) => {
        left -= 1
        this.#take(delivery)
      },
    }
    this.#partition.deliver(intake, { share, allowance: { left: share - this.#partition.load }, window })
  }

  begin(pick: number): void {
    const [record] = this.#waiting.splice(pick % Math.max(1, this.#waiting.length), 1)
    if (record === undefined || !record.begin()) return
    this.started.add(record.offset)
    this.#running.push(record)
  }

  finish(pick: number): void {
    const [record] = this.#running.splice(pick % Math.max(1, this.#running.length), 1)
    if (record === undefined) return
    record.ack()
    this.finished.add(record.offset)
    this.#finishedHere.add(record.offset)
  }

  /** At most one commit is in flight. */
  sendCommit(): void {
    this.#inFlight ??= this.#commit(false)
  }

  landCommit(): void {
    if (this.#inFlight === undefined) return
    this.#inFlight.hasLanded = true
    this.committed = this.#inFlight.committed
  }

  answerCommit(): void {
    if (this.#inFlight?.hasLanded !== true) return
    this.#partition.onCommitted(this.#inFlight.state)
    this.#inFlight = undefined
  }

  /** The next owner knows only what was committed. */
  crash(): void {
    this.#replaceOwner()
  }

  /** Gives up running records, and commits finished ones. */
  end(): void {
    void this.#partition.revoke()
    this.committed = this.#commit(true).committed
    this.#partition.lose()
    this.#replaceOwner()
  }

  get #end(): number {
    return (this.#offsets.at(-1) ?? -1) + 3
  }

  #take(delivery: Delivery): void {
    // A partition delivers only held records.
    const record = delivery as HeldRecord
    this.seen.push({ offset: record.offset, deliveryCount: record.deliveryCount, known: this.#known })
    this.#waiting.push(record)
  }

  #commit(isEnd: boolean): InFlightCommit {
    const state = this.#partition.commitState(isEnd)
    const metadata = writeProgress(state.offset, state.progress, this.#metadataLimit)
    const committed = { offset: state.offset, metadata, finished: new Set(this.#finishedHere) }
    return { state, committed, hasLanded: false }
  }

  #replaceOwner(): void {
    this.#waiting = []
    this.#running = []
    this.#inFlight = undefined
    this.started = new Set()
    this.seen = []
    this.#known = this.committed
    this.#finishedHere = new Set(this.committed.finished)
    this.#partition = this.#own()
  }

  #own(): KafkaAssignedPartition {
    const { offset, metadata } = this.committed
    const place = { topic: 't', index: 0, topicId: 'id', isReplays: false }
    return new KafkaAssignedPartition(PARTITION_OWNER, place, {
      offset: offset,
      progress: readProgress(offset, metadata),
    })
  }
}

export const PARTITION_OWNER: PartitionOwner = {
  isMember: () => true,
  onFinished: () => undefined,
  onGivenBack: () => undefined,
  requestCommit: () => undefined,
  whenCommitted: () => Promise.resolve(true),
  deadLetter: () => Promise.resolve(),
  postpone: () => Promise.resolve(),
  waitBehind: () => Promise.resolve(0),
  passOn: () => Promise.resolve(),
}

export function recordAt(offset: number): StoredRecord {
  return { offset, timestamp: 0, key: null, value: null, sizeBytes: 8, headers: [], headerTexts: {} }
}
