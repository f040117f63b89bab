import type { TransportHost } from '../../transport/transport.ts'
import type { KafkaTopic, KafkaTopicDirectory } from '../client/topics.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { SubscribedTopic } from './membership.ts'

export interface SubscribedTopicsParts {
  readonly options: ResolvedKafkaOptions
  readonly topics: KafkaTopicDirectory
  readonly host: TransportHost
  /** Called when a topic was deleted and created again. */
  readonly onRecreated: (topic: KafkaTopic) => void
}

/** The topics that a group consumes: the stream, and the group's replay topic once it exists. Detects their changes. */
export class SubscribedTopics {
  readonly #parts: SubscribedTopicsParts
  readonly #known = new Map<string, KafkaTopic>()
  /** Topics of other members of the group, and their numbers of partitions when this member assigned them. */
  #others: ReadonlyMap<string, number> = new Map()

  constructor(parts: SubscribedTopicsParts) {
    this.#parts = parts
  }

  /** Creates the stream's topic if it is missing. @throws ConnectionError */
  async start(): Promise<void> {
    const { topics, options } = this.#parts
    const { stream } = options.topics
    this.#known.set(stream, await topics.ensure(stream))
  }

  /** Reads the topics from the brokers. @returns true if their partitions changed. @throws ConnectionError */
  async refresh(): Promise<boolean> {
    const { topics, options } = this.#parts
    const stream = await this.#ensureStream()
    const replays = await topics.find(options.topics.replays(options.consumerGroup))
    let hasChanged = false
    for (const topic of replays === undefined ? [stream] : [stream, replays]) {
      if (this.#update(topic)) hasChanged = true
    }
    return (await this.#haveOthersChanged()) || hasChanged
  }

  /** Reads the numbers of partitions of topics that other members of the group consume. @throws ConnectionError */
  async partitionCounts(names: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const counts = await this.#parts.topics.partitionCounts(names)
    this.#others = new Map(names.map((name) => [name, counts.get(name) ?? 0]))
    return counts
  }

  /** The topics and their partitions, as the brokers have them now. @throws ConnectionError */
  async read(): Promise<readonly SubscribedTopic[]> {
    const { topics, options } = this.#parts
    const replays = options.topics.replays(options.consumerGroup)
    this.#others = new Map()
    const found = [await this.#ensureStream(), ...(await topics.findAll([replays]))]
    for (const topic of found) this.#update(topic)
    return found.map(({ name, id, leaders }) => ({ name, id, partitions: leaders.length }))
  }

  /** Members of other libraries may not notice new partitions. */
  async #haveOthersChanged(): Promise<boolean> {
    const before = this.#others
    const counts = await this.#parts.topics.partitionCounts([...before.keys()])
    return [...before].some(([name, count]) => (counts.get(name) ?? 0) !== count)
  }

  /** @returns true if the number of partitions changed. */
  #update(topic: KafkaTopic): boolean {
    const before = this.#known.get(topic.name)
    this.#known.set(topic.name, topic)
    if (before !== undefined && before.id !== topic.id) this.#onRecreated(topic)
    else if (before !== undefined && topic.name === this.#parts.options.topics.stream)
      this.#reportAdded(before, topic)
    return before?.leaders.length !== topic.leaders.length
  }

  #onRecreated(topic: KafkaTopic): void {
    const detail = `topic ${topic.name} was deleted and recreated; its unhandled events are lost`
    this.#parts.host.notify({ type: 'eventsLost', detail, count: undefined })
    this.#parts.onRecreated(topic)
  }

  /** The partition of a key depends on the number of partitions, so the order per aggregate may break. */
  #reportAdded({ leaders: before }: KafkaTopic, { name, leaders }: KafkaTopic): void {
    if (leaders.length <= before.length) return
    const detail = `topic ${name} has ${leaders.length} partitions instead of ${before.length}`
    this.#parts.host.notify({ type: 'partitionsAdded', detail })
  }

  /** The stream's topic. It existed at the start, so it has vanished if it must be created now. */
  #ensureStream(): Promise<KafkaTopic> {
    const { topics, options, host } = this.#parts
    const { stream } = options.topics
    return topics.ensure(stream, {}, () => {
      host.notify({ type: 'topologyRestored', what: `topic ${stream}` })
    })
  }
}
