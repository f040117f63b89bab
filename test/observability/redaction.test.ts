import { inspect } from 'node:util'
import { Pool } from 'pg'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  ConfigError,
  ConnectionError,
  createEventBus,
  InMemoryEventBus,
  InMemoryStores,
  KafkaEventBus,
  RabbitMQEventBus,
  RedisEventBus,
  SubscriptionManager,
} from '../../src/index.ts'
import { PostgresStores } from '../../src/postgres/index.ts'
import { quote, readable, redact, rememberCredentials, rememberSecret } from '../../src/redaction.ts'
import { SqliteStores } from '../../src/sqlite/index.ts'
import { MemoryBrokerEventBus } from '../../src/testing/index.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { startTracing } from '../support/telemetry.ts'
import { waitFor } from '../support/wait-for.ts'

const CANARY = 'Tr0ub4dor-Canary'
const PEM = `-----BEGIN PRIVATE KEY-----\n${CANARY}\n-----END PRIVATE KEY-----\n`
const OTHER_PEM = '-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----\n'
const HIDING = [
  `redis://user:${CANARY}@host:6379`,
  `REDIS://user:${CANARY}@host`,
  ` amqp://user:${CANARY}@host`,
  `user:${CANARY}@host:9092`,
  `host:1,user:${CANARY}@host:9092`,
  PEM,
]

afterEach(() => {
  vi.restoreAllMocks()
})

function thrownBy(action: () => unknown): unknown {
  try {
    return action()
  } catch (error) {
    return error
  }
}

/** Everything that an error shows in a log or a debugger. */
function shownBy(error: unknown): string {
  const parts = error instanceof Error ? [error.message, error.stack, JSON.stringify(error)] : []
  return [...parts, inspect(error, { depth: 9, showHidden: true })].join('\n')
}

describe.each<readonly [string, (options: object) => unknown]>([
  ['postgres', (options) => new PostgresStores({ postgresUrl: 'postgres://h/d', ...options })],
  ['sqlite', (options) => new SqliteStores({ file: 'unused.db', ...options })],
  ['redis', (options: object) => new RedisEventBus(options)],
  ['rabbitmq', (options: object) => new RabbitMQEventBus(options)],
  ['kafka', (options: object) => new KafkaEventBus(options)],
  ['memory', (options: object) => new InMemoryEventBus(options)],
])('the options of %s', (_name, create) => {
  const faults = shownBy(thrownBy(() => create({ qqqqqqqqqqqqqqqqqqqqqqqq: 1 })))
  const names = /there are: ([^)]*)\)/.exec(faults)?.[1]?.split(', ') ?? []

  it('are known to this test', () => {
    expect(names.length).toBeGreaterThan(5)
  })

  it.each(names)('%s shows no secret in an error or in the inspected bus', (name) => {
    for (const value of HIDING) {
      for (const given of [value, [value], { passphrase: CANARY, key: PEM, level: CANARY }]) {
        const outcome = thrownBy(() => create({ [name]: given, maxRetries: -1 }))
        expect(shownBy(outcome)).not.toContain(CANARY)
      }
    }
  })
})

describe('createEventBus', () => {
  it.each([
    `REDIS://user:${CANARY}@host`,
    ` redis://user:${CANARY}@host`,
    `redis+tls://user:${CANARY}@host`,
    `amqp+ssl://user:${CANARY}@host`,
    `kafka://user:${CANARY}@host:9092`,
    `${CANARY}://host`,
    CANARY,
    `redis://user:${CANARY}@`,
    `amqp://user:${CANARY}@host:port`,
  ])('does not print the URL %s', (url) => {
    const error = thrownBy(() => createEventBus(url))

    expect(error).toBeInstanceOf(ConfigError)
    // A scheme is no secret.
    expect(shownBy(error).replaceAll(`"${CANARY}://"`, '')).not.toContain(CANARY)
  })
})

describe('a text', () => {
  it.each([
    [
      `failed: redis://u:${CANARY}@h:1/0?x=1, and //${CANARY}@i`,
      'failed: redis://***@h:1/0?x=1, and //***@i',
    ],
    [`open '${OTHER_PEM}'`, "open '(PEM text)\n'"],
    [`open '-----BEGIN PRIVATE KEY-----\\nMIIE`, "open '(PEM text)"],
    ['mail@example.org is not // a URL', 'mail@example.org is not // a URL'],
  ])('has its secrets removed: %s', (text, clean) => {
    expect(redact(text)).toBe(clean)
  })

  it('loses the secrets of options in each of their forms', () => {
    const secret = 'p%40ss "wörd"'
    rememberSecret(secret)

    const forms = [secret, 'p@ss "wörd"', encodeURIComponent(secret), JSON.stringify(secret)]
    const base64 = Buffer.from(secret).toString('base64')
    for (const form of [...forms, base64]) expect(redact(`got ${form}!`)).toMatch(/^got "?\*\*\*=*"?!$/)
  })

  it('is cut after its secrets are replaced, so that no part of one is left', () => {
    rememberSecret(CANARY)
    for (let before = 970; before < 1010; before += 1)
      expect(readable(`${'x'.repeat(before)}${CANARY} and more`)).not.toContain(CANARY.slice(0, 4))
  })

  it.each([
    `postgres://h/d?password=${CANARY}`,
    `postgres://h/d?user=u&sslpassword=${CANARY}#x`,
    `postgres://u:${CANARY},and-a-comma@h,i/d`,
  ])('loses the secret of %s', (url) => {
    rememberCredentials(url)

    expect(redact(`refused: ${CANARY}`)).toBe('refused: ***')
  })

  it('of a server is shortened, and ends without its full stop', () => {
    expect(quote('ERR no.\r\n . ')).toBe('ERR no')
    expect(quote(`x${'. '.repeat(1_000_000)}y`)).toHaveLength(1)
    expect(quote('x'.repeat(5_000_000))).toHaveLength(1000)
  })
})

it('an error has no secret in its text, its cause or the errors in that', () => {
  rememberCredentials(`redis://user:${CANARY}@host`)
  const cause = new AggregateError([new Error(`AUTH user ${CANARY}`)], 'all failed')
  const withArguments = Object.assign(new Error('refused'), { args: ['AUTH', CANARY], code: 'ERR' })

  for (const inner of [cause, withArguments, new Error('outer', { cause }), new Error(CANARY)]) {
    const error = new ConnectionError('CONNECTION_LOST', `lost ${CANARY}`, { cause: inner })
    expect(error.message).toBe('lost ***')
    expect(error.cause).toBeInstanceOf(Error)
    expect(shownBy(error)).not.toContain(CANARY)
  }
})

describe('a cause with a secret', () => {
  class RefusedByServer extends Error {
    readonly code = '57P01'
    readonly severity = 'FATAL'
    readonly client = new (class Client {
      readonly password = CANARY
    })()
    readonly details = { host: 'h', tried: [`redis://user:${CANARY}@host`] }
    override get name(): string {
      return 'Refused'
    }
  }

  beforeEach(() => rememberCredentials(`redis://user:${CANARY}@host`))

  const causeOf = (cause: unknown) => new ConnectionError('CONNECTION_LOST', 'lost', { cause }).cause

  it('keeps its class, its name and its fields, by which callers recognize it', () => {
    const root = new RefusedByServer('terminated')
    const cause = causeOf(new RefusedByServer(`of ${CANARY}`, { cause: root }))

    expect(cause).toBeInstanceOf(RefusedByServer)
    expect(cause).toMatchObject({ name: 'Refused', message: 'of ***', code: '57P01', severity: 'FATAL' })
    expect(cause).toMatchObject({
      details: { host: 'h', tried: ['redis://***@host'] },
      cause: { code: '57P01' },
    })
    expect(shownBy(cause)).not.toContain(CANARY)
  })

  it('has the same copy wherever it appears', () => {
    const error = new Error(CANARY)

    expect(causeOf(error)).toBe(causeOf(error))
    expect(causeOf(causeOf(error))).toBe(causeOf(error))
    expect(causeOf(new AggregateError([error, error]))).toMatchObject({
      errors: [causeOf(error), causeOf(error)],
    })
  })

  it('keeps the properties that its class computes, such as those of a DOMException', () => {
    const cause = causeOf(new DOMException(`aborted ${CANARY}`, 'AbortError'))

    expect(cause).toBeInstanceOf(DOMException)
    expect(cause).toMatchObject({ name: 'AbortError', message: 'aborted ***' })
  })

  it('may contain itself, or be ten thousand causes deep', () => {
    const first = new Error(CANARY)
    const second = new Error('second', { cause: first })
    first.cause = second
    let deep = new Error(CANARY)
    for (let depth = 0; depth < 10_000; depth += 1) deep = new Error('outer', { cause: deep })

    expect(causeOf(second)).toMatchObject({ message: 'second', cause: { message: '***' } })
    expect(shownBy(causeOf(second))).not.toContain(CANARY)
    expect(shownBy(causeOf(deep))).not.toContain(CANARY)
  })
})

it('keeps the cause itself if it has no secret', () => {
  const cause = new Error('plain')
  expect(new ConnectionError('CONNECTION_LOST', 'lost', { cause }).cause).toBe(cause)
})

it('a log line has no secret in its fields', async () => {
  rememberCredentials(`redis://user:${CANARY}@host`)
  const lines = vi.spyOn(console, 'error').mockImplementation(() => undefined)
  for (const logger of [undefined, console]) {
    const bus = new InMemoryEventBus(logger === undefined ? {} : { logger })
    bus.subscribe(OrderCreated, () => {
      throw new Error(`cannot reach redis://user:${CANARY}@host`)
    })
    await bus.publish([orderCreated()])
  }

  expect(lines).toHaveBeenCalledTimes(2)
  expect(inspect(lines.mock.calls, { depth: 9 })).not.toContain(CANARY)
})

it('a pool that the stores are given keeps its password', () => {
  const password = 'Other-Canary-1'
  const ssl = { key: 'Other-Canary-2' }
  const connectionString = 'postgres://u:Other-Canary-3@h/d'
  new PostgresStores({ pool: new Pool({ password, ssl, connectionString }) })

  expect(redact(`${password} ${ssl.key} ${connectionString}`)).not.toContain('Other-Canary')
})

it('a handler puts no secret into health, a status, a span or a dead letter', async () => {
  const password = 'Canary-of-a-handler'
  const refusal = `cannot reach redis://user:${password}@host, with ${password}`
  const fail = () => {
    throw new Error(refusal, { cause: new Error(refusal) })
  }
  rememberCredentials(`redis://user:${password}@host`)
  const exporter = startTracing()
  const shown: unknown[] = []

  const logger = new RecordingLogger()
  await using bus = new MemoryBrokerEventBus({ logger, maxRetries: 0, deadLetterStacks: true })
  bus.subscribe(OrderCreated, fail, { name: 'fails' })
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  await bus.publish([orderCreated()])
  await waitFor(() => bus.getStats().messagesSentToDlq === 1)
  shown.push(await bus.health(), await bus.deadLetters.list())

  const stores = new InMemoryStores()
  const { events: eventStore, checkpoints, deadLetters } = stores
  const event = orderCreated()
  await eventStore.appendEvents({ ...event, events: [event], expectedVersion: 'any' })
  await using manager = new SubscriptionManager({ eventStore, checkpoints, deadLetters, logger })
  const options = { maxRetries: 0, onFailure: 'deadLetter', deadLetterStacks: true } as const
  manager.subscribe({ name: 's', handle: fail }, options)
  manager.start()
  await manager.whenCaughtUp('s')
  shown.push(await manager.health(), await deadLetters.list())

  const spans = exporter.getFinishedSpans().map(({ name, events, status }) => ({ name, events, status }))
  expect(spans.some(({ events }) => events.some(({ name }) => name === 'exception'))).toBe(true)
  const text = inspect([shown, spans], { depth: 12, maxStringLength: null })
  expect(text).toContain('cannot reach redis://***@host')
  expect(text).toContain('caused by Error')
  expect(text).not.toContain(password)
})

it('hides no user of a URL without a password, whose name is part of other words', () => {
  rememberCredentials('postgres://plainuser@host/shop')

  expect(redact('at src/plainuser/answers.ts')).toBe('at src/plainuser/answers.ts')
  expect(redact('postgres://plainuser@host/shop')).not.toContain('plainuser')
})
