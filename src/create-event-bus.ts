import { type BrokerOptions, brokerDefaults, brokerRules } from './bus/broker-options.ts'
import type { EventBus } from './bus/event-bus.ts'
import { InMemoryEventBus, type InMemoryEventBusOptions } from './bus/in-memory-event-bus.ts'
import { ConfigError, describeValue } from './errors.ts'
import { KafkaEventBus, type KafkaEventBusOptions } from './kafka/index.ts'
import { resolveKafkaOptions } from './kafka/options.ts'
import { resolveOptions } from './kit/options.ts'
import { RabbitMQEventBus, type RabbitMQEventBusOptions } from './rabbitmq/index.ts'
import { resolveRabbitMQOptions } from './rabbitmq/options.ts'
import { rememberCredentials } from './redaction.ts'
import { RedisEventBus, type RedisEventBusOptions } from './redis/index.ts'
import { resolveRedisOptions } from './redis/options.ts'

/** Options for any bus: the options that all buses have, and the options of one broker. */
export interface CreateEventBusOptions extends BrokerOptions {
  /** Prefix of the stream or topic that events are published to, or name of the exchange. Default `'events'`. */
  readonly prefix?: string
  /** Further options, used if the URL is that of a Redis server. */
  readonly redis?: RedisEventBusOptions
  /** Further options, used if the URL is that of a RabbitMQ server. */
  readonly rabbitmq?: RabbitMQEventBusOptions
  /** Further options, used if the URL is that of a Kafka cluster. Credentials and certificates are among them. */
  readonly kafka?: KafkaEventBusOptions
}

type Create = (url: string, options: CreateEventBusOptions) => EventBus

const SCHEMES: Readonly<Record<string, Create>> = {
  'memory:': createMemoryBus,
  'redis:': createRedisBus,
  'rediss:': createRedisBus,
  'amqp:': createRabbitMQBus,
  'amqps:': createRabbitMQBus,
  'kafka:': createKafkaBus,
}

/**
 * Creates the bus for a URL, so that only the configuration changes when a program moves to another broker. URLs start
 * with `memory:`, `redis://`, `rediss://`, `amqp://`, `amqps://` or `kafka://host:port,host:port`. In memory, options
 * for consumer groups, retries and dead letters are checked and ignored.
 *
 * @throws ConfigError if the URL or an option is wrong.
 */
export function createEventBus(url: string, options: CreateEventBusOptions = {}): EventBus {
  rememberCredentials(url)
  const scheme = typeof url === 'string' ? /^[a-z]+:/.exec(url)?.[0] : undefined
  const create = scheme === undefined ? undefined : SCHEMES[scheme]
  if (create === undefined) {
    // Whatever the text is, it may contain a password.
    const given = typeof url === 'string' ? `another text${schemeOf(url)}` : describeValue(url)
    throw new ConfigError('createEventBus', [
      `the URL must start with ${Object.keys(SCHEMES).join(', ')} and name a broker, got ${given}`,
    ])
  }
  // A program without types may pass null.
  const given = options ?? {}
  checkSections(given)
  return create(url, given)
}

/**
 * Checks the options of all brokers, so that a fault is reported before a program moves to another broker.
 * @throws ConfigError
 */
function checkSections({ redis, rabbitmq, kafka }: CreateEventBusOptions): void {
  if (redis) resolveRedisOptions(redis)
  if (rabbitmq) resolveRabbitMQOptions(rabbitmq)
  if (kafka) resolveKafkaOptions(kafka)
}

/** The scheme of a text that looks like a URL, as part of a sentence. */
function schemeOf(text: string): string {
  const scheme = /^[A-Za-z][A-Za-z0-9+.-]{0,19}:\/\//.exec(text.slice(0, 30).trimStart())?.[0]
  return scheme === undefined ? '' : ` that starts with ${JSON.stringify(scheme)}`
}

function createMemoryBus(url: string, options: CreateEventBusOptions): EventBus {
  if (url.includes('?')) {
    throw new ConfigError('createEventBus', ['a memory: URL has no parameters; pass them as options'])
  }
  return new InMemoryEventBus(memoryOptions(options))
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
      'a kafka: URL must not contain credentials; pass them as kafka: { securityProtocol, saslMechanism, saslUsername, saslPassword }',
    ])
  }
  return new KafkaEventBus({
    ...common,
    ...(prefix === undefined ? {} : { topicPrefix: prefix }),
    ...kafka,
    bootstrapServers,
  })
}

function memoryOptions({
  prefix: _,
  redis: _r,
  rabbitmq: _m,
  kafka: _k,
  ...options
}: CreateEventBusOptions): InMemoryEventBusOptions {
  // Checked although most have no effect in memory. Otherwise a misspelt option would be reported only when a broker is
  // used.
  resolveOptions('createEventBus', options, brokerDefaults, brokerRules)
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
