import { toError } from '../../errors.ts'
import { READ_BACKOFF } from '../../kit/backoff.ts'
import { settledWithin, sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { Intake } from '../../transport/transport.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import { type FetchedRange, fetchRanges } from '../client/fetch.ts'
import type { KafkaTopicDirectory } from '../client/topics.ts'
import { CODE, refusal } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { UnreadableRange } from '../wire/record-reader.ts'
import type { KafkaAssignedPartition } from './assigned-partition.ts'
import { PartitionBackoff } from './partition-backoff.ts'
import { QUIET_FAILURES } from './quiet-failures.ts'
import { Rotation } from './rotation.ts'

/** A partition with fewer buffered records is fetched again, so that handlers never wait for an answer. */
const REFILL_BELOW = 250
/** Minimum number of bytes to request from a partition. The broker exceeds it if the first batch is larger. */
const MIN_REQUEST_BYTES = 16_384
/** Wait of a fetch that omits a partition with enough records, so that the partition can soon be included again. */
const SHORT_WAIT_MS = 25

export interface KafkaFetcherParts {
  readonly options: ResolvedKafkaOptions
  readonly intake: Intake
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
  readonly partitions: () => Iterable<KafkaAssignedPartition>
  readonly onFetched: () => void
  /** Called if the log does not have the partition's position. */
  readonly onOutOfRange: (partition: KafkaAssignedPartition) => Promise<void>
  /** Called if the log was cut before the partition's position, by the election of a leader that lacked records. */
  readonly onCut: (partition: KafkaAssignedPartition, offset: number) => void
  /**
   * Stores a dead letter for records that cannot be read. The partition continues after them when this has resolved.
   */
  readonly onUnreadable: (
    partition: KafkaAssignedPartition,
    ranges: readonly UnreadableRange[],
  ) => Promise<void>
  /** Called after a failed fetch, because the topic may be gone or the leader may have changed. */
  readonly refreshTopics: () => Promise<void>
  readonly onFailure: (error: Error) => void
}

/** Fetches records ahead of the handlers: one loop per leader, with one request in flight. */
export class KafkaFetcher {
  readonly #parts: KafkaFetcherParts
  readonly #stopped = new AbortController()
  readonly #rotation = new Rotation()
  readonly #loops = new Map<number, Promise<void>>()
  #wake: PromiseWithResolvers<void> = Promise.withResolvers()
  /** Counts the changes of the partitions, to recognize requests that `restart` cut. */
  #assignment = 0
  readonly #backoff = new PartitionBackoff<KafkaAssignedPartition>()
  #refreshing: Promise<void> | undefined
  /** The offset from which a partition could not be read in the last fetch. */
  readonly #unreadableFrom = new WeakMap<KafkaAssignedPartition, number>()

  /** How many times larger the records of a partition are than their batches in the last answer. */
  readonly #expansion = new WeakMap<KafkaAssignedPartition, number>()
  /** The position of a partition for which the last answer was impossible. */
  readonly #impossibleAt = new WeakMap<KafkaAssignedPartition, number>()
  /** Partitions that are not fetched until their new position is known, or their unreadable records are dead letters. */
  readonly #aside = new WeakSet<KafkaAssignedPartition>()

  constructor(parts: KafkaFetcherParts) {
    this.#parts = parts
  }

  /** Cuts the requests in flight, because the partitions changed. */
  restart(): void {
    this.#assignment += 1
    this.wake()
    for (const node of this.#loops.keys()) void this.#parts.cluster.cut(node, 'fetch')
    this.startLoops()
  }

  /** Ends the wait of loops whose partitions had enough records. */
  wake(): void {
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    this.wake()
    for (const node of this.#loops.keys()) void this.#parts.cluster.cut(node, 'fetch')
    await Promise.all(this.#loops.values())
  }

  /** Starts a loop for each leader that has none. */
  startLoops(): void {
    if (this.#stopped.signal.aborted) return
    for (const partition of this.#parts.partitions()) {
      const leader = this.#leaderOf(partition)
      if (this.#loops.has(leader)) continue
      const loop = this.#run(leader).finally(() => {
        this.#loops.delete(leader)
        this.startLoops()
      })
      this.#loops.set(leader, loop)
    }
  }

  #leaderOf({ topic, index }: KafkaAssignedPartition): number {
    return this.#parts.topics.cached(topic)?.leaders[index] ?? -1
  }

  async #run(node: number): Promise<void> {
    const { signal } = this.#stopped
    for (let failures = 0; !signal.aborted; ) {
      const led = [...this.#parts.partitions()].filter((partition) => this.#leaderOf(partition) === node)
      if (led.length === 0) return
      const assignment = this.#assignment
      try {
        if (node < 0) throw new Error('The partition has no leader.')
        if (!(await this.#parts.cluster.whenUp(signal))) return
        await this.#fetchOnce(node, led)
        failures = 0
      } catch (thrown) {
        // A request that `restart` or `stop` cut is no failure.
        if (signal.aborted || assignment !== this.#assignment) continue
        failures += 1
        if (node >= 0 && failures > QUIET_FAILURES) this.#parts.onFailure(toError(thrown))
        await sleep(READ_BACKOFF.backoff(failures), signal)
        await this.#findLeaders(failures)
      }
    }
  }

  async #fetchOnce(node: number, led: readonly KafkaAssignedPartition[]): Promise<void> {
    const { cluster, options } = this.#parts
    const { share, room } = this.#bytes()
    const isHungry = (partition: KafkaAssignedPartition) => this.#isHungry(partition, share, room)
    // A broker fills its answer in the order of the request.
    const { due, nextDueMs } = this.#backoff.divide(led)
    const hungry = this.#rotation.rotate(due.filter(isHungry))
    if (hungry.length === 0) {
      if (nextDueMs === Number.POSITIVE_INFINITY) await this.#wake.promise
      else await settledWithin(this.#wake.promise, nextDueMs)
      return
    }
    const ranges = hungry.map((partition) => {
      const { topicId, index, position: offset, lastEpoch } = partition
      const wanted = Math.max(share / (this.#expansion.get(partition) ?? 1), MIN_REQUEST_BYTES)
      const maxBytes = atLeastOne(Math.min(options.fetchMaxBytes, share, wanted))
      return { topicId, index, offset, lastEpoch, maxBytes }
    })
    const maxWaitMs =
      hungry.length < due.length
        ? SHORT_WAIT_MS
        : Math.max(SHORT_WAIT_MS, Math.min(options.fetchMaxWaitMs, Math.ceil(nextDueMs)))
    const { fetchMaxBytes: maxBytes, requestTimeoutMs: timeoutMs } = options
    const startedAt = performance.now()
    const answers = await fetchRanges(cluster, node, ranges, {
      maxWaitMs,
      maxBytes,
      maxAnswerBytes: atLeastOne(room / this.#loops.size),
      timeoutMs,
      use: 'fetch',
      options,
      decode: { perRange: share, total: room },
    })
    let isEmpty = true
    for (const answer of answers) {
      const partition = hungry.find(
        ({ topicId, index }) => topicId === answer.topicId && index === answer.index,
      )
      const asked = ranges.find(({ topicId, index }) => topicId === answer.topicId && index === answer.index)
      // The partition was lost or restarted while the request was in flight.
      if (partition === undefined || partition.isLost || partition.position !== asked?.offset) continue
      this.#take(partition, answer)
      if (partition.position !== asked.offset) isEmpty = false
    }
    this.#parts.onFetched()
    // A broker that has nothing waits before it answers. One that does not must not keep this loop busy.
    if (isEmpty && performance.now() - startedAt < SHORT_WAIT_MS) {
      await sleep(SHORT_WAIT_MS, this.#stopped.signal)
    }
  }

  #isHungry(partition: KafkaAssignedPartition, share: number, room: number): boolean {
    const { buffered, bufferedBytes } = partition
    if (this.#aside.has(partition)) return false
    return buffered === 0 || (buffered < REFILL_BELOW && bufferedBytes < share && room > 0)
  }

  /**
   * How many bytes a partition may buffer, and how many all of them may fetch. An empty partition may always fetch one
   * batch, so that a stuck one does not starve it.
   */
  #bytes(): { readonly share: number; readonly room: number } {
    const { options, intake } = this.#parts
    const partitions = [...this.#parts.partitions()]
    const buffered = partitions.reduce((total, { bufferedBytes }) => total + bufferedBytes, 0)
    return { share: options.maxInFlightBytes / partitions.length, room: intake.roomBytes - buffered }
  }

  #take(partition: KafkaAssignedPartition, answer: FetchedRange): void {
    if (answer.errorCode === CODE.OFFSET_OUT_OF_RANGE) {
      void this.#putAside(partition, () => this.#parts.onOutOfRange(partition))
      return
    }
    if (answer.errorCode !== CODE.NONE) {
      const { address } = this.#parts.cluster
      const action = `Reading ${partition.topic}, partition ${partition.index},`
      this.#onRefused(partition, refusal(address, action, answer.errorCode))
      return
    }
    partition.noteLogEnd(answer.highWatermark)
    if (answer.divergesAt !== undefined && answer.divergesAt < partition.position) {
      this.#parts.onCut(partition, answer.divergesAt)
      return
    }
    if (answer.impossible !== undefined && answer.nextOffset === partition.position) {
      this.#onImpossible(partition, answer.impossible)
      return
    }
    const [unreadable] = answer.unreadable
    if (unreadable !== undefined) {
      // Fetch again once: damage in transit disappears, damage in the log does not.
      if (this.#unreadableFrom.get(partition) !== unreadable.from) {
        this.#unreadableFrom.set(partition, unreadable.from)
        return
      }
      void this.#putAside(partition, () => this.#giveUp(partition, answer))
      return
    }
    this.#backoff.onSuccess(partition)
    if (answer.readBytes > 0) {
      this.#expansion.set(partition, Math.max(1, answer.contentBytes / answer.readBytes))
    }
    partition.addFetched(answer.records, answer.nextOffset, answer.epochs)
  }

  /** The end of the log may be older than the records of the same answer, by a moment. A second such answer is a lie. */
  #onImpossible(partition: KafkaAssignedPartition, reason: string): void {
    const { topic, index, position } = partition
    if (this.#impossibleAt.get(partition) !== position) {
      this.#impossibleAt.set(partition, position)
      return
    }
    const { address } = this.#parts.cluster
    const error = new ConnectionError(
      'CONNECTION_FAILED',
      `The answer of Kafka at ${address} for ${topic}, partition ${index}, is impossible: ${reason}.`,
    )
    this.#onRefused(partition, error)
  }

  /** Fetches the partition later, perhaps from another leader. */
  #onRefused(partition: KafkaAssignedPartition, error: Error): void {
    const failures = this.#backoff.onFailure(partition)
    if (failures > QUIET_FAILURES) this.#parts.onFailure(error)
    this.#refreshing ??= this.#findLeaders(failures).finally(() => {
      this.#refreshing = undefined
    })
  }

  /** Does work that a partition needs before it is fetched again. The other partitions continue meanwhile. */
  async #putAside(partition: KafkaAssignedPartition, work: () => Promise<void>): Promise<void> {
    this.#aside.add(partition)
    try {
      await work()
    } catch (thrown) {
      if (!this.#stopped.signal.aborted) this.#onRefused(partition, toError(thrown))
    } finally {
      this.#aside.delete(partition)
      this.wake()
    }
  }

  async #giveUp(partition: KafkaAssignedPartition, answer: FetchedRange): Promise<void> {
    const { position } = partition
    await this.#parts.onUnreadable(partition, answer.unreadable)
    if (partition.isLost || partition.position !== position) return
    partition.addFetched(answer.records, answer.nextOffset, answer.epochs)
    this.#parts.onFetched()
  }

  async #findLeaders(failures: number): Promise<void> {
    if (this.#stopped.signal.aborted || !this.#parts.cluster.isUp) return
    try {
      await this.#parts.refreshTopics()
    } catch (thrown) {
      if (failures > QUIET_FAILURES) this.#parts.onFailure(toError(thrown))
    }
    this.startLoops()
    // A loop that waits may lead a partition now.
    this.wake()
  }
}

/** The smallest limit that a broker accepts; it answers with one batch at least. */
function atLeastOne(bytes: number): number {
  return Math.max(1, Math.floor(bytes))
}
