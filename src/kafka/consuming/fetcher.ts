import { toError } from '../../errors.ts'
import { RetryPolicy } from '../../kit/retry-policy.ts'
import { sleep } from '../../kit/time.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import { type FetchedRange, fetchRanges } from '../client/fetch.ts'
import type { KafkaTopicDirectory } from '../client/topics.ts'
import { CODE, refusal } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaAssignedPartition } from './assigned-partition.ts'

const AGAIN = new RetryPolicy({
  maxRetries: Number.POSITIVE_INFINITY,
  retryBaseDelayMs: 50,
  retryMaxDelayMs: 2000,
  retryJitter: 0.2,
})

/** A partition with fewer records waiting is fetched again, so that handlers need not wait for the next answer. */
const REFILL_BELOW = 250
/** While a partition has enough, the fetch of the others is short, so that it can soon join in again. */
const SHORT_WAIT_MS = 25

export interface KafkaFetcherParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
  readonly partitions: () => Iterable<KafkaAssignedPartition>
  readonly onFetched: () => void
  /** The offset to fetch is not in the log. */
  readonly onOutOfRange: (partition: KafkaAssignedPartition) => Promise<void>
  readonly onUnreadable: (partition: KafkaAssignedPartition, range: FetchedRange) => void
  /** The topic may be gone, or its leader is another. */
  readonly onMoved: () => Promise<void>
  readonly onFailure: (error: Error) => void
}

/** Reads ahead: one loop for each broker that leads a partition, with one request on its way. */
export class KafkaFetcher {
  readonly #parts: KafkaFetcherParts
  readonly #stopped = new AbortController()
  readonly #loops = new Map<number, Promise<void>>()
  #wake: PromiseWithResolvers<void> = Promise.withResolvers()
  #assignment = 0
  #turn = 0
  #refusal: Error | undefined
  /** From which offset on something could not be read the first time. */
  readonly #doubted = new WeakMap<KafkaAssignedPartition, number>()

  constructor(parts: KafkaFetcherParts) {
    this.#parts = parts
  }

  /** The partitions are not what they were: requests that wait at a broker do not know them. */
  restart(): void {
    this.#assignment += 1
    this.wake()
    for (const node of this.#loops.keys()) void this.#parts.cluster.cut(node, 'fetch')
    this.follow()
  }

  /** There may be room again. */
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

  /** Sees to it that each broker that leads a partition is asked. */
  follow(): void {
    if (this.#stopped.signal.aborted) return
    for (const partition of this.#parts.partitions()) {
      const leader = this.#leaderOf(partition)
      if (this.#loops.has(leader)) continue
      const loop = this.#run(leader).finally(() => {
        this.#loops.delete(leader)
        this.follow()
      })
      this.#loops.set(leader, loop)
    }
  }

  #leaderOf({ topic, index }: KafkaAssignedPartition): number {
    return this.#parts.topics.known(topic)?.leaders[index] ?? -1
  }

  async #run(node: number): Promise<void> {
    const { signal } = this.#stopped
    for (let failures = 0; !signal.aborted; ) {
      const mine = [...this.#parts.partitions()].filter((partition) => this.#leaderOf(partition) === node)
      if (mine.length === 0) return
      const assignment = this.#assignment
      try {
        if (node < 0) throw new Error('no leader')
        if (!(await this.#parts.cluster.whenUp(signal))) return
        const isFine = await this.#fetchOnce(node, mine)
        failures = isFine ? 0 : failures + 1
        if (failures > 3 && this.#refusal !== undefined) this.#parts.onFailure(this.#refusal)
        if (!isFine) await this.#lookAround(failures)
      } catch (thrown) {
        // A request that was cut on purpose has not failed.
        if (signal.aborted || assignment !== this.#assignment) continue
        failures += 1
        if (node >= 0 && failures > 3) this.#parts.onFailure(toError(thrown))
        await this.#lookAround(failures)
      }
    }
  }

  /** @returns false when a partition has moved, or its topic is gone */
  async #fetchOnce(node: number, mine: readonly KafkaAssignedPartition[]): Promise<boolean> {
    const { cluster, options } = this.#parts
    const hungry = this.#byTurns(mine.filter(({ buffered }) => buffered < REFILL_BELOW))
    if (hungry.length === 0) {
      await this.#wake.promise
      return true
    }
    const ranges = hungry.map(({ topicId, index, position }) => ({ topicId, index, offset: position }))
    const maxWaitMs = hungry.length < mine.length ? SHORT_WAIT_MS : options.fetchMaxWaitMs
    const { fetchMaxBytes: maxBytes, requestTimeoutMs: timeoutMs } = options
    const answers = await fetchRanges(cluster, node, ranges, { maxWaitMs, maxBytes, timeoutMs, use: 'fetch' })
    let isFine = true
    for (const answer of answers) {
      const partition = hungry.find(
        ({ topicId, index }) => topicId === answer.topicId && index === answer.index,
      )
      const asked = ranges.find(({ topicId, index }) => topicId === answer.topicId && index === answer.index)
      // It was lost, or started over, while the answer was on its way.
      if (partition === undefined || partition.isLost || partition.position !== asked?.offset) continue
      isFine = (await this.#take(partition, answer)) && isFine
    }
    this.#parts.onFetched()
    return isFine
  }

  /** A broker fills its answer in the order of the request, so that the last must be the first some time. */
  #byTurns(partitions: readonly KafkaAssignedPartition[]): readonly KafkaAssignedPartition[] {
    this.#turn += 1
    const start = partitions.length === 0 ? 0 : this.#turn % partitions.length
    return [...partitions.slice(start), ...partitions.slice(0, start)]
  }

  async #take(partition: KafkaAssignedPartition, answer: FetchedRange): Promise<boolean> {
    if (answer.errorCode === CODE.OFFSET_OUT_OF_RANGE) {
      await this.#parts.onOutOfRange(partition)
      return true
    }
    if (answer.errorCode !== CODE.NONE) {
      const { cluster } = this.#parts
      this.#refusal = refusal(
        cluster.address,
        `Reading ${partition.topic}, partition ${partition.index},`,
        answer.errorCode,
      )
      return false
    }
    const [unreadable] = answer.unreadable
    if (unreadable !== undefined) {
      // What was damaged on its way is whole the next time; what is damaged in the log is not.
      if (this.#doubted.get(partition) !== unreadable.from) {
        this.#doubted.set(partition, unreadable.from)
        return true
      }
      this.#parts.onUnreadable(partition, answer)
    }
    partition.addFetched(answer.records, answer.nextOffset)
    return true
  }

  async #lookAround(failures: number): Promise<void> {
    await sleep(AGAIN.backoff(failures), this.#stopped.signal)
    if (this.#stopped.signal.aborted || !this.#parts.cluster.isUp) return
    try {
      await this.#parts.onMoved()
    } catch (thrown) {
      if (failures > 3) this.#parts.onFailure(toError(thrown))
    }
    this.follow()
  }
}
