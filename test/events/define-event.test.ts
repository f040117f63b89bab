import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineEvent } from '../../src/index.ts'
import { OrderCreated } from '../support/order-events.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const customerId = '3fa85f64-5717-4562-b3fc-2c963f66afa6'

describe('a new event', () => {
  it('has the defaults of the envelope', () => {
    const before = Date.now()

    const event = new OrderCreated({ aggregateId: 'Order-123', customerId })

    expect(event).toMatchObject({
      eventType: 'OrderCreated',
      aggregateType: 'Order',
      eventVersion: 1,
      aggregateId: 'Order-123',
      aggregateVersion: 1,
      tenantId: undefined,
      actorId: undefined,
      causationId: undefined,
      metadata: {},
      customerId,
    })
    expect(event.eventId).toMatch(UUID)
    expect(event.correlationId).toMatch(UUID)
    expect(event.correlationId).not.toBe(event.eventId)
    expect(event.occurredAt.getTime()).toBeGreaterThanOrEqual(before)
    expect(event.occurredAt.getTime()).toBeLessThanOrEqual(Date.now())
  })

  it('accepts every envelope field that has a default', () => {
    const given = {
      eventId: 'e-1',
      occurredAt: new Date('2025-01-02T03:04:05.678Z'),
      aggregateVersion: 7,
      tenantId: 't-1',
      actorId: 'user:zoë',
      correlationId: 'c-1',
      causationId: 'e-0',
      metadata: { source: 'web' },
    }

    const event = new OrderCreated({ aggregateId: 'Order-123', customerId, ...given })

    expect(event).toMatchObject(given)
  })

  it('accepts a UUID or any other key as its aggregate id', () => {
    const ids = [customerId, 'Order-123', '注文 42'].map(
      (aggregateId) => new OrderCreated({ aggregateId, customerId }).aggregateId,
    )

    expect(ids).toEqual([customerId, 'Order-123', '注文 42'])
  })

  it('has the payload version that its class declares', () => {
    class Renamed extends defineEvent<{ name: string }>()({
      type: 'customer.renamed',
      aggregateType: 'Customer',
      schemaVersion: 2,
    }) {}

    const event = new Renamed({ aggregateId: '1', name: 'Ada' })

    expect(event.eventVersion).toBe(2)
    expect([Renamed.eventType, Renamed.aggregateType, Renamed.schemaVersion]).toEqual([
      'customer.renamed',
      'Customer',
      2,
    ])
  })

  it('has the methods and getters of its class', () => {
    class Paid extends defineEvent<{ cents: number }>()({ type: 'Paid', aggregateType: 'Order' }) {
      get euros() {
        return this.cents / 100
      }
    }

    expect(new Paid({ aggregateId: '1', cents: 250 }).euros).toBe(2.5)
  })
})

describe('a schema', () => {
  const definition = { type: 'Placed', aggregateType: 'Order' } as const
  const libraries = {
    zod: defineEvent({
      ...definition,
      schema: z.strictObject({ customerId: z.uuid(), lines: z.array(z.object({ sku: z.string() })) }),
    }),
    valibot: defineEvent({
      ...definition,
      schema: v.object({
        customerId: v.pipe(v.string(), v.uuid()),
        lines: v.array(v.object({ sku: v.string() })),
      }),
    }),
    ArkType: defineEvent({
      ...definition,
      schema: type({ '+': 'reject', customerId: 'string.uuid', lines: type({ sku: 'string' }).array() }),
    }),
  }

  it.each(Object.entries(libraries))('of %s accepts a right payload', (_library, Placed) => {
    const event = new Placed({ aggregateId: '1', customerId, lines: [{ sku: 'SKU-1' }] })

    expect(event).toMatchObject({ customerId, lines: [{ sku: 'SKU-1' }] })
  })

  it.each(Object.entries(libraries))(
    'of %s names type, path and rule of a wrong payload',
    (_library, Placed) => {
      const input = { aggregateId: '1', customerId: 'no uuid', lines: [{ sku: 5 }] }

      // @ts-expect-error a sku is a string
      const construct = () => new Placed(input)

      expect(construct).toThrow(/^Placed is not valid: customerId: .*UUID.*; lines\[0\]\.sku: .*string.*$/)
      expect(construct).toThrow(
        expect.objectContaining({ name: 'EventValidationError', code: 'EVENT_INVALID' }),
      )
    },
  )

  it.each(Object.entries(libraries))('of %s refuses a missing and a misspelt field', (_library, Placed) => {
    const missing = { aggregateId: '1', customerId }
    const misspelt = { aggregateId: '1', customerId, lines: [], coupn: 'WELCOME10' }

    // @ts-expect-error lines are missing
    expect(() => new Placed(missing)).toThrow(/lines/)
    expect(() => new Placed(misspelt)).toThrow(/coupn/)
  })

  it('gives its output as fields: transformed and with defaults', () => {
    const Priced = defineEvent({
      ...definition,
      schema: z.object({ placedAt: z.coerce.date(), currency: z.string().default('EUR') }),
    })

    const event = new Priced({ aggregateId: '1', placedAt: '2025-01-02T03:04:05Z' })

    expect(event.placedAt).toEqual(new Date('2025-01-02T03:04:05Z'))
    expect(event.currency).toBe('EUR')
  })

  it('that renames fields may allow input that it does not return', () => {
    const schema = z
      .union([z.object({ name: z.string() }), z.object({ first: z.string() })])
      .transform((given) => ({ name: 'name' in given ? given.name : given.first }))
    const Strict = defineEvent({ ...definition, schema })
    const Renaming = defineEvent({ ...definition, schema, allowUnknownFields: true })

    const event = new Renaming({ aggregateId: '1', first: 'Ada' })

    expect(event.name).toBe('Ada')
    expect(() => new Strict({ aggregateId: '1', first: 'Ada' })).toThrow(
      'Placed is not valid: first: is not a field of this event',
    )
  })

  it('that is asynchronous is refused with a clear error', () => {
    const Async = defineEvent({
      ...definition,
      schema: z.object({ name: z.string().refine(async () => true) }),
    })

    expect(() => new Async({ aggregateId: '1', name: 'Ada' })).toThrow(/synchronous schema/i)
  })

  it('with a function that throws is refused with an error that says so', () => {
    const parsed = z.string().transform((text): unknown => JSON.parse(text))
    const Throwing = defineEvent({ ...definition, schema: z.object({ parsed }) })

    expect(() => new Throwing({ aggregateId: '1', parsed: 'no JSON' })).toThrow(
      /asynchronous, or a function in it throws an error/,
    )
  })

  it('never shows a whole payload when it fails', () => {
    const secret = 'x'.repeat(5_000)
    const Placed = libraries.valibot

    // @ts-expect-error lines are an array
    const construct = () => new Placed({ aggregateId: '1', customerId, lines: secret })

    expect(construct).toThrow(/^.{1,300}$/)
  })
})

describe('a definition', () => {
  it.each([
    [{ type: '', aggregateType: 'Order' }, 'defineEvent: type must be a non-empty string, got "".'],
    [
      { type: 'Paid\ud800', aggregateType: 'Order' },
      'defineEvent: type must have no halves of surrogate pairs, got "Paid\\ud800".',
    ],
    [{ type: 'Paid', aggregateType: 5 }, 'defineEvent: aggregateType must be a non-empty string, got 5.'],
    [
      { type: 'Paid', aggregateType: 'Order', schemaVersion: 0 },
      'defineEvent: schemaVersion of Paid must be an integer of at least 1, got 0.',
    ],
    [
      { type: 'Paid', aggregateType: 'Order', schema: { customerId: 'string' } },
      'defineEvent: schema of Paid must be a Standard Schema (zod, valibot, ArkType ...), got an object.',
    ],
    [
      { type: 'Paid', aggregateType: 'Order', sensitive: 'card' },
      'defineEvent: sensitive of Paid must be an array of non-empty strings, got "card".',
    ],
    [5, 'defineEvent takes a definition ({ type, ... }), got 5.'],
    [
      { type: 'Paid', aggregateType: 'Order', schemaVerson: 2 },
      'defineEvent: schemaVerson is not a part of a definition (there are: type, aggregateType, schemaVersion, ' +
        'publishAs, typeAliases, aggregateTypeAliases, sensitive, upcasts, schema, allowUnknownFields).',
    ],
  ])('that is wrong is refused in one sentence: %o', (definition, message) => {
    const fromJavaScript = defineEvent as (definition: unknown) => unknown

    expect(() => fromJavaScript(definition)).toThrow(new TypeError(message))
  })

  it('may have null for a part that is not set', () => {
    const definition = { type: 'Paid', aggregateType: 'Order', schemaVersion: null, typeAliases: null }
    const fromJavaScript = defineEvent as (definition: unknown) => { schemaVersion: number }

    expect(fromJavaScript(definition).schemaVersion).toBe(1)
  })
})

describe('a payload field', () => {
  it.each(['eventId', 'event_id', 'metadata', 'withMetadata', 'toJSON', 'constructor', '__proto__'])(
    'cannot be called %s, which every event has',
    (name) => {
      const Colliding = defineEvent({
        type: 'Colliding',
        aggregateType: 'Test',
        schema: z.object({}).transform(() => JSON.parse(`{"${name}":"mine"}`) as Record<string, string>),
      })

      expect(() => new Colliding({ aggregateId: '1' })).toThrow(`Colliding is not valid: ${name}: `)
    },
  )

  it.each([
    ['with', defineEvent({ type: 'Granted', aggregateType: 'Test', schema: z.object({ role: z.any() }) })],
    ['without', defineEvent<{ role?: unknown }>()({ type: 'Granted', aggregateType: 'Test' })],
  ])('cannot be given through the prototype, %s a schema', (_name, Granted) => {
    const hostile: object = JSON.parse('{"__proto__":{"role":"admin"}}')

    expect(() => new Granted({ aggregateId: '1', role: undefined, ...hostile })).toThrow(
      'Granted is not valid: __proto__: is not an allowed name',
    )
  })

  it('cannot replace a field that the class fixes', () => {
    const input = { aggregateId: '1', customerId, eventType: 'Other' }

    expect(() => new OrderCreated(input)).toThrow(
      'OrderCreated is not valid: eventType: is fixed by the event class',
    )
  })
})
