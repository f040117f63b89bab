import { counted } from '../../kit/counted.ts'
import type { GroupInfo } from '../../transport/admin.ts'
import { type Check, checksOf, type TransportCheckup } from '../../transport/checkup.ts'
import { KafkaCluster } from '../client/cluster.ts'
import { KafkaTopicDirectory } from '../client/topics.ts'
import { KafkaDeadLetters } from '../dead-letters/dead-letters.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaPublisher } from '../publishing/publisher.ts'
import { KafkaAdmin } from './admin.ts'
import { KAFKA_CHECKS } from './checks.ts'

/** Longest time to close the connections, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1000
const ignore = () => undefined

/** Checks a cluster over connections of its own. The bus does not connect, so that it creates no topic. */
export class KafkaCheckup implements TransportCheckup {
  readonly checks: readonly Check<void>[]
  readonly #options: ResolvedKafkaOptions
  readonly #cluster: KafkaCluster
  readonly #topics: KafkaTopicDirectory
  /** Not used: counting dead letters and waiting records publishes nothing. */
  readonly #publisher: KafkaPublisher

  constructor(options: ResolvedKafkaOptions, publisher: KafkaPublisher) {
    this.#options = options
    this.#publisher = publisher
    this.#cluster = new KafkaCluster(options, {
      onLost: ignore,
      onRestored: ignore,
      onRefused: ignore,
      onCheck: () => Promise.resolve(),
    })
    this.#topics = new KafkaTopicDirectory(this.#cluster, options)
    this.checks = checksOf(KAFKA_CHECKS, () => ({ options, cluster: this.#cluster }))
  }

  async open(): Promise<string> {
    await this.#cluster.connect()
    await this.#cluster.metadata([])
    const { length } = this.#cluster.brokerIds
    return `Connected to Kafka with ${counted(length, 'broker')} at ${this.#options.address}.`
  }

  groups(): Promise<readonly GroupInfo[]> {
    const shared = { options: this.#options, cluster: this.#cluster, topics: this.#topics }
    const parts = { ...shared, publisher: this.#publisher }
    const deadLetters = new KafkaDeadLetters({
      ...parts,
      onReplay: ignore,
      endPlaces: () => Promise.resolve(),
    })
    return new KafkaAdmin({ ...parts, deadLetters }).groups()
  }

  close(): Promise<void> {
    return this.#cluster.close(AbortSignal.timeout(CLOSE_TIMEOUT_MS))
  }
}
