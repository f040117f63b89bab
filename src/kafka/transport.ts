import type { TransportAdmin } from '../transport/admin.ts'
import type { TransportCheckup } from '../transport/checkup.ts'
import type { GroupControlStore } from '../transport/control.ts'
import type { PresenceStore } from '../transport/presence.ts'
import type {
  Consumption,
  GroupTypeStore,
  Intake,
  OutgoingMessage,
  PublishFailure,
  ServerAddress,
  Transport,
  TransportHost,
} from '../transport/transport.ts'
import { KafkaCluster } from './client/cluster.ts'
import { KafkaCoordinator } from './client/coordinator.ts'
import { KafkaTopicDirectory } from './client/topics.ts'
import type { KafkaConsumption } from './consuming/consumption.ts'
import { KafkaGroupTypes } from './consuming/group-types.ts'
import { groupLag } from './consuming/offsets.ts'
import { KafkaTypesTopic, TYPES_PROFILE } from './consuming/types-topic.ts'
import { KafkaWaitingRecords, WAITING_PROFILE } from './consuming/waiting-records.ts'
import { KafkaDeadLetters } from './dead-letters/dead-letters.ts'
import type { ResolvedKafkaOptions } from './options.ts'
import { KafkaProducer } from './publishing/producer.ts'
import { KafkaPublisher } from './publishing/publisher.ts'

/**
 * The Kafka transport: a stream topic with consumer groups, a dead letter topic, and a replay topic per group if
 * needed.
 */
export class KafkaTransport implements Transport {
  readonly system = 'kafka'
  readonly destination: string
  readonly server: ServerAddress | undefined
  readonly consumerName: string
  readonly deadLetters: KafkaDeadLetters
  readonly groupTypes: GroupTypeStore
  readonly waiting: KafkaWaitingRecords
  readonly topics: KafkaTopicDirectory
  readonly #options: ResolvedKafkaOptions
  readonly #host: TransportHost
  readonly #cluster: KafkaCluster
  readonly #producer: KafkaProducer
  readonly #publisher: KafkaPublisher
  /** Reads offsets of the group without being a member. */
  readonly #coordinator: KafkaCoordinator
  /** Used by the classic protocol. */
  readonly #memberTypes = new KafkaGroupTypes()
  #consumption: KafkaConsumption | undefined
  #rebalances = 0

  constructor(options: ResolvedKafkaOptions, host: TransportHost) {
    this.destination = options.topics.stream
    this.consumerName = options.consumerName
    const [server, ...others] = options.servers
    this.server = others.length === 0 ? server : undefined
    this.#options = options
    this.#host = host
    this.#cluster = new KafkaCluster(options, {
      onLost: (error) => host.notify({ type: 'connectionLost', error }),
      onRestored: () => host.notify({ type: 'reconnected' }),
      onRefused: (error) => host.notify({ type: 'connectionLost', error }),
      onCheck: () => this.topics.refresh(),
    })
    this.#coordinator = new KafkaCoordinator(this.#cluster, options.consumerGroup)
    this.topics = new KafkaTopicDirectory(this.#cluster, options)
    const shared = { options, cluster: this.#cluster, topics: this.topics }
    const restoreTopic = (topic: string) => this.#restore(topic)
    this.#producer = new KafkaProducer({ ...shared, restoreTopic })
    this.#publisher = new KafkaPublisher({ ...shared, restoreTopic, producer: this.#producer })
    this.groupTypes =
      options.groupProtocol === 'classic'
        ? this.#memberTypes
        : new KafkaTypesTopic({ ...shared, publisher: this.#publisher })
    const refreshTopics = () => void this.#consumption?.refreshTopics().catch(() => undefined)
    this.deadLetters = new KafkaDeadLetters({
      ...shared,
      publisher: this.#publisher,
      onReplay: (group) => {
        if (group === options.consumerGroup) refreshTopics()
      },
      endPlaces: (places, group) => this.waiting.endOf(places, group),
    })
    this.waiting = new KafkaWaitingRecords({
      ...shared,
      publisher: this.#publisher,
      isOwner: () => this.#consumption?.ownsReplays === true,
      onTopics: refreshTopics,
    })
  }

  /** Rebalances of the group while this bus was a member. */
  get rebalances(): number {
    return this.#rebalances
  }

  async connect(): Promise<void> {
    await this.#cluster.connect()
    await this.topics.ensure(this.#options.topics.stream)
  }

  publish(messages: readonly OutgoingMessage[], signal: AbortSignal): Promise<readonly PublishFailure[]> {
    return this.#publisher.publish(messages, signal)
  }

  async consume(intake: Intake, stopped: AbortSignal = new AbortController().signal): Promise<Consumption> {
    const { KafkaConsumption } = await import('./consuming/consumption.ts')
    const consumption = new KafkaConsumption({
      options: this.#options,
      cluster: this.#cluster,
      topics: this.topics,
      publisher: this.#publisher,
      intake,
      host: this.#host,
      waiting: this.waiting,
      groupTypes: this.#memberTypes,
      onRebalance: () => {
        this.#rebalances += 1
      },
    })
    await consumption.start(stopped)
    this.#consumption = consumption
    // Its first partitions were assigned before it was the consumption of this transport.
    if (consumption.ownsReplays) this.waiting.onReady?.()
    return consumption
  }

  lag(): Promise<number | undefined> {
    if (this.#options.broadcast) return Promise.resolve(undefined)
    return groupLag(this.#cluster, this.topics, this.#coordinator, this.#options)
  }

  async loadAdmin(): Promise<TransportAdmin> {
    const { KafkaAdmin } = await import('./admin/admin.ts')
    return new KafkaAdmin({
      options: this.#options,
      cluster: this.#cluster,
      topics: this.topics,
      publisher: this.#publisher,
      deadLetters: this.deadLetters,
    })
  }

  async loadControl(): Promise<GroupControlStore> {
    const { KafkaGroupControl } = await import('./consuming/group-control.ts')
    return new KafkaGroupControl({
      options: this.#options,
      cluster: this.#cluster,
      topics: this.topics,
      publisher: this.#publisher,
    })
  }

  async loadPresence(): Promise<PresenceStore> {
    const { KafkaPresence } = await import('./admin/presence.ts')
    return new KafkaPresence({
      options: this.#options,
      cluster: this.#cluster,
      topics: this.topics,
      publisher: this.#publisher,
    })
  }

  async loadCheckup(): Promise<TransportCheckup> {
    const { KafkaCheckup } = await import('./admin/checkup.ts')
    return new KafkaCheckup(this.#options, this.#publisher)
  }

  async removeAll(groups: readonly string[]): Promise<void> {
    const { removeTopicsAndGroups } = await import('./admin/removal.ts')
    await removeTopicsAndGroups(this.#options, this.#cluster, groups)
  }

  async close(signal: AbortSignal): Promise<void> {
    this.#producer.close()
    await this.#cluster.close(signal)
  }

  /** Creates a topic that vanished while records wait for it. */
  async #restore(topic: string): Promise<void> {
    const { topics, consumerGroup } = this.#options
    const special = {
      [topics.types]: TYPES_PROFILE,
      [topics.presence]: TYPES_PROFILE,
      [topics.control]: WAITING_PROFILE,
      [topics.waiting(consumerGroup)]: WAITING_PROFILE,
    }
    const profile = special[topic] ?? { isBusOwned: topic !== topics.stream }
    await this.topics.ensure(topic, profile, () => {
      this.#host.notify({ type: 'topologyRestored', what: `topic ${topic}` })
    })
  }
}
