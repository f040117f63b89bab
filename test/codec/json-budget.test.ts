import { afterEach, describe, expect, it, vi } from 'vitest'
import { JsonBudget } from '../../src/codec/json-budget.ts'
import { CloudEventsCodec, ConfigError, DecodeError, type EventCodec, JsonCodec } from '../../src/index.ts'
import { orderCreated } from '../support/order-events.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

const list = (count: number, item: (index: number) => string) =>
  Array.from({ length: count }, (_, n) => item(n)).join()

/** Bodies within the 16 MiB of a message that blocked the event loop for seconds, or took gigabytes. */
const BOMBS: readonly (readonly [what: string, inner: () => string, reason: string])[] = [
  ['a million fields', () => `{${list(1_000_000, (n) => `"k${n}":1`)}}`, 'too_many_keys'],
  [
    'small integers and a large one',
    () => `[${'1,'.repeat(8_000_000)}12345678901234567890]`,
    'too_many_values',
  ],
  ['five million empty objects', () => `[${'{},'.repeat(5_000_000)}{}]`, 'too_many_values'],
  ['five million empty arrays', () => `[${'[],'.repeat(5_000_000)}[]]`, 'too_many_values'],
  ['many long integers', () => `[${list(3000, () => '9'.repeat(4300))}]`, 'too_many_values'],
  ['many long names', () => `{${list(9000, (n) => `"${'k'.repeat(1500)}${n}":1`)}}`, 'too_many_keys'],
  ['a million levels', () => `${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}`, 'too_deep'],
  ['repeated fields', () => `{${'"k":1,'.repeat(1_000_000)}"k":1}`, 'too_many_keys'],
]

function refusal(decode: () => unknown): string {
  try {
    decode()
  } catch (error) {
    if (error instanceof DecodeError) return error.reason
    throw error
  }
  return 'none'
}

const CODECS: readonly EventCodec[] = [new JsonCodec(), new CloudEventsCodec({ source: '/orders' })]

describe.each(CODECS)('$contentType', (codec) => {
  it.each(BOMBS)('refuses %s before it parses any of it', (_what, inner, reason) => {
    const body = String(codec.encode(orderCreated()).body).replace('"c-1"', inner)
    const parse = vi.spyOn(JSON, 'parse')

    expect(refusal(() => codec.decode({ headers: {}, body: Buffer.from(body) }, () => undefined))).toBe(
      reason,
    )

    expect(parse).not.toHaveBeenCalled()
  })
})

it('counts the metadata of a CloudEvent with its body', () => {
  const codec = new CloudEventsCodec({ source: '/orders', maxKeys: 30 })
  const withMetadata = (count: number) => {
    const eventmetadata = `{${list(count, (n) => `"k${n}":1`)}}`
    const fields = { ...JSON.parse(String(codec.encode(orderCreated()).body)), eventmetadata }
    return () => codec.decode({ headers: {}, body: JSON.stringify(fields) }, () => undefined)
  }

  expect(refusal(withMetadata(5))).toBe('none')
  expect(refusal(withMetadata(25))).toBe('too_many_keys')
})

describe('the count', () => {
  const fits = (text: string, limits: Partial<ConstructorParameters<typeof JsonBudget>[0]>) => {
    const budget = new JsonBudget({ maxDepth: 64, maxValues: 1e9, maxKeys: 1e9, ...limits })
    return refusal(() => budget.add(text)) === 'none'
  }

  it.each([
    ['[1,2,3]', { maxValues: 4 }],
    ['{"a":[],"b":{"c":"x,y:[{"}}', { maxKeys: 3, maxDepth: 2 }],
    ['{"a\\"b,:[":1}', { maxKeys: 1, maxDepth: 1 }],
    [`["${'x'.repeat(100)}\\\\","a,b"]`, { maxValues: 3 }],
    [`["${'\\"'.repeat(100)}",1]`, { maxValues: 3 }],
    [`["${'\\\\'.repeat(100)}",1]`, { maxValues: 3 }],
    [`[${'1'.repeat(31)}]`, { maxValues: 3 }],
    [`{"${'k'.repeat(60)}":1}`, { maxKeys: 1 }],
  ])('of %s stays within %o', (text, limits) => {
    JSON.parse(text)
    expect(fits(text, limits)).toBe(true)
  })

  it('is never less than the number of values that JSON.parse creates', () => {
    const random = seeded(17)
    for (let run = 0; run < 2000; run += 1) {
      const value = randomValue(random, 0)
      const { values, keys, depth } = census(value)
      const text = JSON.stringify(value, undefined, run % 3)
      if (values > 1) expect(fits(text, { maxValues: values - 1 }), text).toBe(false)
      if (keys > 0) expect(fits(text, { maxKeys: keys - 1 }), text).toBe(false)
      if (depth > 0) expect(fits(text, { maxDepth: depth - 1 }), text).toBe(false)
      expect(fits(text, { maxDepth: depth }), text).toBe(true)
    }
  })
})

function census(value: unknown): { values: number; keys: number; depth: number } {
  if (typeof value !== 'object' || value === null) return { values: 1, keys: 0, depth: 0 }
  const parts = Object.values(value).map(census)
  const sum = (name: 'values' | 'keys') => parts.reduce((total, part) => total + part[name], 0)
  const own = Array.isArray(value) ? 0 : parts.length
  return {
    values: 1 + sum('values'),
    keys: own + sum('keys'),
    depth: 1 + Math.max(0, ...parts.map(({ depth }) => depth)),
  }
}

function randomValue(random: () => number, depth: number): unknown {
  const kind = Math.floor(random() * (depth > 5 ? 4 : 6))
  if (kind === 0) return random() < 0.5 ? null : random() * 1e20
  if (kind === 1) return Math.floor(random() * 100) - 50
  if (kind === 2 || kind === 3) return randomText(random)
  const items = Array.from({ length: Math.floor(random() * 5) }, () => randomValue(random, depth + 1))
  return kind === 4 ? items : Object.fromEntries(items.map((item, n) => [`${randomText(random)}${n}`, item]))
}

function randomText(random: () => number): string {
  const marks = ['"', '\\', ',', ':', '[', '{', '}', 'x', '1', '\n']
  const length = Math.floor(random() * (random() < 0.1 ? 90 : 6))
  return Array.from({ length }, () => marks[Math.floor(random() * marks.length)]).join('')
}

/** Numbers from 0 to 1 that a seed determines. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 2_147_483_648
  }
}

describe.each(['maxBodyBytes', 'maxDepth', 'maxValues', 'maxKeys'])('the option %s', (name) => {
  it('must be a positive integer or Infinity', () => {
    for (const bad of [0, -1, 1.5, Number.NaN, '5']) {
      const options = { [name]: bad }
      expect(() => new JsonCodec(options)).toThrow(ConfigError)
      expect(() => new CloudEventsCodec({ source: '/orders', ...options })).toThrow(ConfigError)
    }
    expect(new JsonCodec({ [name]: Number.POSITIVE_INFINITY })).toBeInstanceOf(JsonCodec)
  })
})

it.each([{ payloadKeys: 'snakecase' }, { payloadKey: 'snake_case' }, { maxBodybytes: 5 }])(
  'the codecs refuse %j',
  (options) => {
    expect(() => new JsonCodec(options as object)).toThrow(ConfigError)
    expect(() => new CloudEventsCodec({ source: '/orders', ...options })).toThrow(ConfigError)
  },
)

it('null is an unset option of a codec', () => {
  const options = JSON.parse('{ "payloadKeys": null, "maxDepth": null }')

  expect(new JsonCodec(options)).toBeInstanceOf(JsonCodec)
})
