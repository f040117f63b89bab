import {
  BrokerEventBus,
  type BrokerOptions,
  type Logger,
  type Transport,
  type TransportHost,
} from '../../src/index.ts'
import { KafkaEventBus } from '../../src/kafka/index.ts'
import { RabbitMQEventBus } from '../../src/rabbitmq/index.ts'
import { RedisEventBus } from '../../src/redis/index.ts'
import { type ResolvedRedisOptions, resolveRedisOptions } from '../../src/redis/options.ts'
import { RedisTransport } from '../../src/redis/transport.ts'
import type { BrokerKind } from '../brokers/broker.ts'
import { type Breakage, broken } from './broken-transport.ts'
import { CANARY, USER } from './secret-watch.ts'
import { isTampering, type Tampering, tamperedClient } from './tampered-client.ts'

export interface TortureBusOptions {
  readonly kind: BrokerKind
  readonly port: number
  /** Prefix of all names on the broker. */
  readonly scope: string
  readonly consumerGroup: string
  readonly consumerName: string
  /** Default {@link MAX_ATTEMPTS} - 1. */
  readonly maxRetries?: number
  /** Default {@link HANDLER_TIMEOUT_MS}. */
  readonly handlerTimeoutMs?: number
  /** A deliberately broken transport, to test that the judge finds the violation; only on Redis. */
  readonly breakage?: Breakage | Tampering
  /** Number of partitions. Default 1, on Kafka 6. */
  readonly partitions?: number
}

export const SCOPE = 'torture'
/** The group with one consumer at a time. */
export const ALONE = 'alone'
export const MAX_ATTEMPTS = 3
/** The `handlerTimeoutMs` of a run. */
export const HANDLER_TIMEOUT_MS = 1500
export const MAX_IN_FLIGHT = 50
/** After this time without a sign of life, in milliseconds, a consumer loses its messages. */
export const LEASE_MS = 3000

const quiet = () => undefined
const noLogger: Logger = { debug: quiet, info: quiet, warn: quiet, error: quiet }

/** A bus with timeouts that are short enough for a run of a minute, and with a password. */
export function createTortureBus(options: TortureBusOptions, logger = noLogger): BrokerEventBus {
  const { kind, port, scope, consumerGroup, consumerName, breakage, partitions = 1 } = options
  const { maxRetries = MAX_ATTEMPTS - 1, handlerTimeoutMs = HANDLER_TIMEOUT_MS } = options
  const common = {
    consumerGroup,
    maxRetries,
    retryBaseDelayMs: 50,
    retryMaxDelayMs: 200,
    maxInFlight: MAX_IN_FLIGHT,
    publishTimeoutMs: 20_000,
    handlerTimeoutMs,
    logger,
  }
  if (kind === 'redis') return createRedisBus({ ...common, port, scope, consumerName, breakage, partitions })
  if (kind === 'rabbitmq') {
    return new RabbitMQEventBus({
      ...common,
      rabbitmqUrl: `amqp://${USER}:${CANARY}@127.0.0.1:${port}/`,
      exchangeName: scope,
      prefetchCount: MAX_IN_FLIGHT,
      singleActiveConsumer: consumerGroup === ALONE,
      partitions,
      heartbeatMs: 1000,
      reconnectDelayMs: 300,
    })
  }
  return new KafkaEventBus({
    ...common,
    bootstrapServers: `127.0.0.1:${port}`,
    securityProtocol: 'SASL_PLAINTEXT',
    saslMechanism: 'PLAIN',
    saslUsername: USER,
    saslPassword: CANARY,
    topicPrefix: scope,
    topicPartitions: partitions > 1 ? partitions : 6,
    sessionTimeoutMs: LEASE_MS,
    heartbeatIntervalMs: 300,
    requestTimeoutMs: 3000,
    metadataMaxAgeMs: 1000,
  })
}

interface RedisParts extends BrokerOptions {
  readonly port: number
  readonly scope: string
  readonly consumerName: string
  readonly breakage: Breakage | Tampering | undefined
  readonly partitions: number
}

function createRedisBus({ port, scope, breakage, ...common }: RedisParts): BrokerEventBus {
  const options = {
    ...common,
    redisUrl: `redis://${USER}:${CANARY}@127.0.0.1:${port}`,
    streamPrefix: scope,
    pendingIdleMs: LEASE_MS,
    blockMs: 1000,
    socketTimeoutMs: 2000,
  }
  if (breakage === undefined) return new RedisEventBus(options)
  if (isTampering(breakage)) {
    const { redisUrl, ...others } = options
    return new RedisEventBus({ ...others, client: tamperedClient(redisUrl, breakage) })
  }
  const resolved = resolveRedisOptions(options)
  return new BrokenBus(resolved, (host) => broken(new RedisTransport(resolved, host), breakage))
}

/** A bus over a given transport. */
class BrokenBus extends BrokerEventBus {
  constructor(options: ResolvedRedisOptions, createTransport: (host: TransportHost) => Transport) {
    super(options, createTransport)
  }
}
