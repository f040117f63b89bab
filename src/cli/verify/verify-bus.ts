import type { BrokerEventBus } from '../../bus/index.ts'
import { type CreateEventBusOptions, createEventBus } from '../../create-event-bus.ts'
import type { BusTarget } from '../target.ts'

/** What differs between the buses of a run. */
export interface VerifyBusOptions {
  /** Start of all names on the broker. */
  readonly prefix: string
  readonly consumerGroup: string
  readonly consumerName: string
  /** True if the group has one consumer at a time. */
  readonly isAlone: boolean
  /** Undefined for one, or what the configuration says. */
  readonly partitions: number | undefined
}

export const MAX_ATTEMPTS = 3
export const MAX_IN_FLIGHT = 50
/** For events of the run. Handlers of the user may take as long as their bus allows. */
export const HANDLER_TIMEOUT_MS = 1500
const RETRY_MAX_DELAY_MS = 200
/** Partitions of a topic, if the configuration does not say. */
const TOPIC_PARTITIONS = 6

/** After this time without a sign of life, in milliseconds, a consumer loses its messages. Kafka allows no shorter one. */
export function leaseMsOf(url: string): number {
  return isKafka(url) ? 6000 : 3000
}

export function isKafka(url: string): boolean {
  return url.startsWith('kafka:')
}

/** How long a handler of the user may run. Default 10 s. */
function usersTimeoutMs({ options }: BusTarget): number {
  return Math.min(options?.handlerTimeoutMs ?? 10_000, 60_000)
}

/** How long an event can be with a consumer without a sign of it at the broker: RabbitMQ does not report what is in flight. */
export function heldMsOf(target: BusTarget, isOwnHandlers: boolean): number {
  const handlerTimeoutMs = isOwnHandlers ? HANDLER_TIMEOUT_MS : usersTimeoutMs(target)
  return MAX_ATTEMPTS * (handlerTimeoutMs + RETRY_MAX_DELAY_MS) + 2 * leaseMsOf(target.url)
}

/** How many partitions a run has. */
export function partitionsOf({ url, options }: BusTarget, given: number | undefined): number {
  if (isKafka(url)) return given ?? options?.kafka?.topicPartitions ?? TOPIC_PARTITIONS
  return given ?? (url.startsWith('redis') ? options?.redis : options?.rabbitmq)?.partitions ?? 1
}

/** A bus with the user's connection, and with names and timeouts of the run. */
export function createVerifyBus(
  target: BusTarget,
  own: VerifyBusOptions,
  isOwnHandlers: boolean,
): BrokerEventBus {
  const { prefix, consumerGroup, consumerName, isAlone } = own
  const leaseMs = leaseMsOf(target.url)
  const partitions = partitionsOf(target, own.partitions)
  const {
    audit: _a,
    broadcast: _b,
    retryDelaysMs: _r,
    retryIf: _i,
    discardIf: _d,
    ...given
  } = target.options ?? {}
  const { redis, rabbitmq, kafka, ...common } = given
  const { streamPrefix: _s, ...redisOptions } = redis ?? {}
  const { exchangeName: _e, singleActiveConsumer: _o, ...rabbitmqOptions } = rabbitmq ?? {}
  const { topicPrefix: _t, groupInstanceId: _g, ...kafkaOptions } = kafka ?? {}
  const options: CreateEventBusOptions = {
    publishTimeoutMs: 20_000,
    ...common,
    ...{ prefix, consumerGroup, maxRetries: MAX_ATTEMPTS - 1 },
    ...{ retryBaseDelayMs: 50, retryMaxDelayMs: RETRY_MAX_DELAY_MS },
    ...{ maxInFlight: MAX_IN_FLIGHT, enableDlq: true, unhandledEvents: 'skip', logger: SILENT },
    handlerTimeoutMs: isOwnHandlers ? HANDLER_TIMEOUT_MS : usersTimeoutMs(target),
    redis: { blockMs: 1000, ...redisOptions, consumerName, partitions, pendingIdleMs: leaseMs },
    rabbitmq: {
      ...{ heartbeatMs: 1000, reconnectDelayMs: 300, ...rabbitmqOptions },
      ...{ partitions, prefetchCount: MAX_IN_FLIGHT, singleActiveConsumer: isAlone },
    },
    kafka: {
      ...{ heartbeatIntervalMs: 500, requestTimeoutMs: 5000, metadataMaxAgeMs: 1000, ...kafkaOptions },
      ...{ topicPartitions: partitions, createTopics: true, sessionTimeoutMs: leaseMs },
    },
  }
  // The command refuses a bus in memory, the only one that is no BrokerEventBus.
  return createEventBus(target.url, options) as BrokerEventBus
}

const ignore = () => undefined
const SILENT = { debug: ignore, info: ignore, warn: ignore, error: ignore }
