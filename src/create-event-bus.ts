import type { BrokerOptions } from './bus/broker-options.ts'
import type { EventBus } from './bus/event-bus.ts'
import { InMemoryEventBus, type InMemoryEventBusOptions } from './bus/in-memory-event-bus.ts'
import { ConfigError, describeValue } from './errors.ts'
import { KafkaEventBus, type KafkaEventBusOptions } from './kafka/index.ts'
import { RabbitMQEventBus, type RabbitMQEventBusOptions } from './rabbitmq/index.ts'
import { RedisEventBus, type RedisEventBusOptions } from './redis/index.ts'

/** Options for any bus: what all share, and what one broker alone has. */
export interface CreateEventBusOptions extends BrokerOptions {
  /** Where events go: prefix of the stream or topic, name of the exchange. Default `'events'`. */
  readonly prefix?: string
  /** Further options, used when the URL is a Redis one. */
  readonly redis?: RedisEventBusOptions
  /** Further options, used when the URL is a RabbitMQ one. */
  readonly rabbitmq?: RabbitMQEventBusOptions
  /** Further options, used when the URL is a Kafka one; credentials and certificates are among them. */
  readonly kafka?: KafkaEventBusOptions
}

type Create = (url: string, options: CreateEventBusOptions) => EventBus

const SCHEMES: Readonly<Record<string, Create>> = {
  'memory:': (_url, options) => new InMemoryEventBus(memoryOptions(options)),
  'redis:': createRedisBus,
  'rediss:': createRedisBus,
  'amqp:': createRabbitMQBus,
  'amqps:': createRabbitMQBus,
  'kafka:': createKafkaBus,
}

/**
 * Makes the bus that a URL asks for, so that moving from one broker to another is a change of configuration only:
 * `memory:`, `redis://`, `rediss://`, `amqp://`, `amqps://`, `kafka://host:port,host:port`. In memory the options about
 * groups, retries and dead letters have no meaning and are left aside.
 *
 * @throws ConfigError when the URL or an option is wrong.
 */
export function createEventBus(url: string, options: CreateEventBusOptions = {}): EventBus {
  const scheme = typeof url === 'string' ? /^[a-z]+:/.exec(url)?.[0] : undefined
  const create = scheme === undefined ? undefined : SCHEMES[scheme]
  if (create === undefined) {
    const given = scheme === undefined ? describeValue(url) : `one that begins with ${scheme}`
    throw new ConfigError('createEventBus', [
      `the URL must begin with ${Object.keys(SCHEMES).join(', ')} and name a broker, got ${given}`,
    ])
  }
  return create(url, options)
}

function createRedisBus(
  redisUrl: string,
  { prefix, redis, rabbitmq: _, kafka: _k, ...common }: CreateEventBusOptions,
): EventBus {
  return new RedisEventBus({
    ...common,
    ...(prefix === undefined ? {} : { streamPrefix: prefix }),
    ...redis,
    redisUrl,
  })
}

function createRabbitMQBus(
  rabbitmqUrl: string,
  { prefix, rabbitmq, redis: _, kafka: _k, ...common }: CreateEventBusOptions,
): EventBus {
  return new RabbitMQEventBus({
    ...common,
    ...(prefix === undefined ? {} : { exchangeName: prefix }),
    ...rabbitmq,
    rabbitmqUrl,
  })
}

function createKafkaBus(
  url: string,
  { prefix, kafka, redis: _, rabbitmq: _r, ...common }: CreateEventBusOptions,
): EventBus {
  const bootstrapServers = url.replace(/^kafka:\/*/, '').replace(/\/$/, '')
  if (bootstrapServers.includes('@')) {
    throw new ConfigError('createEventBus', [
      'a kafka: URL holds no credentials; give them as kafka: { securityProtocol, saslMechanism, saslUsername, saslPassword }',
    ])
  }
  return new KafkaEventBus({
    ...common,
    ...(prefix === undefined ? {} : { topicPrefix: prefix }),
    ...kafka,
    bootstrapServers,
  })
}

function memoryOptions(options: CreateEventBusOptions): InMemoryEventBusOptions {
  const {
    propagateCausation,
    enableTracing,
    tracer,
    enableMetrics,
    meter,
    logger,
    registry,
    handlerTimeoutMs,
    maxBackgroundPublishes,
    shutdownTimeoutMs,
  } = options
  const picked = {
    propagateCausation,
    enableTracing,
    tracer,
    enableMetrics,
    meter,
    logger,
    registry,
    handlerTimeoutMs,
    maxBackgroundPublishes,
    shutdownTimeoutMs,
  }
  // Options that are undefined count as absent.
  return Object.fromEntries(Object.entries(picked).filter(([, value]) => value !== undefined))
}
