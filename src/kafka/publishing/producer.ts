import { toError } from '../../errors.ts'
import { RetryPolicy } from '../../kit/retry-policy.ts'
import { ConnectionError, MessageRefusedError } from '../../transport/errors.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import type { KafkaTopicDirectory } from '../client/topics.ts'
import { CODE, isPassing, nameOf, refusal } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { type Batch, PartitionQueue, type ProducerIdentity, type QueuedRecord } from './partition-queue.ts'
import { type PartitionBatch, sendProduce } from './produce.ts'

const TRY_AGAIN = new RetryPolicy({
  maxRetries: Number.POSITIVE_INFINITY,
  retryBaseDelayMs: 20,
  retryMaxDelayMs: 1000,
  retryJitter: 0.2,
})

/** In doubt: written at the leader, and not known to be safe. */
const IN_DOUBT: ReadonlySet<number> = new Set([CODE.REQUEST_TIMED_OUT, CODE.NOT_ENOUGH_REPLICAS_AFTER_APPEND])
/** The broker has forgotten the producer, or its sequence does not fit. */
const STRANGER: ReadonlySet<number> = new Set([
  CODE.OUT_OF_ORDER_SEQUENCE_NUMBER,
  CODE.UNKNOWN_PRODUCER_ID,
  CODE.INVALID_PRODUCER_EPOCH,
])

export interface KafkaProducerParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
  /** Called when a topic that records wait for is gone; creates it if that is wanted. */
  readonly restoreTopic: (topic: string) => Promise<void>
}

/**
 * Sends records, one request to each broker at a time: what comes meanwhile leaves together in the next one. Batches are
 * sent again until they are stored, refused or no longer wanted.
 */
export class KafkaProducer {
  readonly #parts: KafkaProducerParts
  readonly #queues = new Map<string, PartitionQueue>()
  readonly #busyNodes = new Set<number>()
  readonly #closed = new AbortController()
  #identity: ProducerIdentity | undefined
  #identifying: Promise<void> | undefined
  #added = 0
  #isScheduled = false
  #timer: NodeJS.Timeout | undefined
  /** When the timer is due, by the monotonic clock. */
  #wakeAt = 0

  constructor(parts: KafkaProducerParts) {
    this.#parts = parts
  }

  add(topic: string, partition: number, record: QueuedRecord): void {
    const key = `${topic} ${partition}`
    let queue = this.#queues.get(key)
    if (queue === undefined) {
      queue = new PartitionQueue(topic, partition)
      this.#queues.set(key, queue)
    }
    queue.add(record)
    this.#added += 1
    this.#schedule()
  }

  /** Looks for records that their callers have given up. */
  prune(): void {
    for (const queue of this.#queues.values()) queue.prune()
  }

  close(): void {
    this.#closed.abort()
    clearTimeout(this.#timer)
  }

  /** Sends when a turn of the event loop has brought nothing more, or after `lingerMs`. */
  #schedule(): void {
    if (this.#isScheduled || this.#closed.signal.aborted) return
    this.#isScheduled = true
    const since = performance.now()
    let seen = this.#added
    const check = () => {
      if (seen !== this.#added && performance.now() - since < this.#parts.options.lingerMs) {
        seen = this.#added
        setImmediate(check)
        return
      }
      this.#isScheduled = false
      void this.#pump()
    }
    setImmediate(check)
  }

  async #pump(): Promise<void> {
    const { options, cluster } = this.#parts
    if (!cluster.isUp && !(await cluster.whenUp(this.#closed.signal))) return
    if (options.idempotent && !(await this.#identify())) return
    for (const [node, queues] of this.#ready()) void this.#send(node, queues)
  }

  /** Queues that can be sent, by the node that leads them. Those that cannot get another look later. */
  #ready(): Map<number, PartitionQueue[]> {
    const byNode = new Map<number, PartitionQueue[]>()
    const now = performance.now()
    for (const queue of this.#queues.values()) {
      queue.prune()
      if (!queue.isWaiting) continue
      if (queue.notBefore > now) {
        this.#wakeIn(queue.notBefore - now)
        continue
      }
      const leader = this.#parts.topics.cached(queue.topic)?.leaders[queue.partition] ?? -1
      if (leader < 0) void this.#findLeader(queue)
      else if (!this.#busyNodes.has(leader)) pushTo(byNode, leader, queue)
    }
    return byNode
  }

  async #send(node: number, queues: readonly PartitionQueue[]): Promise<void> {
    const batches = this.#batches(queues)
    if (batches.length === 0) return
    this.#busyNodes.add(node)
    for (const { queue } of batches) queue.isBusy = true
    try {
      const { cluster, options } = this.#parts
      const codes = await sendProduce(cluster, options, node, batches)
      for (const { queue, batch } of batches) {
        queue.isBusy = false
        const code = codes === undefined ? CODE.NONE : codes.get(`${queue.topic} ${queue.partition}`)
        // What nobody wanted any more was not sent.
        if (code !== undefined || batch.records.length === 0) this.#settle(queue, batch, code ?? CODE.NONE)
        else this.#onNoAnswer(queue, batch, new Error('the answer leaves the partition out'))
      }
    } catch (thrown) {
      for (const { queue, batch } of batches) {
        queue.isBusy = false
        this.#onNoAnswer(queue, batch, toError(thrown))
      }
    } finally {
      this.#busyNodes.delete(node)
      if (batches.some(({ queue }) => queue.isWaiting) || this.#hasWaiting()) this.#schedule()
    }
  }

  #batches(queues: readonly PartitionQueue[]): readonly PartitionBatch[] {
    const { batchSizeBytes, maxMessageBytes } = this.#parts.options
    return queues.flatMap((queue) => {
      const batch = queue.next(this.#identity, batchSizeBytes, maxMessageBytes)
      return batch === undefined ? [] : [{ queue, batch }]
    })
  }

  #settle(queue: PartitionQueue, batch: Batch, code: number): void {
    const { address } = this.#parts.cluster
    if (code === CODE.NONE || code === CODE.DUPLICATE_SEQUENCE_NUMBER) {
      queue.succeed()
    } else if (IN_DOUBT.has(code)) {
      this.#onNoAnswer(queue, batch, refusal(address, `Storing in ${queue.topic}`, code))
    } else if (STRANGER.has(code)) {
      this.#identity = undefined
      this.#onStranger(queue, batch, code)
    } else if (isPassing(code)) {
      queue.refused()
      void this.#findLeader(queue)
    } else if (code === CODE.MESSAGE_TOO_LARGE || code === CODE.RECORD_LIST_TOO_LARGE) {
      this.#onTooLarge(queue)
    } else {
      const what = `Storing in ${queue.topic}, partition ${queue.partition},`
      queue.fail({ status: 'notStored', error: refusal(address, what, code) })
    }
  }

  /** The broker cannot tell whether it has a batch that may be there already, so it is not sent again. */
  #onStranger(queue: PartitionQueue, batch: Batch, code: number): void {
    if (batch.isInDoubt) {
      queue.fail({
        status: 'unknown',
        error: refusal(this.#parts.cluster.address, `Storing in ${queue.topic}`, code),
      })
      return
    }
    queue.reform()
    this.#delay(queue)
  }

  /** What is too large together may be small enough apart. */
  #onTooLarge(queue: PartitionQueue): void {
    queue.notBefore = 0
    if (queue.split()) return
    const reason = `it is larger than the brokers take for the topic ${queue.topic} (max.message.bytes)`
    queue.fail({ status: 'notStored', error: new MessageRefusedError(reason) })
  }

  /** The broker may have the batch. Only one who it can recognize may send it again. */
  #onNoAnswer(queue: PartitionQueue, batch: Batch, error: Error): void {
    const wasSent = batch.records.some((record) => record.wasSent)
    if (wasSent) batch.isInDoubt = true
    if (wasSent && batch.sequence === undefined) queue.fail({ status: 'unknown', error })
    else void this.#findLeader(queue)
  }

  async #findLeader(queue: PartitionQueue): Promise<void> {
    this.#delay(queue)
    const { topics, cluster } = this.#parts
    if (!cluster.isUp) return
    try {
      if ((await topics.find(queue.topic)) === undefined) await this.#parts.restoreTopic(queue.topic)
    } catch (thrown) {
      const error = toError(thrown)
      // What waiting cannot mend is told now; the rest is tried until nobody wants it any more.
      if (
        error instanceof ConnectionError &&
        !error.retryable &&
        queue.batch?.isInDoubt !== true &&
        !queue.isBusy
      ) {
        if (queue.next(undefined, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY) !== undefined) {
          queue.fail({ status: 'notStored', error })
        }
      }
    }
  }

  #delay(queue: PartitionQueue): void {
    queue.failures += 1
    const delayMs = TRY_AGAIN.backoff(queue.failures)
    queue.notBefore = performance.now() + delayMs
    this.#wakeIn(delayMs)
  }

  #wakeIn(ms: number): void {
    if (this.#closed.signal.aborted) return
    const at = performance.now() + ms
    if (this.#timer !== undefined && this.#wakeAt <= at) return
    clearTimeout(this.#timer)
    this.#wakeAt = at
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#schedule()
    }, ms + 1)
  }

  #hasWaiting(): boolean {
    for (const queue of this.#queues.values()) if (queue.isWaiting) return true
    return false
  }

  /** @returns false when there is no identity yet; another try follows by itself. */
  async #identify(): Promise<boolean> {
    for (const queue of this.#queues.values()) {
      if (queue.needsOtherThan(this.#identity)) this.#identity = undefined
    }
    if (this.#identity !== undefined) return true
    this.#identifying ??= this.#askForIdentity().finally(() => {
      this.#identifying = undefined
    })
    try {
      await this.#identifying
      return true
    } catch (thrown) {
      const error = toError(thrown)
      if (error instanceof ConnectionError && !error.retryable) this.#failAll(error)
      else this.#wakeIn(100)
      return false
    }
  }

  async #askForIdentity(): Promise<void> {
    const { cluster } = this.#parts
    const { initProducerId } = cluster.protocol.apis
    const answer = await cluster.request(undefined, 'control', initProducerId, [null, 0])
    if (answer.errorCode === CODE.NONE) {
      this.#identity = { producerId: answer.producerId, producerEpoch: answer.producerEpoch }
      return
    }
    if (isPassing(answer.errorCode)) throw new Error(nameOf(answer.errorCode))
    throw refusal(cluster.address, 'Becoming an idempotent producer', answer.errorCode)
  }

  #failAll(error: Error): void {
    for (const queue of this.#queues.values()) {
      while (queue.isWaiting && queue.next(undefined, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY)) {
        queue.fail({ status: 'notStored', error })
      }
    }
  }
}

function pushTo<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key)
  if (values === undefined) map.set(key, [value])
  else values.push(value)
}
