import { toError } from '../../errors.ts'
import { REQUEST_BACKOFF } from '../../kit/backoff.ts'
import { ConnectionError, MessageRefusedError } from '../../transport/errors.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import type { KafkaTopicDirectory } from '../client/topics.ts'
import { CODE, isPassing, messageRefusal, refusal } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { IdentityProvider } from './identity-provider.ts'
import { type Batch, PartitionQueue, type QueuedRecord } from './partition-queue.ts'
import { type PartitionBatch, type ProduceResult, sendProduce } from './produce.ts'
import { SendSchedule } from './send-schedule.ts'

/** Wait before an identity is requested again, in milliseconds. */
const IDENTITY_RETRY_MS = 100

const STORED: ProduceResult = { code: CODE.NONE, message: '' }

/** The leader wrote the batch, or may have, but it is not known to be safe. */
const IN_DOUBT: ReadonlySet<number> = new Set([
  CODE.UNKNOWN_SERVER_ERROR,
  CODE.REQUEST_TIMED_OUT,
  CODE.NETWORK_EXCEPTION,
  CODE.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
])
/** The content of a record is the cause. */
const OF_MESSAGE: ReadonlySet<number> = new Set([CODE.INVALID_TIMESTAMP, CODE.INVALID_RECORD])
/** The broker does not know the producer any more, or its sequence does not fit. */
const UNKNOWN_PRODUCER: ReadonlySet<number> = new Set([
  CODE.OUT_OF_ORDER_SEQUENCE_NUMBER,
  CODE.UNKNOWN_PRODUCER_ID,
  CODE.INVALID_PRODUCER_EPOCH,
])

export interface KafkaProducerParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
  /** Called if the topic of waiting records is missing. Creates it if `createTopics` allows that. */
  readonly restoreTopic: (topic: string) => Promise<void>
}

/**
 * Sends records, one request per broker at a time. Records that come meanwhile share the next request. A batch is sent
 * again until it is stored or refused, or until every caller has given up.
 */
export class KafkaProducer {
  readonly #parts: KafkaProducerParts
  readonly #queues = new Map<string, PartitionQueue>()
  readonly #busyNodes = new Set<number>()
  readonly #closed = new AbortController()
  readonly #identity: IdentityProvider
  readonly #schedule: SendSchedule
  #pruning: NodeJS.Immediate | undefined

  constructor(parts: KafkaProducerParts) {
    this.#parts = parts
    this.#identity = new IdentityProvider(parts.cluster)
    this.#schedule = new SendSchedule({ lingerMs: parts.options.lingerMs, send: () => void this.#sendAll() })
  }

  add(topic: string, partition: number, record: QueuedRecord): void {
    const key = `${topic} ${partition}`
    let queue = this.#queues.get(key)
    if (queue === undefined) {
      queue = new PartitionQueue(topic, partition)
      this.#queues.set(key, queue)
    }
    queue.add(record)
    this.#schedule.added()
  }

  /** Removes records that their callers have given up, once for all that do so now. */
  prune(): void {
    this.#pruning ??= setImmediate(() => {
      this.#pruning = undefined
      for (const queue of this.#queues.values()) queue.prune()
    })
  }

  close(): void {
    this.#closed.abort()
    this.#schedule.close()
  }

  async #sendAll(): Promise<void> {
    const { options, cluster } = this.#parts
    if (!cluster.isUp && !(await cluster.whenUp(this.#closed.signal))) return
    if (options.idempotent && !(await this.#hasIdentity())) return
    for (const [node, queues] of this.#sendable()) void this.#send(node, queues)
  }

  /** Queues that can be sent now, by leader. For the others a later attempt is scheduled. */
  #sendable(): Map<number, PartitionQueue[]> {
    const byNode = new Map<number, PartitionQueue[]>()
    const now = performance.now()
    for (const queue of this.#queues.values()) {
      if (!queue.isWaiting) continue
      if (queue.notBefore > now) {
        this.#schedule.sendIn(queue.notBefore - now)
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
      const results = await sendProduce(cluster, options, node, batches)
      for (const { queue, batch } of batches) {
        queue.isBusy = false
        const result = results === undefined ? STORED : results.get(`${queue.topic} ${queue.partition}`)
        // A batch whose callers have all given up was not sent.
        if (result !== undefined || batch.records.length === 0) this.#onAnswer(queue, batch, result ?? STORED)
        else this.#onNoAnswer(queue, batch, new Error('The answer does not contain the partition.'))
      }
    } catch (thrown) {
      for (const { queue, batch } of batches) {
        queue.isBusy = false
        this.#onNoAnswer(queue, batch, toError(thrown))
      }
    } finally {
      this.#busyNodes.delete(node)
      if (batches.some(({ queue }) => queue.isWaiting) || this.#hasWaiting()) this.#schedule.sendSoon()
    }
  }

  #batches(queues: readonly PartitionQueue[]): readonly PartitionBatch[] {
    const { batchSizeBytes, maxMessageBytes } = this.#parts.options
    return queues.flatMap((queue) => {
      const batch = queue.next(this.#identity.current, batchSizeBytes, maxMessageBytes)
      return batch === undefined ? [] : [{ queue, batch }]
    })
  }

  #onAnswer(queue: PartitionQueue, batch: Batch, { code, message }: ProduceResult): void {
    const { address } = this.#parts.cluster
    if (code === CODE.NONE || code === CODE.DUPLICATE_SEQUENCE_NUMBER) {
      queue.succeed()
    } else if (IN_DOUBT.has(code)) {
      this.#onNoAnswer(queue, batch, refusal(address, `Storing in ${queue.topic}`, code, message))
    } else if (UNKNOWN_PRODUCER.has(code)) {
      this.#identity.forget()
      this.#onUnknownProducer(queue, batch, code)
    } else if (isPassing(code)) {
      this.#onPassing(queue, batch, code)
    } else if (code === CODE.MESSAGE_TOO_LARGE || code === CODE.RECORD_LIST_TOO_LARGE) {
      this.#onTooLarge(queue)
    } else if (OF_MESSAGE.has(code)) {
      queue.notBefore = 0
      // One record of the batch may be the cause.
      if (code !== CODE.INVALID_RECORD || !queue.split()) {
        queue.fail({ status: 'notStored', error: messageRefusal(address, code, message) })
      }
    } else {
      const action = `Storing in ${queue.topic}, partition ${queue.partition},`
      queue.fail({ status: 'notStored', error: refusal(address, action, code, message) })
    }
  }

  /**
   * With acks 'all', a leader that loses its partition while it waits for the other replicas answers
   * `NOT_LEADER_OR_FOLLOWER` after it has stored the batch (`DelayedProduce` of Kafka). The new leader may have it.
   */
  #onPassing(queue: PartitionQueue, batch: Batch, code: number): void {
    const mayBeStored = code === CODE.NOT_LEADER_OR_FOLLOWER && this.#parts.options.acks === 'all'
    if (!mayBeStored) queue.markNotStored()
    else if (batch.sequence !== undefined) batch.isInDoubt = true
    void this.#findLeader(queue)
  }

  /** A batch in doubt is not sent again, because the broker could no longer recognize it. */
  #onUnknownProducer(queue: PartitionQueue, batch: Batch, code: number): void {
    if (batch.isInDoubt) {
      const error = refusal(this.#parts.cluster.address, `Storing in ${queue.topic}`, code)
      queue.fail({ status: 'unknown', error })
      return
    }
    queue.requeue()
    this.#delay(queue)
  }

  /** Splits the batch, because smaller ones may be accepted. */
  #onTooLarge(queue: PartitionQueue): void {
    queue.notBefore = 0
    if (queue.split()) return
    const reason = `it is larger than the brokers accept for the topic ${queue.topic} (max.message.bytes)`
    queue.fail({ status: 'notStored', error: new MessageRefusedError(reason) })
  }

  /** The broker may have the batch. Only an idempotent producer may send it again. */
  #onNoAnswer(queue: PartitionQueue, batch: Batch, error: Error): void {
    const wasSent = batch.records.some((record) => record.wasSent)
    if (wasSent) batch.isInDoubt = true
    if (wasSent && batch.sequence === undefined) queue.fail({ status: 'unknown', error })
    else void this.#findLeader(queue)
  }

  /** Reads the topic again, or restores it, before the next attempt. */
  async #findLeader(queue: PartitionQueue): Promise<void> {
    this.#delay(queue)
    const { topics, cluster } = this.#parts
    if (!cluster.isUp) return
    try {
      if ((await topics.find(queue.topic)) === undefined) await this.#parts.restoreTopic(queue.topic)
    } catch (thrown) {
      const error = toError(thrown)
      // Fail now if waiting cannot help. Otherwise retry until the callers give up.
      const isFinal = error instanceof ConnectionError && !error.retryable
      if (!isFinal || queue.isBusy || queue.batch?.isInDoubt === true) return
      if (nextOfAnySize(queue) !== undefined) queue.fail({ status: 'notStored', error })
    }
  }

  #delay(queue: PartitionQueue): void {
    queue.failures += 1
    const delayMs = REQUEST_BACKOFF.backoff(queue.failures)
    queue.notBefore = performance.now() + delayMs
    this.#schedule.sendIn(delayMs)
  }

  #hasWaiting(): boolean {
    for (const queue of this.#queues.values()) if (queue.isWaiting) return true
    return false
  }

  /** @returns false if there is no identity yet; then another attempt is scheduled. */
  async #hasIdentity(): Promise<boolean> {
    for (const queue of this.#queues.values()) {
      if (queue.needsNewIdentity(this.#identity.current)) this.#identity.forget()
    }
    try {
      await this.#identity.obtain()
      return true
    } catch (thrown) {
      const error = toError(thrown)
      if (error instanceof ConnectionError && !error.retryable) this.#failAll(error)
      else this.#schedule.sendIn(IDENTITY_RETRY_MS)
      return false
    }
  }

  #failAll(error: Error): void {
    for (const queue of this.#queues.values()) {
      while (queue.isWaiting && nextOfAnySize(queue)) queue.fail({ status: 'notStored', error })
    }
  }
}

function nextOfAnySize(queue: PartitionQueue): Batch | undefined {
  return queue.next(undefined, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY)
}

function pushTo<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key)
  if (values === undefined) map.set(key, [value])
  else values.push(value)
}
