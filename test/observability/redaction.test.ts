import { inspect } from 'node:util'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  ConfigError,
  ConnectionError,
  createEventBus,
  InMemoryEventBus,
  KafkaEventBus,
  RabbitMQEventBus,
  RedisEventBus,
} from '../../src/index.ts'
import { quote, redact, rememberCredentials, rememberSecret } from '../../src/redaction.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'

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

describe.each([
  ['redis', (options: object) => new RedisEventBus(options)],
  ['rabbitmq', (options: object) => new RabbitMQEventBus(options)],
  ['kafka', (options: object) => new KafkaEventBus(options)],
  ['memory', (options: object) => new InMemoryEventBus(options)],
] as const)('the options of %s', (_name, create) => {
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
