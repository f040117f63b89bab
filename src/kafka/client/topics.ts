import { sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import { CODE, refusal } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaCluster } from './cluster.ts'
import type { MetadataResponse } from './protocol.ts'

/** A topic as the brokers describe it. */
export interface KafkaTopic {
  readonly name: string
  /** Changes when the topic is deleted and recreated. */
  readonly id: string
  /** The leader of each partition; -1 while it has none. */
  readonly leaders: readonly number[]
}

/** How to create a topic, in addition to the user's options. */
export interface TopicProfile {
  readonly partitions?: number
  /** True for the bus's own topics. They keep records forever, and accept larger ones than the stream does. */
  readonly isBusOwned?: boolean
  /** Further settings of the topic. */
  readonly configs?: readonly { readonly name: string; readonly value: string }[]
}

const POLL_MS = 50

/** Reads and creates topics, and caches the last responses of the brokers. */
export class KafkaTopicDirectory {
  readonly #cluster: KafkaCluster
  readonly #options: ResolvedKafkaOptions
  readonly #cache = new Map<string, KafkaTopic>()
  #refreshing: Promise<void> | undefined

  constructor(cluster: KafkaCluster, options: ResolvedKafkaOptions) {
    this.#cluster = cluster
    this.#options = options
  }

  /** The topic as of the last answer that contained it. */
  cached(name: string): KafkaTopic | undefined {
    return this.#cache.get(name)
  }

  /** Reads a topic from the brokers. @returns undefined if it does not exist. @throws ConnectionError */
  async find(name: string): Promise<KafkaTopic | undefined> {
    const [topic] = await this.findAll([name])
    return topic
  }

  /** Reads topics from the brokers. @returns those that exist. @throws ConnectionError */
  async findAll(names: readonly string[]): Promise<readonly KafkaTopic[]> {
    const { topics } = await this.#cluster.metadata(names)
    return names.flatMap((name) => this.#update(name, topics) ?? [])
  }

  /** Reads how many partitions topics have, without those that cannot be read. Caches nothing. @throws ConnectionError */
  async partitionCounts(names: readonly string[]): Promise<ReadonlyMap<string, number>> {
    if (names.length === 0) return new Map()
    const { topics } = await this.#cluster.metadata(names)
    return new Map(
      topics.map(({ name, partitions }) => [name, partitions.length] as const).filter(([, n]) => n > 0),
    )
  }

  /** Reads all cached topics again. Concurrent callers share one request. @throws ConnectionError */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refreshAll().finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  async #refreshAll(): Promise<void> {
    const names = [...this.#cache.keys()]
    const { topics } = await this.#cluster.metadata(names)
    for (const name of names) {
      try {
        this.#update(name, topics)
      } catch (error) {
        // The brokers answered. A topic that cannot be used is reported by the caller that uses it.
        if (!(error instanceof ConnectionError)) throw error
      }
    }
  }

  /**
   * Finds a topic or creates it.
   *
   * @param onCreated - called if the topic was missing.
   * @throws ConnectionError if the topic is missing and cannot or must not be created.
   */
  async ensure(name: string, profile: TopicProfile = {}, onCreated?: () => void): Promise<KafkaTopic> {
    const found = await this.find(name)
    if (found !== undefined) return found
    if (!this.#options.createTopics) {
      throw new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `Kafka at ${this.#cluster.address} has no topic ${name}. Create it, or let the bus do it (createTopics).`,
      )
    }
    await this.#create(name, profile)
    onCreated?.()
    return this.#whenLed(name)
  }

  async #create(
    name: string,
    { partitions = this.#options.topicPartitions, isBusOwned = false, configs = [] }: TopicProfile,
  ): Promise<void> {
    const { replicationFactor, requestTimeoutMs, maxMessageBytes } = this.#options
    const keepForever = { name: 'retention.ms', value: '-1' }
    const acceptLarge = { name: 'max.message.bytes', value: String(4 * maxMessageBytes) }
    const request = {
      name,
      numPartitions: partitions,
      replicationFactor,
      assignments: [],
      configs: [...(isBusOwned ? [keepForever, acceptLarge] : []), ...configs],
    }
    const { topics } = await this.#cluster.request(undefined, 'control', ({ createTopics }) => createTopics, [
      [request],
      requestTimeoutMs,
      false,
    ])
    const { errorCode = CODE.NONE, errorMessage = null } = topics[0] ?? {}
    if (errorCode === CODE.NONE || errorCode === CODE.TOPIC_ALREADY_EXISTS) return
    throw refusal(this.#cluster.address, `Creating the topic ${name}`, errorCode, errorMessage)
  }

  /** Waits until each partition of a new topic has a leader. */
  async #whenLed(name: string): Promise<KafkaTopic> {
    const deadline = AbortSignal.timeout(this.#options.requestTimeoutMs)
    do {
      const topic = await this.find(name)
      if (topic?.leaders.every((leader) => leader >= 0) === true) return topic
    } while (await sleep(POLL_MS, deadline))
    throw new ConnectionError('CONNECTION_FAILED', `The new topic ${name} has no leader yet.`)
  }

  #update(name: string, topics: MetadataResponse['topics']): KafkaTopic | undefined {
    const found = topics.find((topic) => topic.name === name)
    if (found === undefined || found.errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION) {
      this.#cache.delete(name)
      return undefined
    }
    if (found.errorCode !== CODE.NONE && found.errorCode !== CODE.LEADER_NOT_AVAILABLE) {
      throw refusal(this.#cluster.address, `Using the topic ${name}`, found.errorCode)
    }
    const leaders: number[] = []
    for (const { partitionIndex, leaderId } of found.partitions) leaders[partitionIndex] = leaderId
    const topic = { name, id: found.topicId, leaders: Array.from(leaders, (leader) => leader ?? -1) }
    this.#cache.set(name, topic)
    return topic
  }
}
