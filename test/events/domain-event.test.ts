import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { ENVELOPE_KEYS } from '../../src/events/envelope.ts'
import { type DomainEvent, defineEvent, JsonCodec } from '../../src/index.ts'
import { OrderCreated, orderCreated, orderShipped } from '../support/order-events.ts'

class OrderPlaced extends defineEvent({
  type: 'OrderPlaced',
  aggregateType: 'Order',
  schema: z.object({
    placedAt: z.coerce.date(),
    address: z.object({ city: z.string(), tags: z.array(z.string()) }),
    total: z.bigint().optional(),
  }),
}) {}

const envelope = {
  aggregateId: 'Order-1',
  eventId: 'e-1',
  occurredAt: new Date('2025-01-02T03:04:05.678Z'),
  correlationId: 'c-1',
}
const payload = { placedAt: new Date('2025-01-02T00:00:00Z'), address: { city: 'Köln', tags: ['web'] } }
const placed = () => new OrderPlaced({ ...envelope, ...payload, metadata: { source: { ip: '::1' } } })

describe('an event is immutable', () => {
  it.each([
    ['a field of the envelope', ['eventId']],
    ['a payload field', ['placedAt']],
    ['a new field', ['brandNew']],
    ['metadata', ['metadata']],
    ['a key of metadata', ['metadata', 'source']],
    ['a nested key of metadata', ['metadata', 'source', 'ip']],
    ['a nested payload field', ['address', 'city']],
    ['an item of a nested array', ['address', 'tags', '0']],
  ])('%s', (_what, path) => {
    const event = placed()
    const before = JSON.stringify(event)
    const target = path.slice(0, -1).reduce<object>((value, key) => Reflect.get(value, key), event)

    const assign = () => Object.assign(target, { [path.at(-1) ?? '']: 'changed' })

    expect(assign).toThrow(TypeError)
    expect(JSON.stringify(event)).toBe(before)
  })

  it('in its dates', () => {
    const event = placed()

    expect(() => event.occurredAt.setTime(0)).toThrow(/immutable/)
    expect(() => event.placedAt.setFullYear(1970)).toThrow(/immutable/)
    expect(event.placedAt).toEqual(payload.placedAt)
  })

  it('and keeps nothing of what the caller passed in', () => {
    const address = { city: 'Köln', tags: ['web'] }
    const metadata = { source: 'web' }
    const event = new OrderPlaced({ ...envelope, ...payload, address, metadata })

    address.city = 'Bonn'
    address.tags.push('gift')
    metadata.source = 'cron'

    expect(event.address).toEqual({ city: 'Köln', tags: ['web'] })
    expect(event.metadata).toEqual({ source: 'web' })
  })
})

describe('a copy', () => {
  it('with metadata has the keys added or replaced, and everything else unchanged', () => {
    const event = placed()

    const copy = event.withMetadata({ source: 'cron', attempt: 2 })

    expect(copy).toBeInstanceOf(OrderPlaced)
    expect(copy.metadata).toEqual({ source: 'cron', attempt: 2 })
    expect({ ...copy, metadata: event.metadata }).toEqual({ ...event })
    expect(event.metadata).toEqual({ source: { ip: '::1' } })
    expect(() => Object.assign(copy.metadata, { a: 1 })).toThrow(TypeError)
  })

  it('with a cause is correlated with it', () => {
    const cause = orderCreated()

    const effect = orderShipped().withCausation(cause)

    expect(effect).toMatchObject({ causationId: cause.eventId, correlationId: cause.correlationId })
    expect(effect.trackingNumber).toBe('TRACK-1')
  })

  it('with another aggregate version has only that changed', () => {
    const event = orderCreated()

    const copy = event.withAggregateVersion(5)

    expect({ ...copy, aggregateVersion: 1 }).toEqual({ ...event })
    expect(copy.aggregateVersion).toBe(5)
  })

  it.each([0, -1, 1.5, Number.NaN])('refuses the aggregate version %d', (version) => {
    expect(() => orderCreated().withAggregateVersion(version)).toThrow(
      `OrderCreated is not valid: aggregateVersion: must be an integer of at least 1, got ${version}`,
    )
  })
})

describe('JSON of an event', () => {
  it('is the wire form: envelope first, then the payload as declared', () => {
    const event = new OrderPlaced({ ...envelope, ...payload, total: 2n ** 53n + 1n, actorId: 'user:1' })

    expect(JSON.stringify(event)).toBe(
      '{"event_id":"e-1","event_type":"OrderPlaced","event_version":1,' +
        '"occurred_at":"2025-01-02T03:04:05.678000Z","aggregate_id":"Order-1","aggregate_type":"Order",' +
        '"aggregate_version":1,"tenant_id":null,"actor_id":"user:1","correlation_id":"c-1","causation_id":null,' +
        '"metadata":{},"placedAt":"2025-01-02T00:00:00Z","address":{"city":"Köln","tags":["web"]},' +
        '"total":9007199254740993}',
    )
  })
})

describe('on the console', () => {
  it('an event shows its class and the fields that are set', () => {
    const event = new OrderCreated({ ...envelope, customerId: 'c-9' })

    const text = inspect(event)

    expect(text).toMatch(/^OrderCreated \{/)
    expect(text).toContain("customerId: 'c-9'")
    expect(text).toContain('occurredAt: 2025-01-02T03:04:05.678Z')
    expect(text).not.toContain('tenantId')
  })

  it('a deeply nested event shows its class only', () => {
    const text = inspect({ a: { b: { event: orderCreated() } } }, { depth: 1 })

    expect(text).toMatch(/\[Object\]|\[OrderCreated\]/)
  })
})

describe('the envelope', () => {
  it.each([
    [{ aggregateId: '' }, 'aggregateId: must be a non-empty string, got ""'],
    [{ aggregateId: 5 }, 'aggregateId: must be a non-empty string, got 5'],
    [{ aggregateVersion: 0 }, 'aggregateVersion: must be an integer of at least 1, got 0'],
    [{ occurredAt: '2025-01-02' }, 'occurredAt: must be a Date, got "2025-01-02"'],
    [{ occurredAt: new Date(Number.NaN) }, 'occurredAt: must be a valid Date'],
    [{ occurredAt: new Date(8.64e15) }, 'occurredAt: must be in the years 1 to 9999, got 275760'],
    [
      { occurredAt: new Date('0000-12-31T23:59:59.999Z') },
      'occurredAt: must be in the years 1 to 9999, got 0',
    ],
    [{ metadata: ['a'] }, 'metadata: must be a plain object, got an array of 1'],
    [{ aggregateId: 'o\ud800' }, 'aggregateId: must have no halves of surrogate pairs, got "o\\ud800"'],
    [{ correlationId: '\udc00' }, 'correlationId: must have no halves of surrogate pairs, got "\\udc00"'],
    [{ tenantId: '' }, 'tenantId: must be a non-empty string, got ""'],
    [
      { eventId: 1, causationId: 2 },
      'eventId: must be a non-empty string, got 1; causationId: must be a non-empty string, got 2',
    ],
  ])('rejects %o in one sentence', (wrong, sentence) => {
    const FromJavaScript = OrderCreated as unknown as new (input: object) => OrderCreated

    const construct = () => new FromJavaScript({ aggregateId: 'Order-1', customerId: 'c-1', ...wrong })

    expect(construct).toThrow(`OrderCreated is not valid: ${sentence}`)
  })

  it('refuses a value that is not an object', () => {
    const FromJavaScript = OrderCreated as unknown as new (input: unknown) => OrderCreated

    expect(() => new FromJavaScript('Order-1')).toThrow(
      'OrderCreated is not valid: takes an object with aggregateId and the payload\'s fields, got "Order-1"',
    )
  })
})

describe('data of an event', () => {
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  class Anything extends defineEvent<{ value: unknown }>()({ type: 'Anything', aggregateType: 'Test' }) {}
  class AnythingBySchema extends defineEvent({
    type: 'Anything',
    aggregateType: 'Test',
    schema: z.object({ value: z.unknown() }),
  }) {}

  it.each([
    ['NaN', Number.NaN, 'value: must be a finite number, got NaN'],
    ['a function', () => 1, 'value: must not be a function'],
    ['a symbol', Symbol('s'), 'value: must not be a symbol'],
    [
      'a Map',
      new Map(),
      'value: is an instance of Map, which JSON cannot represent; use plain objects and arrays',
    ],
    ['bytes', Buffer.from('hi'), 'value: is binary; encode it as text, base64 for instance'],
    ['an invalid date', [new Date(Number.NaN)], 'value[0]: must be a valid Date'],
    ['a circle', circular, 'levels or circular'],
    ['a __proto__ key', JSON.parse('{"a":{"__proto__":1}}'), 'value.a.__proto__: is not an allowed name'],
  ])('cannot be %s', (_what, value, sentence) => {
    expect(() => new Anything({ aggregateId: '1', value })).toThrow(sentence)
  })

  it('may be an instance of a class with toJSON', () => {
    const amount = { toJSON: () => '0.10' }
    const decimal = Object.assign(Object.create({ toJSON: amount.toJSON }), {})

    const event = new AnythingBySchema({ aggregateId: '1', value: decimal })

    expect(event.value).toBe('0.10')
    expect(JSON.stringify(event)).toContain('"value":"0.10"')
  })
})

it('has the same fields in the same order in a process with many event classes', () => {
  const fields = (event: DomainEvent) => Object.entries(event)
  const codec = new JsonCodec()
  const event = placed()
  const decoded = codec.decode(codec.encode(event), () => OrderPlaced)
  const before = [fields(event), fields(event.withAggregateVersion(3)), fields(decoded)]
  for (let index = 0; index < 150; index += 1)
    defineEvent({ type: `Other${index}`, aggregateType: 'Order', schema: z.object({}) })

  const later = placed()
  const laterDecoded = codec.decode(codec.encode(later), () => OrderPlaced)
  expect([fields(later), fields(later.withAggregateVersion(3)), fields(laterDecoded)]).toEqual(before)
  expect(Object.keys(later).slice(0, ENVELOPE_KEYS.length)).toEqual([...ENVELOPE_KEYS])
  expect(Object.isFrozen(later)).toBe(true)
  expect(codec.encode(laterDecoded).body).toBe(codec.encode(decoded).body)
})
