import { toError } from '../../errors.ts'
import { partitionOf } from '../../kit/partitioner.ts'
import { sleep } from '../../kit/time.ts'
import { MessageRefusedError, PublishTimeoutError } from '../../transport/errors.ts'
import type { OutgoingMessage, PublishFailure } from '../../transport/transport.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import type { KafkaTopic, KafkaTopicDirectory, TopicProfile } from '../client/topics.ts'
import { isRetryable } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { recordOf } from '../wire/message.ts'
import type { RecordToWrite } from '../wire/record-batch.ts'
import { QueuedRecord, type RecordOutcome } from './partition-queue.ts'
import type { KafkaProducer } from './producer.ts'

/** Wait before a missing topic is looked up again, in milliseconds. */
const TOPIC_RETRY_MS = 100

export interface KafkaPublisherParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
  readonly producer: KafkaProducer
  /** Called if the topic is missing. Creates it if `createTopics` allows that, and reports it. */
  readonly restoreTopic: (topic: string) => Promise<void>
}

/** The destination of a record that does not go to the stream. */
export interface RecordTarget {
  readonly topic: string
  /** Default: chosen by the key. */
  readonly partition?: number
  readonly profile: TopicProfile
}

/** Stores messages, and reports for each whether it is stored. */
export class KafkaPublisher {
  readonly #parts: KafkaPublisherParts

  constructor(parts: KafkaPublisherParts) {
    this.#parts = parts
  }

  async publish(
    messages: readonly OutgoingMessage[],
    signal: AbortSignal,
  ): Promise<readonly PublishFailure[]> {
    const { topics, options } = this.#parts
    const stream = topics.cached(options.topics.stream) ?? (await this.#whenStreamExists(signal))
    if (stream instanceof Error) {
      return messages.map((_message, index) => ({ index, status: 'notStored', error: stream }))
    }
    const pending = messages.length
    return new Promise((resolve) => {
      const call = new PublishCall(this.#parts, pending, signal, resolve)
      for (const [index, message] of messages.entries()) call.add(index, recordOf(message), stream)
    })
  }

  /** Stores one record of the bus itself. @throws Error if it is not confirmed as stored. */
  async store(record: RecordToWrite, { topic: name, partition, profile }: RecordTarget): Promise<void> {
    const { topics, producer, options } = this.#parts
    const topic = topics.cached(name) ?? (await topics.ensure(name, profile))
    const target = partition ?? keyPartition(record, topic)
    const { promise, resolve } = Promise.withResolvers<RecordOutcome>()
    const queued = new QueuedRecord(record, {}, resolve)
    const timer = setTimeout(() => {
      const error = new PublishTimeoutError(options.publishTimeoutMs, this.#noAnswer())
      queued.settle({ status: 'unknown', error })
      producer.prune()
    }, options.publishTimeoutMs).unref()
    producer.add(name, target, queued)
    const { status, error } = await promise.finally(() => clearTimeout(timer))
    if (status !== 'stored') throw error ?? new Error(`Storing in ${name} failed.`)
  }

  /** Waits for the stream's topic. @returns the reason if there is none when the signal aborts. */
  async #whenStreamExists(signal: AbortSignal): Promise<KafkaTopic | Error> {
    const { topics, cluster, options, restoreTopic } = this.#parts
    const { stream } = options.topics
    let failure: Error | undefined
    for (;;) {
      try {
        if (await cluster.whenUp(signal)) await restoreTopic(stream)
        const topic = topics.cached(stream)
        if (topic !== undefined) return topic
      } catch (thrown) {
        failure = toError(thrown)
        if (!isRetryable(failure)) return failure
      }
      if (!(await sleep(TOPIC_RETRY_MS, signal))) {
        return failure ?? new PublishTimeoutError(options.publishTimeoutMs, this.#noConnection())
      }
    }
  }

  #noAnswer(): string {
    const { cluster } = this.#parts
    return cluster.trouble ?? `Kafka at ${cluster.address} did not answer`
  }

  #noConnection(): string {
    const { cluster } = this.#parts
    return cluster.trouble ?? `there is no connection to Kafka at ${cluster.address}`
  }
}

/** One call of `publish`, until each of its messages is stored, refused or given up. */
class PublishCall {
  readonly #parts: KafkaPublisherParts
  readonly #signal: AbortSignal
  readonly #resolve: (failures: readonly PublishFailure[]) => void
  readonly #queued: QueuedRecord[] = []
  readonly #failures: PublishFailure[] = []
  readonly #onAbort = () => this.#giveUp()
  #pending: number

  constructor(
    parts: KafkaPublisherParts,
    count: number,
    signal: AbortSignal,
    resolve: (failures: readonly PublishFailure[]) => void,
  ) {
    this.#parts = parts
    this.#pending = count
    this.#signal = signal
    this.#resolve = resolve
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  add(index: number, record: RecordToWrite, topic: KafkaTopic): void {
    const { options, producer } = this.#parts
    const queued = new QueuedRecord(record, this, (outcome) => this.#onSettled(index, outcome))
    if (queued.size > options.maxMessageBytes) {
      const error = new MessageRefusedError(
        `it has ${queued.size} bytes with its headers, more than the ${options.maxMessageBytes} of maxMessageBytes`,
      )
      queued.settle({ status: 'notStored', error })
      return
    }
    this.#queued.push(queued)
    producer.add(topic.name, keyPartition(record, topic), queued)
    if (this.#signal.aborted) this.#giveUp()
  }

  #onSettled(index: number, { status, error }: RecordOutcome): void {
    this.#pending -= 1
    if (status !== 'stored') {
      const { options, cluster } = this.#parts
      const detail = cluster.trouble ?? `Kafka at ${cluster.address} did not confirm it`
      const reason = error ?? new PublishTimeoutError(options.publishTimeoutMs, detail)
      this.#failures.push({ index, status, error: reason })
    }
    if (this.#pending > 0) return
    this.#signal.removeEventListener('abort', this.#onAbort)
    this.#resolve(this.#failures.sort((a, b) => a.index - b.index))
  }

  #giveUp(): void {
    for (const queued of this.#queued) queued.settle({ status: queued.wasSent ? 'unknown' : 'notStored' })
    this.#parts.producer.prune()
  }
}

function keyPartition({ key }: RecordToWrite, { leaders }: KafkaTopic): number {
  if (key === null) return Math.floor(Math.random() * leaders.length)
  return partitionOf(typeof key === 'string' ? Buffer.from(key) : key, leaders.length)
}
