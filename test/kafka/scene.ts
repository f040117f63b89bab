import { randomUUID } from 'node:crypto'
import { inject, onTestFinished } from 'vitest'
import type { BusNotice, DomainEvent } from '../../src/index.ts'
import { KafkaEventBus, type KafkaEventBusOptions } from '../../src/kafka/index.ts'
import { endpointOf } from '../brokers/endpoint.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { waitFor } from '../support/wait-for.ts'
import { administer } from './plain-kafka.ts'
import { KafkaProxy } from './proxy.ts'

/** A fresh name for a test's topics. */
export function freshName(): string {
  return `test-${randomUUID().slice(0, 8)}`
}

/** A bus with short times, shut down when the test ends. Its group is the topic's own: groups know no topics. */
export function createBus(options: KafkaEventBusOptions = {}): KafkaEventBus {
  const { topicPrefix = freshName() } = options
  const bus = new KafkaEventBus({
    bootstrapServers: inject('kafkaBootstrapServers'),
    topicPrefix,
    consumerGroup: topicPrefix,
    sessionTimeoutMs: 6000,
    heartbeatIntervalMs: 200,
    metadataMaxAgeMs: 500,
    retryBaseDelayMs: 10,
    retryMaxDelayMs: 50,
    shutdownTimeoutMs: 5000,
    logger: new RecordingLogger(),
    ...options,
  })
  onTestFinished(() => bus.shutdown({ timeoutMs: 3000 }))
  return bus
}

/** Starts a bus and waits until it consumes. */
export async function consume(bus: KafkaEventBus): Promise<KafkaEventBus> {
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  return bus
}

/** A proxy in front of the shared Kafka; closed when the test ends. */
export async function startProxy(): Promise<KafkaProxy> {
  const proxy = await KafkaProxy.start(endpointOf('kafka', inject('kafkaBootstrapServers')).port)
  onTestFinished(() => proxy.close())
  return proxy
}

/** Keeps what a bus hands to a handler of all events. */
export function recorder(bus: KafkaEventBus): DomainEvent[] {
  const events: DomainEvent[] = []
  bus.subscribeToAllEvents((event) => {
    events.push(event)
  })
  return events
}

export function noticesOf(bus: KafkaEventBus): BusNotice[] {
  const notices: BusNotice[] = []
  bus.onNotice((notice) => notices.push(notice))
  return notices
}

export async function until(
  what: string | (() => string),
  condition: () => unknown,
  timeoutMs = 15_000,
): Promise<void> {
  await waitFor(condition, { timeoutMs, describe: typeof what === 'string' ? () => what : what })
}

/** What a group has committed: offset and metadata of each partition that has one. */
export async function committedOf(
  topic: string,
  group: string,
  server: string = inject('kafkaBootstrapServers'),
): Promise<ReadonlyMap<number, { readonly offset: number; readonly metadata: string | null }>> {
  const [answer] = await administer(server, (admin) => admin.listConsumerGroupOffsets({ groups: [group] }))
  const partitions = answer?.topics.find(({ name }) => name === topic)?.partitions ?? []
  return new Map(
    partitions
      .filter(({ committedOffset }) => committedOffset >= 0n)
      .map(({ partitionIndex, committedOffset, metadata }) => [
        partitionIndex,
        { offset: Number(committedOffset), metadata },
      ]),
  )
}
