import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { ConfigError } from '../../src/index.ts'
import { KafkaEventBus } from '../../src/kafka/index.ts'
import { resolveKafkaOptions } from '../../src/kafka/options.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

/** Constructs a bus with arbitrary options. */
const construct = (options: object) => () => new KafkaEventBus({ logger: new RecordingLogger(), ...options })

function faultsOf(options: object): readonly string[] {
  try {
    construct(options)()
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
  return []
}

describe('the options of KafkaEventBus', () => {
  it("default to eventsource-py's", () => {
    expect(resolveKafkaOptions({})).toMatchObject({
      bootstrapServers: 'localhost:9092',
      topicPrefix: 'events',
      consumerGroup: 'default',
      acks: 'all',
      compressionType: 'gzip',
      batchSizeBytes: 16_384,
      lingerMs: 5,
      autoOffsetReset: 'earliest',
      sessionTimeoutMs: 30_000,
      maxPollIntervalMs: 300_000,
      maxRetries: 3,
      retryBaseDelayMs: 1000,
      retryMaxDelayMs: 60_000,
      retryJitter: 0.1,
      enableDlq: true,
      dlqTopicSuffix: '.dlq',
      securityProtocol: 'PLAINTEXT',
      saslMechanism: undefined,
      saslUsername: undefined,
      saslPassword: undefined,
      sslCafile: undefined,
      sslCertfile: undefined,
      sslKeyfile: undefined,
      sslCheckHostname: true,
      enableTracing: true,
      shutdownTimeoutMs: 30_000,
    })
  })

  it('default to the documented values if eventsource-py does not have them', () => {
    expect(resolveKafkaOptions({})).toMatchObject({
      heartbeatIntervalMs: 1000,
      idempotent: true,
      maxMessageBytes: 1_000_000,
      createTopics: true,
      topicPartitions: 3,
      replicationFactor: -1,
      groupInstanceId: undefined,
      groupProtocol: 'classic',
      partitionAssignor: 'cooperative-sticky',
      commitIntervalMs: 100,
      commitCount: 500,
      partitionWindow: 10_000,
      fetchMaxWaitMs: 500,
      fetchMaxBytes: 1_048_576,
      maxBatchBytes: 33_554_432,
      maxBatchRecords: 100_000,
      maxResponseBytes: 67_108_864,
      metadataMaxAgeMs: 5000,
      connectTimeoutMs: 5000,
      requestTimeoutMs: 10_000,
    })
  })

  it('name the topics', () => {
    const { topics } = resolveKafkaOptions({ topicPrefix: 'myapp.events' })
    expect(topics).toMatchObject({ stream: 'myapp.events.stream', deadLetters: 'myapp.events.stream.dlq' })
    expect(resolveKafkaOptions({ dlqTopicSuffix: '-dead' }).topics.deadLetters).toBe('events.stream-dead')
  })

  it('give every group its own replay topic, with a valid name', () => {
    const { topics } = resolveKafkaOptions({})
    expect(topics.replays('billing')).toBe('events.stream.replay.billing')
    const groups = ['a/b', 'a b', 'a_b', 'a.b', 'ä', '💥', 'x'.repeat(300), `${'x'.repeat(299)}y`]
    const names = groups.map((group) => topics.replays(group))
    // Kafka refuses topics whose names differ only in dots and underscores.
    expect(new Set(names.map((name) => name.replaceAll('.', '_'))).size).toBe(groups.length)
    for (const name of names) expect(name).toMatch(/^[A-Za-z0-9._-]{1,249}$/)
  })

  it('default to a unique consumer name', () => {
    const [first, second] = [new KafkaEventBus(), new KafkaEventBus()].map(({ consumerName }) => consumerName)
    expect(first).toMatch(/^.+-[0-9a-f]{8}$/)
    expect(first).not.toBe(second)
    expect(new KafkaEventBus({ consumerName: 'worker-1' }).consumerName).toBe('worker-1')
  })

  it('start a new group at startFrom, or else at autoOffsetReset', () => {
    expect(resolveKafkaOptions({}).startFrom).toBe('earliest')
    expect(resolveKafkaOptions({ autoOffsetReset: 'latest' }).startFrom).toBe('latest')
    expect(resolveKafkaOptions({ startFrom: 'earliest', autoOffsetReset: 'latest' }).startFrom).toBe(
      'earliest',
    )
  })

  it('make publishing idempotent only with acks all', () => {
    expect(resolveKafkaOptions({ acks: '1' }).idempotent).toBe(false)
    expect(resolveKafkaOptions({ acks: 'all', idempotent: false }).idempotent).toBe(false)
    expect(faultsOf({ acks: '0', idempotent: true })).toEqual(["idempotent needs acks 'all', got '0'"])
  })

  it('are frozen', () => {
    expect(Object.isFrozen(resolveKafkaOptions({}))).toBe(true)
  })

  it.each([
    ['localhost', [['localhost', 9092]]],
    [
      'a:1, b:2 ,c',
      [
        ['a', 1],
        ['b', 2],
        ['c', 9092],
      ],
    ],
    [
      '[::1]:19092,[2001:db8::2]',
      [
        ['::1', 19_092],
        ['2001:db8::2', 9092],
      ],
    ],
    ['127.0.0.1:9093', [['127.0.0.1', 9093]]],
    ['kafka_1.example.com:65535', [['kafka_1.example.com', 65_535]]],
  ])('take %s as bootstrap servers', (bootstrapServers, servers) => {
    expect(resolveKafkaOptions({ bootstrapServers }).servers).toEqual(
      servers.map(([host, port]) => ({ host, port })),
    )
  })
})

const servers = 'bootstrapServers must be host:port, or several separated by commas'
const name = 'at most 200 letters, digits, dots, dashes and underscores'
const duration = 'a positive integer of milliseconds (at most 2147483647)'

describe('an option', () => {
  it.each([
    [{ bootstrapServers: '' }, `${servers}, got ""`],
    [{ bootstrapServers: 'a,,b' }, `${servers}, got "a,,b"`],
    [{ bootstrapServers: 'kafka://a:9092' }, `${servers}, got "kafka://a:9092"`],
    [{ bootstrapServers: '::1:9092' }, `${servers}, got "::1:9092"`],
    [{ bootstrapServers: 'a:0' }, `${servers}, got "a:0"`],
    [{ bootstrapServers: 'a:99999' }, `${servers}, got "a:99999"`],
    [{ bootstrapServers: ['a:9092'] }, `${servers}, got an array of 1`],
    [{ topicPrefix: 'my events' }, `topicPrefix must be ${name}, got "my events"`],
    [{ topicPrefix: '' }, `topicPrefix must be ${name}, got ""`],
    [{ dlqTopicSuffix: '/dlq' }, `dlqTopicSuffix must be ${name}, got "/dlq"`],
    [
      { topicPrefix: 'x'.repeat(200), dlqTopicSuffix: 'y'.repeat(50) },
      'topicPrefix and dlqTopicSuffix make a topic name of 257 characters, and Kafka accepts 249',
    ],
    [{ consumerGroup: '' }, 'consumerGroup must be a non-empty string, got ""'],
    [{ consumerGroup: 'a b' }, 'consumerGroup must not contain white space'],
    [{ consumerName: '' }, 'consumerName must be a non-empty string, got ""'],
    [{ groupInstanceId: 5 }, 'groupInstanceId must be a non-empty string, got 5'],
    [{ acks: 1 }, "acks must be one of '0', '1', 'all', got 1"],
    [{ acks: '-1' }, `acks must be one of '0', '1', 'all', got "-1"`],
    [
      { compressionType: 'brotli' },
      `compressionType must be one of 'none', 'gzip', 'snappy', 'lz4', 'zstd', got "brotli"`,
    ],
    [{ batchSizeBytes: 0 }, 'batchSizeBytes must be a positive integer, got 0'],
    [{ lingerMs: -1 }, 'lingerMs must be an integer of milliseconds from 0 to 2147483647, got -1'],
    [{ idempotent: 'yes' }, 'idempotent must be true or false, got "yes"'],
    [{ maxMessageBytes: 1.5 }, 'maxMessageBytes must be a positive integer, got 1.5'],
    [{ createTopics: 1 }, 'createTopics must be true or false, got 1'],
    [{ topicPartitions: 0 }, 'topicPartitions must be a positive integer, got 0'],
    [
      { replicationFactor: 0 },
      "replicationFactor must be a positive integer, or -1 for the broker's default, got 0",
    ],
    [{ startFrom: 'first' }, `startFrom must be one of 'earliest', 'latest', got "first"`],
    [{ autoOffsetReset: 'none' }, `autoOffsetReset must be one of 'earliest', 'latest', got "none"`],
    [{ sessionTimeoutMs: 0 }, `sessionTimeoutMs must be ${duration}, got 0`],
    [{ heartbeatIntervalMs: -5 }, `heartbeatIntervalMs must be ${duration}, got -5`],
    [
      { heartbeatIntervalMs: 3000, sessionTimeoutMs: 3000 },
      'heartbeatIntervalMs must be less than sessionTimeoutMs, preferably a third of it',
    ],
    [{ maxPollIntervalMs: Number.NaN }, `maxPollIntervalMs must be ${duration}, got NaN`],
    [{ groupProtocol: 'new' }, `groupProtocol must be one of 'classic', 'consumer', got "new"`],
    [
      { partitionAssignor: 'range' },
      `partitionAssignor must be one of 'cooperative-sticky', 'roundrobin', got "range"`,
    ],
    [{ commitIntervalMs: 0 }, `commitIntervalMs must be ${duration}, got 0`],
    [{ commitCount: 0 }, 'commitCount must be a positive integer, got 0'],
    [{ partitionWindow: 0 }, 'partitionWindow must be a positive integer, got 0'],
    [{ fetchMaxWaitMs: 0 }, `fetchMaxWaitMs must be ${duration}, got 0`],
    [{ fetchMaxBytes: 0 }, 'fetchMaxBytes must be a positive integer, got 0'],
    [{ maxBatchBytes: 0 }, 'maxBatchBytes must be a positive integer, got 0'],
    [{ maxResponseBytes: -1 }, 'maxResponseBytes must be a positive integer, got -1'],
    [{ maxBatchRecords: 1.5 }, 'maxBatchRecords must be a positive integer, got 1.5'],
    [{ metadataMaxAgeMs: 0 }, `metadataMaxAgeMs must be ${duration}, got 0`],
    [{ connectTimeoutMs: 0 }, `connectTimeoutMs must be ${duration}, got 0`],
    [{ requestTimeoutMs: 0 }, `requestTimeoutMs must be ${duration}, got 0`],
    [{ maxRetries: -1 }, 'maxRetries must be an integer of at least 0, got -1'],
    [{ retryJitter: 2 }, 'retryJitter must be a number from 0 to 1, got 2'],
    [
      { securityProtocol: 'TLS' },
      `securityProtocol must be one of 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT', 'SASL_SSL', got "TLS"`,
    ],
    [
      { saslMechanism: 'GSSAPI' },
      `saslMechanism must be one of 'PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512', got "GSSAPI"`,
    ],
    [{ saslUsername: '' }, 'saslUsername must be a non-empty string, got ""'],
    [{ saslPassword: 12_345 }, 'saslPassword must be a non-empty string, got another value'],
    [
      { sslCafile: Buffer.from('pem') },
      'sslCafile must be the path of a PEM file, not its text, got an instance of Buffer',
    ],
    [{ sslCertfile: '' }, 'sslCertfile must be the path of a PEM file, not its text, got ""'],
    [{ sslKeyfile: '' }, 'sslKeyfile must be the path of a PEM file, not its text, got ""'],
    [{ sslCheckHostname: 0 }, 'sslCheckHostname must be true or false, got 0'],
    [{ batchSize: 5 }, 'batchSize is not an option; did you mean batchSizeBytes?'],
    [{ bootstrap_servers: 'a' }, 'bootstrap_servers is not an option; did you mean bootstrapServers?'],
    [{ session_timeout_ms: 5 }, 'session_timeout_ms is not an option; did you mean sessionTimeoutMs?'],
  ])('is refused with its name and rule: %o', (options, fault) => {
    expect(faultsOf(options)).toEqual([fault])
    expect(construct(options)).toThrow(`KafkaEventBus: ${fault}`)
  })

  it('is reported together with all other faults', () => {
    expect(faultsOf({ acks: 'some', lingerMs: -1, nonsense: true })).toHaveLength(3)
    const contradictions = {
      securityProtocol: 'SASL_SSL',
      sslKeyfile: 'key.pem',
      acks: '1',
      idempotent: true,
      heartbeatIntervalMs: 40_000,
    }
    expect(faultsOf(contradictions)).toHaveLength(4)
  })
})

const credentials = { saslMechanism: 'PLAIN', saslUsername: 'u', saslPassword: 'p' } as const
const pair = { sslCertfile: 'c.pem', sslKeyfile: 'k.pem' } as const

describe('security', () => {
  it.each([
    {},
    { securityProtocol: 'SSL' },
    { securityProtocol: 'SSL', sslCafile: 'ca.pem', sslCheckHostname: false },
    { securityProtocol: 'SSL', ...pair },
    { securityProtocol: 'SASL_PLAINTEXT', ...credentials },
    { securityProtocol: 'SASL_SSL', ...credentials, saslMechanism: 'SCRAM-SHA-256' },
    { securityProtocol: 'SASL_SSL', ...credentials, ...pair, saslMechanism: 'SCRAM-SHA-512' },
  ])('may be %o', (options) => {
    expect(faultsOf(options)).toEqual([])
  })

  it.each([
    [
      { securityProtocol: 'SASL_SSL' },
      "securityProtocol 'SASL_SSL' needs saslMechanism and saslUsername and saslPassword",
    ],
    [
      { securityProtocol: 'SASL_PLAINTEXT', saslMechanism: 'PLAIN', saslUsername: 'u' },
      "securityProtocol 'SASL_PLAINTEXT' needs saslPassword",
    ],
    [
      { securityProtocol: 'SASL_SSL', saslUsername: 'u', saslPassword: 'p' },
      "securityProtocol 'SASL_SSL' needs saslMechanism",
    ],
    [
      { saslUsername: 'u', saslPassword: 'p' },
      "saslUsername and saslPassword need securityProtocol 'SASL_SSL' or 'SASL_PLAINTEXT'",
    ],
    [
      { securityProtocol: 'SSL', saslMechanism: 'PLAIN' },
      "saslMechanism needs securityProtocol 'SASL_SSL' or 'SASL_PLAINTEXT'",
    ],
    [{ sslCafile: 'ca.pem' }, "sslCafile needs securityProtocol 'SSL' or 'SASL_SSL'"],
    [
      { securityProtocol: 'SASL_PLAINTEXT', ...credentials, ...pair },
      "sslCertfile and sslKeyfile need securityProtocol 'SSL' or 'SASL_SSL'",
    ],
    [{ securityProtocol: 'SSL', sslCertfile: 'c.pem' }, 'sslCertfile and sslKeyfile must be given together'],
    [{ securityProtocol: 'SSL', sslKeyfile: 'k.pem' }, 'sslCertfile and sslKeyfile must be given together'],
  ])('is refused if it is incomplete or contradicts itself: %o', (options, fault) => {
    expect(faultsOf(options)).toEqual([fault])
  })

  it('never shows the password', () => {
    const options = { securityProtocol: 'SASL_SSL', ...credentials, saslPassword: 'hunter2-secret' } as const
    const bus = new KafkaEventBus(options)
    for (const shown of [bus, bus.deadLetters, bus.getStats()]) {
      expect(inspect(shown, { depth: 10, showHidden: true })).not.toContain('hunter2-secret')
      expect(JSON.stringify(shown)).not.toContain('hunter2-secret')
    }
    const faulty = construct({ ...options, securityProtocol: 'PLAINTEXT', topicPrefix: '' })
    expect(faulty).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hunter2-secret') }),
    )
  })
})
