import { type BrokerOptions, brokerDefaults, brokerRules } from './bus/broker-options.ts'
import { InMemoryEventBus } from './bus/in-memory-event-bus.ts'
import { type InMemoryEventBusOptions, inMemoryRules } from './bus/in-memory-options.ts'
import { ConfigError, describeValue } from './errors.ts'
import { KafkaEventBus, type KafkaEventBusOptions } from './kafka/index.ts'
import { resolveKafkaOptions } from './kafka/options.ts'
import { nonEmptyText, type OptionRule, objectWith, optional, resolveOptions } from './kit/options.ts'
import { RabbitMQEventBus, type RabbitMQEventBusOptions } from './rabbitmq/index.ts'
import { resolveRabbitMQOptions } from './rabbitmq/options.ts'
import { rememberCredentials } from './redaction.ts'
import { RedisEventBus, type RedisEventBusOptions } from './redis/index.ts'
import { resolveRedisOptions } from './redis/options.ts'

/** Options for any bus: the options that all buses have, and the options of one broker. */
export interface CreateEventBusOptions extends BrokerOptions {
  /** Prefix of the stream or topic that events are published to, or name of the exchange. Default `'events'`. */
  readonly prefix?: string
  /** Further options, used if the URL is that of a Redis server. The server is in the URL only. */
  readonly redis?: Omit<RedisEventBusOptions, 'redisUrl' | 'client'>
  /** Further options, used if the URL is that of a RabbitMQ server. The server is in the URL only. */
  readonly rabbitmq?: Omit<RabbitMQEventBusOptions, 'rabbitmqUrl'>
  /**
   * Further options, used if the URL is that of a Kafka cluster. Credentials and certificates are among them. The servers
   * are in the URL only.
   */
  readonly kafka?: Omit<KafkaEventBusOptions, 'bootstrapServers'>
}

/** A bus of this package. `bus instanceof BrokerEventBus` narrows it to those with dead letters and notices. */
export type AnyEventBus = InMemoryEventBus | RedisEventBus | RabbitMQEventBus | KafkaEventBus

/** The bus that {@link createEventBus} returns for a URL; a union if only a `string` is known. */
export type EventBusFor<Url extends string> = string extends Url
  ? AnyEventBus
  : Url extends `memory:${string}`
    ? InMemoryEventBus
    : Url extends `redis:${string}` | `rediss:${string}`
      ? RedisEventBus
      : Url extends `amqp:${string}` | `amqps:${string}`
        ? RabbitMQEventBus
        : Url extends `kafka:${string}`
          ? KafkaEventBus
          : AnyEventBus

type Create = (url: string, options: CreateEventBusOptions) => AnyEventBus

const SCHEMES: Readonly<Record<string, Create>> = {
  'memory:': createInMemoryBus,
  'redis:': createRedisBus,
  'rediss:': createRedisBus,
  'amqp:': createRabbitMQBus,
  'amqps:': createRabbitMQBus,
  'kafka:': createKafkaBus,
}

/**
 * Creates the bus for a URL, so that only the configuration changes when a program moves to another broker. URLs start
 * with `memory:`, `redis://`, `rediss://`, `amqp://`, `amqps://` or `kafka://host:port,host:port`. In memory, options
 * for consumer groups, retries and dead letters are ignored. Every option is checked for every URL, so that a mistake does
 * not wait for the broker that it is meant for.
 *
 * @throws ConfigError if the URL or an option is wrong, or if an option contradicts the URL.
 * @example
 * const bus = createEventBus(process.env['BUS_URL'] ?? 'memory:')
 * if (bus instanceof BrokerEventBus) bus.onNotice((notice) => console.log(notice.type))
 */
export function createEventBus<const Url extends string>(
  url: Url,
  options: CreateEventBusOptions = {},
): EventBusFor<Url> {
  rememberCredentials(url)
  const scheme = typeof url === 'string' ? /^[a-z]+:/.exec(url)?.[0] : undefined
  const create = scheme === undefined ? undefined : SCHEMES[scheme]
  if (create === undefined) {
    // Whatever the text is, it may contain a password.
    const given = typeof url === 'string' ? `a text${schemeOf(url)}` : describeValue(url)
    throw new ConfigError('createEventBus', [
      `the URL must start with ${Object.keys(SCHEMES).join(', ')} and name a broker, got ${given}`,
    ])
  }
  // A program without types may pass null.
  const given = options ?? {}
  checkOptions(given)
  // The scheme selects the function that creates the bus, and its type.
  return create(url, given) as EventBusFor<Url>
}

/** The scheme of a text that looks like a URL, as part of a sentence. */
function schemeOf(text: string): string {
  const scheme = /^[A-Za-z][A-Za-z0-9+.-]{0,19}:\/\//.exec(text.slice(0, 30).trimStart())?.[0]
  return scheme === undefined ? '' : ` that starts with ${JSON.stringify(scheme)}`
}

const ownDefaults = {
  ...brokerDefaults,
  prefix: undefined as string | undefined,
  redis: undefined as object | undefined,
  rabbitmq: undefined as object | undefined,
  kafka: undefined as object | undefined,
}

const ownRules: Readonly<Record<keyof typeof ownDefaults, OptionRule>> = {
  ...brokerRules,
  prefix: optional(nonEmptyText),
  redis: optional(objectWith('an object with options of RedisEventBus')),
  rabbitmq: optional(objectWith('an object with options of RabbitMQEventBus')),
  kafka: optional(objectWith('an object with options of KafkaEventBus')),
}

/** The options of each broker, those that name its servers, and the one that `prefix` stands for. */
const SECTIONS = {
  redis: { resolve: resolveRedisOptions, servers: ['redisUrl', 'client'], prefix: 'streamPrefix' },
  rabbitmq: { resolve: resolveRabbitMQOptions, servers: ['rabbitmqUrl'], prefix: 'exchangeName' },
  kafka: { resolve: resolveKafkaOptions, servers: ['bootstrapServers'], prefix: 'topicPrefix' },
} as const

/** Checks all options, also those of brokers that the URL does not name. @throws ConfigError */
function checkOptions(options: CreateEventBusOptions): void {
  const { prefix } = resolveOptions('createEventBus', options, ownDefaults, ownRules)
  for (const [name, section] of Object.entries(SECTIONS)) {
    const given: object = Reflect.get(options, name) ?? {}
    const isGiven = (option: string) => (Reflect.get(given, option) ?? undefined) !== undefined
    const faults = section.servers
      .filter(isGiven)
      .map((option) => `${name}.${option} contradicts the URL: name the servers in the URL only`)
    if (prefix !== undefined && isGiven(section.prefix)) {
      faults.push(`${name}.${section.prefix} contradicts prefix: pass one of them`)
    }
    if (faults.length > 0) throw new ConfigError('createEventBus', faults)
    section.resolve(given)
  }
}

function createInMemoryBus(url: string, options: CreateEventBusOptions): InMemoryEventBus {
  if (!/^memory:(?:\/\/)?$/.test(url)) {
    throw new ConfigError('createEventBus', [
      'a memory: URL has nothing after memory:, because there is no server',
    ])
  }
  return new InMemoryEventBus(memoryOptions(options))
}

function createRedisBus(
  redisUrl: string,
  { prefix, redis, rabbitmq: _, kafka: _k, ...common }: CreateEventBusOptions,
): RedisEventBus {
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
): RabbitMQEventBus {
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
): KafkaEventBus {
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

/** The options of the broker buses that the bus in memory has, too. */
function memoryOptions(options: CreateEventBusOptions): InMemoryEventBusOptions {
  const isOwn = ([name, value]: readonly [string, unknown]) =>
    value !== undefined && Object.hasOwn(inMemoryRules, name)
  return Object.fromEntries(Object.entries(options).filter(isOwn))
}
