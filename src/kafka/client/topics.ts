import { sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import { CODE, nameOf, refusal } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaCluster } from './cluster.ts'
import type { MetadataResponse } from './protocol.ts'

/** A topic as the brokers describe it. */
export interface KafkaTopic {
  readonly name: string
  /** Changes when the topic is deleted and created again. */
  readonly id: string
  /** The leader of each partition; -1 while there is none. */
  readonly leaders: readonly number[]
}

/** What a topic that is created gets besides the user's partitions and replicas. */
export interface TopicProfile {
  readonly partitions?: number
  /** Keep messages until they are removed, and take the copies of large ones, which are larger. */
  readonly isOurs?: boolean
}

const POLL_MS = 50

/** The topics there are, as of the last time that the brokers were asked. */
export class KafkaTopicDirectory {
  readonly #cluster: KafkaCluster
  readonly #options: ResolvedKafkaOptions
  readonly #known = new Map<string, KafkaTopic>()
  #refreshing: Promise<void> | undefined

  constructor(cluster: KafkaCluster, options: ResolvedKafkaOptions) {
    this.#cluster = cluster
    this.#options = options
  }

  /** What was known of a topic when it was last asked for. */
  known(name: string): KafkaTopic | undefined {
    return this.#known.get(name)
  }

  /** Asks the brokers. @returns undefined when there is no such topic */
  async look(name: string): Promise<KafkaTopic | undefined> {
    const [topic] = await this.lookAll([name])
    return topic
  }

  /** @returns those that exist. */
  async lookAll(names: readonly string[]): Promise<readonly KafkaTopic[]> {
    const { topics } = await this.#cluster.metadata(names)
    return names.flatMap((name) => this.#note(name, topics) ?? [])
  }

  /** Asks again about all that is known, once for all who want it at the same time. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#lookAgain().finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  async #lookAgain(): Promise<void> {
    try {
      await this.lookAll([...this.#known.keys()])
    } catch (error) {
      // The brokers have answered; that a topic cannot be used is told by who wants to.
      if (!(error instanceof ConnectionError) || error.retryable) throw error
    }
  }

  /**
   * Finds a topic or creates it.
   *
   * @param onCreated - called when it was not there.
   * @throws ConnectionError when it is missing and must not or cannot be created
   */
  async ensure(name: string, profile: TopicProfile = {}, onCreated?: () => void): Promise<KafkaTopic> {
    const found = await this.look(name)
    if (found !== undefined) return found
    if (!this.#options.createTopics) {
      throw new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `Kafka at ${this.#cluster.address} has no topic ${name}. Create it, or let the bus do it (createTopics).`,
      )
    }
    await this.#create(name, profile)
    onCreated?.()
    return this.#untilLed(name)
  }

  async #create(name: string, { partitions = this.#options.topicPartitions, isOurs = false }: TopicProfile) {
    const config = { name: 'retention.ms', value: '-1' }
    const larger = { name: 'max.message.bytes', value: String(4 * this.#options.maxMessageBytes) }
    const { replicationFactor, requestTimeoutMs } = this.#options
    const request = {
      name,
      numPartitions: partitions,
      replicationFactor,
      assignments: [],
      configs: isOurs ? [config, larger] : [],
    }
    const { createTopics } = this.#cluster.session.apis
    const { topics } = await this.#cluster.request(undefined, 'control', createTopics, [
      [request],
      requestTimeoutMs,
      false,
    ])
    const { errorCode = CODE.NONE, errorMessage = null } = topics[0] ?? {}
    if (errorCode === CODE.NONE || errorCode === CODE.TOPIC_ALREADY_EXISTS) return
    const error = refusal(this.#cluster.address, `Creating the topic ${name}`, errorCode)
    if (errorMessage === null) throw error
    throw new ConnectionError(error.code, `${error.message} (${errorMessage})`)
  }

  /** A topic can be used when each partition has a leader, a moment after it was created. */
  async #untilLed(name: string): Promise<KafkaTopic> {
    const deadline = AbortSignal.timeout(this.#options.requestTimeoutMs)
    do {
      const topic = await this.look(name)
      if (topic?.leaders.every((leader) => leader >= 0) === true) return topic
    } while (await sleep(POLL_MS, deadline))
    throw new ConnectionError('CONNECTION_FAILED', `The topic ${name} was created and has no leader yet.`)
  }

  #note(name: string, topics: MetadataResponse['topics']): KafkaTopic | undefined {
    const found = topics.find((topic) => topic.name === name)
    if (found === undefined || found.errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION) {
      this.#known.delete(name)
      return undefined
    }
    if (found.errorCode === CODE.TOPIC_AUTHORIZATION_FAILED) {
      throw refusal(this.#cluster.address, `Using the topic ${name}`, found.errorCode)
    }
    if (found.errorCode !== CODE.NONE && found.errorCode !== CODE.LEADER_NOT_AVAILABLE) {
      throw new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `Kafka at ${this.#cluster.address} cannot use the topic ${name}: ${nameOf(found.errorCode)}.`,
      )
    }
    const leaders: number[] = []
    for (const { partitionIndex, leaderId } of found.partitions) leaders[partitionIndex] = leaderId
    const topic = { name, id: found.topicId, leaders: Array.from(leaders, (leader) => leader ?? -1) }
    this.#known.set(name, topic)
    return topic
  }
}
