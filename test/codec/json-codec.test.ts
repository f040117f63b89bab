import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { DecodeError, defineEvent, type EventClass, GenericEvent, JsonCodec } from '../../src/index.ts'
import { OrderCreated } from '../support/order-events.ts'
import { captured } from '../wire/captured.ts'
import { classForPython, TypesShown } from './python-events.ts'

const codec = new JsonCodec()
const lookup =
  (...classes: readonly EventClass[]) =>
  (eventType: string) =>
    classes.find((eventClass) => eventClass.eventType === eventType)
const messageOf = (body: unknown) => ({ headers: {}, body: JSON.stringify(body) })

/** Names of the body's fields in their order. */
const fieldsOf = (body: string | Uint8Array) => Object.keys(JSON.parse(body.toString()) as object)

const created = () =>
  new OrderCreated({
    aggregateId: 'Order-1',
    customerId: 'c-1',
    eventId: 'e-1',
    occurredAt: new Date('2025-01-02T03:04:05.678Z'),
    correlationId: 'c-1',
    tenantId: 't-1',
    actorId: 'user:1',
    causationId: 'e-0',
  })

describe('what JsonCodec writes', () => {
  it('has the fields of eventsource-py in its order', () => {
    const { message } = captured('redis', 'publish/full')
    const envelope = fieldsOf(message.body).slice(0, 12)

    const { body } = codec.encode(created())

    expect(fieldsOf(body)).toEqual([...envelope, 'customerId'])
  })

  it('is compact UTF-8 with null written out', () => {
    const event = new OrderCreated({ aggregateId: 'Zoë', customerId: '注文' })

    const { body } = codec.encode(event)

    expect(body).not.toMatch(/": |, "/)
    expect(body).toContain('"aggregate_id":"Zoë"')
    expect(body).toContain('"tenant_id":null,"actor_id":null,')
    expect(body).toContain('"customerId":"注文"')
  })

  it('is what eventsource-py wrote, if the values are the same', () => {
    const { message } = captured('kafka', 'publish/type-name-differs')
    const decoded = codec.decode(message, classForPython)

    // A copy is encoded again, so its time has no microseconds.
    const rewritten = codec.encode(decoded.withMetadata({}))

    expect(rewritten.body).toBe(String(message.body).replace('05.678901Z', '05.678000Z'))
  })

  it('writes times with six digits of fraction, or none when it is zero', () => {
    const at = (time: string) =>
      new OrderCreated({ aggregateId: '1', customerId: 'c', occurredAt: new Date(time) })

    expect(codec.encode(at('2025-01-02T03:04:05.250Z')).body).toContain('"2025-01-02T03:04:05.250000Z"')
    expect(codec.encode(at('2025-01-02T03:04:05Z')).body).toContain('"2025-01-02T03:04:05Z"')
    expect(codec.encode(at('2025-01-02T03:04:05Z')).headers['occurred_at']).toBe('2025-01-02T03:04:05+00:00')
  })

  it('has the headers of eventsource-py on Kafka, in its order', () => {
    const { headers, key, contentType } = codec.encode(created())

    expect(Object.entries(headers)).toEqual([
      ['event_id', 'e-1'],
      ['event_type', 'OrderCreated'],
      ['aggregate_id', 'Order-1'],
      ['aggregate_type', 'Order'],
      ['aggregate_version', '1'],
      ['occurred_at', '2025-01-02T03:04:05.678000+00:00'],
      ['correlation_id', 'c-1'],
      ['tenant_id', 't-1'],
      ['causation_id', 'e-0'],
      ['actor_id', 'user:1'],
    ])
    expect([key, contentType]).toEqual(['Order-1', 'application/json'])
  })

  it('decodes to an equal event', () => {
    const event = created().withMetadata({ source: 'web', nested: { list: [1, null] } })

    const decoded = codec.decode(codec.encode(event), lookup(OrderCreated))

    expect(decoded).toBeInstanceOf(OrderCreated)
    expect({ ...decoded }).toEqual({ ...event })
  })
})

describe('integers beyond 2^53', () => {
  it('are read as bigint with all their digits', () => {
    const { message } = captured('rabbitmq', 'publish/all-types')

    const decoded = codec.decode(message, classForPython)

    expect(decoded).toBeInstanceOf(TypesShown)
    expect(Reflect.get(decoded, 'big_int')).toBe(9007199254740993n)
  })

  it('are written with all their digits, also by a copy', () => {
    const { message } = captured('rabbitmq', 'publish/all-types')
    const copy = codec.decode(message, classForPython).withAggregateVersion(2)

    expect(codec.encode(copy).body).toContain('"big_int":9007199254740993,')
  })

  it.each([
    ['9007199254740991', 9007199254740991],
    ['9007199254740992', 9007199254740992n],
    ['-9007199254740993', -9007199254740993n],
    ['1e21', 1e21],
    ['9007199254740993.0', 9007199254740992],
  ])('%s is read as %s', (text, value) => {
    const body = messageOf({
      event_id: 'e',
      event_type: 'T',
      aggregate_id: 'a',
      aggregate_type: 'A',
      occurred_at: '2025-01-02T03:04:05Z',
      n: 'N',
    })

    const decoded = codec.decode({ ...body, body: body.body.replace('"N"', text) }, () => undefined)

    expect(Reflect.get(decoded, 'data')).toEqual({ n: value })
  })
})

describe('a number beyond 2^53', () => {
  class Measured extends defineEvent({
    type: 'Measured',
    aggregateType: 'Test',
    schema: z.object({ value: z.number() }),
  }) {}

  it.each([2 ** 53, -(2 ** 60), 1e20, 1e21, 1.5e300])('stays a number: %d', (value) => {
    const event = new Measured({ aggregateId: '1', value })

    const decoded = codec.decode(codec.encode(event), lookup(Measured))

    expect(decoded).toMatchObject({ value })
  })
})

describe('fields that a message leaves out', () => {
  const least = {
    event_id: 'e-1',
    event_type: 'OrderCreated',
    occurred_at: '2025-01-02T03:04:05Z',
    aggregate_id: '1',
  }

  it('get the defaults of the envelope', () => {
    const decoded = codec.decode(messageOf({ ...least, customerId: 'c' }), lookup(OrderCreated))

    expect(decoded).toMatchObject({
      eventVersion: 1,
      aggregateVersion: 1,
      aggregateType: 'Order',
      correlationId: 'e-1',
      metadata: {},
    })
  })

  it('and fields that the schema does not know are dropped, so that producers may add some', () => {
    const decoded = codec.decode(
      messageOf({ ...least, customerId: 'c', addedLater: 1 }),
      lookup(OrderCreated),
    )

    expect(decoded).not.toHaveProperty('addedLater')
  })
})

describe('times in a row', () => {
  const read = (occurred_at: string) =>
    codec
      .decode(
        messageOf({
          event_id: 'e-1',
          event_type: 'OrderCreated',
          occurred_at,
          aggregate_id: 'Order-1',
          customerId: 'c',
        }),
        lookup(OrderCreated),
      )
      .occurredAt.toISOString()

  it('of one second are read like single times', () => {
    expect(read('2025-01-02T03:04:05.000Z')).toBe('2025-01-02T03:04:05.000Z')
    expect(read('2025-01-02T03:04:05.678Z')).toBe('2025-01-02T03:04:05.678Z')
    expect(read('2025-01-02T03:04:05.678901Z')).toBe('2025-01-02T03:04:05.678Z')
    expect(read('1969-12-31T23:59:59.250Z')).toBe('1969-12-31T23:59:59.250Z')
    expect(read('1969-12-31T23:59:59.999999Z')).toBe('1969-12-31T23:59:59.999Z')
  })

  it('are refused if one of them is no time', () => {
    expect(read('2025-01-02T03:04:05.678Z')).toBe('2025-01-02T03:04:05.678Z')
    expect(() => read('2025-01-02T03:04:05.67xZ')).toThrow('must be a time in ISO 8601')
    expect(read('2025-01-02T24:00:00.000Z')).toBe('2025-01-03T00:00:00.000Z')
    expect(() => read('2025-01-02T24:00:00.001Z')).toThrow('must be a time in ISO 8601')
  })
})

describe("payloadKeys: 'snake_case'", () => {
  const snake = new JsonCodec({ payloadKeys: 'snake_case' })
  class OrderPlaced extends defineEvent({
    type: 'OrderPlaced',
    aggregateType: 'Order',
    schema: z.object({
      customerId: z.string(),
      shippingAddress: z.object({ postCode: z.string() }),
      orderLines: z.array(z.object({ unitPrice: z.string() })),
      totalCents: z.bigint(),
      placedAt: z.coerce.date(),
    }),
  }) {}
  const placed = () =>
    new OrderPlaced({
      aggregateId: 'Order-1',
      customerId: 'c-1',
      shippingAddress: { postCode: '50667' },
      orderLines: [{ unitPrice: '49.95' }],
      totalCents: 9007199254740993n,
      placedAt: new Date('2025-01-02T03:04:05Z'),
      metadata: { requestId: 'r-1' },
    })

  it('writes camelCase fields as snake_case, also nested ones, and keeps metadata', () => {
    const { body } = snake.encode(placed())

    expect(body).toContain(
      '"metadata":{"requestId":"r-1"},"customer_id":"c-1","shipping_address":{"post_code":"50667"},' +
        '"order_lines":[{"unit_price":"49.95"}],"total_cents":9007199254740993,"placed_at":"2025-01-02T03:04:05Z"}',
    )
  })

  it('reads them back as they were', () => {
    const event = placed()

    const decoded = snake.decode(snake.encode(event), lookup(OrderPlaced))

    expect({ ...decoded }).toEqual({ ...event })
  })

  it.each([
    ['order_id', { order_id: 1 }, 'orderId'],
    ['lines[0].unit_price', { lines: [{ unitPrice: 1, unit_price: 2 }] }, 'unitPrice'],
    ['_id', { _id: 1 }, 'Id'],
  ])('refuses %s, which consumers would read under another name', (path, payload, read) => {
    const Noted = defineEvent<Record<string, unknown>>()({ type: 'Noted', aggregateType: 'Note' })
    const generic = { eventType: 'Noted', aggregateType: 'Note', aggregateId: 'Note-1', data: payload }

    for (const event of [new Noted({ aggregateId: 'Note-1', ...payload }), new GenericEvent(generic)]) {
      expect(() => snake.encode(event)).toThrow(
        `Noted is not valid: ${path}: is read as ${read} by consumers`,
      )
    }
  })

  it('refuses a message with two spellings of one field', () => {
    const { body } = new JsonCodec().encode(
      new GenericEvent({
        eventType: 'Noted',
        aggregateType: 'Note',
        aggregateId: 'Note-1',
        data: { a: { unitPrice: 1, unit_price: 2 } },
      }),
    )

    expect(() => snake.decode({ headers: {}, body }, () => undefined)).toThrow(
      new DecodeError(
        'not_an_event',
        'Two fields of one object have the same name in camelCase: "unitPrice".',
      ),
    )
  })

  it('reads a captured message into camelCase', () => {
    const { message } = captured('redis', 'publish/full')

    const decoded = snake.decode(message, () => undefined)

    expect(decoded).toBeInstanceOf(GenericEvent)
    expect(Reflect.get(decoded, 'data')).toMatchObject({
      orderNumber: 'ORD-001',
      shippingAddress: { street: '1 Main St', postcode: null },
      lines: [{ unitPrice: '49.95' }, { unitPrice: '30.00' }],
    })
  })

  it('keeps names by default', () => {
    expect(codec.encode(placed()).body).toContain('"customerId":"c-1","shippingAddress":{"postCode"')
  })
})
