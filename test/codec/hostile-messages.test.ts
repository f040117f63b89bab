import { describe, expect, it } from 'vitest'
import { DecodeError, type DecodeReason, type EncodedMessage, JsonCodec } from '../../src/index.ts'
import { OrderCancelled, OrderCreated } from '../support/order-events.ts'

const classes = [OrderCreated, OrderCancelled]
const classFor = (eventType: string) => classes.find((eventClass) => eventClass.eventType === eventType)
const codec = new JsonCodec()
const MILLION = 1_000_000

const valid = {
  event_id: 'e-1',
  event_type: 'OrderCreated',
  occurred_at: '2025-01-02T03:04:05Z',
  aggregate_id: 'Order-1',
  aggregate_type: 'Order',
  customerId: 'c-1',
}
const bodyWith = (changes: object) => JSON.stringify({ ...valid, ...changes })
const nested = (inner: string) => JSON.stringify(valid).replace(/\}$/, `,"deep":${inner}}`)
const unknownType = (inner: string) => nested(inner).replace('OrderCreated', 'Unknown')

function expectRefusal(message: Partial<EncodedMessage>, reason: DecodeReason, with_ = codec) {
  const decode = () => with_.decode({ headers: {}, body: '', ...message }, classFor)
  expect(decode).toThrow(DecodeError)
  expect(decode).toThrow(expect.objectContaining({ code: 'DECODE_FAILED', reason }))
}

describe('bytes', () => {
  it.each([
    ['a lone continuation byte', [0x7b, 0x80, 0x7d]],
    ['an overlong form', [0x22, 0xc0, 0xaf, 0x22]],
    ['a surrogate half', [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ['UTF-16', [0xff, 0xfe, 0x7b, 0x00]],
  ])('that are not UTF-8 are refused: %s', (_what, bytes) => {
    expectRefusal({ body: Uint8Array.from(bytes) }, 'invalid_utf8')
  })

  it('that are UTF-8 decode as their text does', () => {
    const bytes = Buffer.from(bodyWith({ customerId: '注文 🚚' }))

    const decoded = codec.decode({ headers: {}, body: new Uint8Array(bytes) }, classFor)

    expect(decoded).toMatchObject({ customerId: '注文 🚚' })
  })
})

describe('JSON', () => {
  it.each(['', 'no json', '{"a":', '{"a":1}}', "{'a':1}", '\u0000'])(
    'that is malformed is refused: %j',
    (body) => {
      expectRefusal({ body }, 'invalid_json')
    },
  )

  it.each(['null', '1', '"text"', '[]', 'true'])('that is not an object is refused: %s', (body) => {
    expectRefusal({ body }, 'not_an_event')
  })

  it.each([
    ['arrays', '['.repeat(MILLION) + ']'.repeat(MILLION)],
    ['objects', `${'{"a":'.repeat(MILLION)}1${'}'.repeat(MILLION)}`],
    ['arrays around a long integer', `${'['.repeat(MILLION)}12345678901234567890${']'.repeat(MILLION)}`],
  ])('nested a million deep is refused: %s', (_what, inner) => {
    expectRefusal({ body: nested(inner) }, 'too_deep')
  })

  it('may be nested to the limit', () => {
    const body = (depth: number) => unknownType('['.repeat(depth) + ']'.repeat(depth))
    const shallow = new JsonCodec({ maxDepth: 5 })

    expect(() => shallow.decode({ headers: {}, body: body(4) }, classFor)).not.toThrow()
    expectRefusal({ body: body(5) }, 'too_deep', shallow)
  })

  it.each([
    ['at the top', nested('1').replace('"deep"', '"__proto__"')],
    ['escaped', nested('1').replace('"deep"', '"__pr\\u006fto__"')],
    ['nested', nested('{"a":[{"__proto__":{"polluted":true}}]}')],
    ['in metadata', bodyWith({ metadata: { a: 1 } }).replace('"a"', '"__proto__"')],
  ])('with a __proto__ field is refused: %s', (_where, body) => {
    expectRefusal({ body }, 'forbidden_key')
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
  })

  it('with constructor and prototype fields in its data pollutes nothing', () => {
    const body = unknownType('{"constructor":{"prototype":{"polluted":true}}}')

    const decoded = codec.decode({ headers: {}, body }, classFor)

    expect(Reflect.get({}, 'polluted')).toBeUndefined()
    expect(decoded).toMatchObject({ data: { deep: { constructor: { prototype: { polluted: true } } } } })
  })

  it('with an integer of a million digits is refused', () => {
    expectRefusal({ body: nested('7'.repeat(MILLION)) }, 'too_large')
  })
})

describe('a body over the size limit', () => {
  it.each([
    ['as text', 'ä'.repeat(600)],
    ['as bytes', Buffer.from('ä'.repeat(600))],
  ])('is refused before it is parsed, %s', (_form, body) => {
    expectRefusal({ body }, 'too_large', new JsonCodec({ maxBodyBytes: 1_000 }))
  })

  it('is one of more than 16 MiB by default', () => {
    expectRefusal({ body: Buffer.alloc(16 * 1024 * 1024 + 1, 0x20) }, 'too_large')
  })
})

describe('a field of the envelope', () => {
  it.each([
    ['event_id', undefined],
    ['event_id', ''],
    ['event_type', 5],
    ['aggregate_id', null],
    ['aggregate_id', { toString: 'Order-1' }],
    ['aggregate_type', ['Order']],
    ['occurred_at', 'yesterday'],
    ['occurred_at', '2025-13-45T99:99:99Z'],
    ['occurred_at', 1735787045],
    ['event_version', 0],
    ['event_version', '1'],
    ['aggregate_version', 1.5],
    ['tenant_id', 7],
    ['aggregate_id', 'Order-\ud800'],
    ['actor_id', '\udc00'],
    ['correlation_id', false],
    ['metadata', 'text'],
    ['metadata', []],
  ])('%s that no event can have is refused: %j', (field, value) => {
    expectRefusal({ body: bodyWith({ [field]: value }) }, 'not_an_event')
  })
})

describe('a payload', () => {
  it.each([
    ['fails the schema', bodyWith({ customerId: 5 })],
    ['lacks a field', bodyWith({ customerId: undefined })],
  ])('that %s is refused', (_what, body) => {
    expectRefusal({ body }, 'schema')
  })

  it.each(['toJSON', 'withMetadata', 'constructor', 'eventId'])(
    'cannot replace %s of an event without a schema',
    (name) => {
      expectRefusal({ body: bodyWith({ event_type: 'OrderCancelled', [name]: 'mine' }) }, 'schema')
    },
  )

  it('is refused if the header names another type', () => {
    expectRefusal({ headers: { event_type: 'OrderShipped' }, body: bodyWith({}) }, 'type_mismatch')
  })

  it('never shows in the error', () => {
    const decode = () =>
      codec.decode({ headers: {}, body: bodyWith({ customerId: { secret: 'hunter2' } }) }, classFor)

    expect(decode).toThrow('OrderCreated is not valid: customerId: ')
    expect(decode).not.toThrow(/hunter2/)
  })
})
