import { type } from 'arktype'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineEvent } from '../../../src/index.ts'
import { buildEvent } from '../../../src/testing/index.ts'

const named = { type: 'OrderPlaced', aggregateType: 'Order' }

describe('buildEvent', () => {
  it('fills the required fields that the test does not pass', () => {
    const OrderPlaced = defineEvent({
      ...named,
      schema: z.object({
        customerId: z.uuid(),
        mail: z.email(),
        total: z.number().min(10),
        count: z.int().max(-5),
        share: z.number().gt(0).lt(1),
        currency: z.enum(['EUR', 'USD']),
        lines: z.array(z.object({ sku: z.string().min(6) })).min(2),
        address: z.object({ street: z.string(), country: z.literal('DE') }),
        note: z.string().optional(),
        coupon: z.string().nullable(),
        payment: z.union([z.object({ card: z.string() }), z.object({ iban: z.string() })]),
        placedOn: z.iso.date(),
        isGift: z.boolean().default(false),
      }),
    })

    const { aggregateId, ...event } = buildEvent(OrderPlaced, { total: 42 })

    expect(aggregateId).toBe('Order-1')
    expect(event).toMatchObject({
      total: 42,
      mail: 'ann@example.com',
      count: -5,
      share: 0.5,
      currency: 'EUR',
      lines: [{ sku: 'textxx' }, { sku: 'textxx' }],
      address: { street: 'text', country: 'DE' },
      coupon: 'text',
      payment: { card: 'text' },
      placedOn: '2000-01-01',
      isGift: false,
    })
    expect(event).not.toHaveProperty('note')
  })

  it('passes fields of the envelope on', () => {
    const OrderPlaced = defineEvent({ ...named, schema: z.object({ total: z.number() }) })

    const event = buildEvent(OrderPlaced, { aggregateId: 'Order-7', tenantId: 'acme' })

    expect([event.aggregateId, event.tenantId, event.total]).toEqual(['Order-7', 'acme', 1])
  })

  it('builds dates, and schemas that refer to themselves', () => {
    interface Category {
      name: string
      parts: Category[]
    }
    const category: z.ZodType<Category> = z.lazy(() =>
      z.object({ name: z.string(), parts: z.array(category) }),
    )

    const OrderPlaced = defineEvent({ ...named, schema: z.object({ at: z.coerce.date(), category }) })

    const event = buildEvent(OrderPlaced)

    expect(event.at).toEqual(new Date('2000-01-01T00:00:00.000Z'))
    expect(event.category).toEqual({ name: 'text', parts: [] })
  })

  it('builds events from the schemas of ArkType', () => {
    const schema = type({ customer: 'string > 2', total: 'number >= 5' })
    const OrderPlaced = defineEvent({ type: 'OrderPlaced', aggregateType: 'Order', schema })

    expect(buildEvent(OrderPlaced)).toMatchObject({ customer: 'text', total: 5 })
  })

  it('names a field whose value it does not know', () => {
    const OrderPlaced = defineEvent({
      ...named,
      schema: z.object({ order: z.object({ sku: z.string().regex(/^[A-Z]{3}$/) }) }),
    })

    expect(() => buildEvent(OrderPlaced)).toThrow(
      'OrderPlaced cannot be built. order.sku: no text is known that matches ^[A-Z]{3}$. Pass this field to buildEvent.',
    )
    expect(buildEvent(OrderPlaced, { order: { sku: 'ABC' } }).order.sku).toBe('ABC')
  })

  it('checks the fields that the test passes', () => {
    const OrderPlaced = defineEvent({ ...named, schema: z.object({ total: z.number().positive() }) })

    expect(() => buildEvent(OrderPlaced, { total: -1 })).toThrow(/total/)
  })

  it('builds an event without a payload', () => {
    const Opened = defineEvent({ type: 'Opened', aggregateType: 'Shop', schema: z.object({}) })

    expect(buildEvent(Opened).aggregateId).toBe('Shop-1')
  })
})

it('refuses the name of an event in place of its class', () => {
  expect(() => buildEvent('OrderPlaced' as never)).toThrow(
    'An event class created with defineEvent is required, got "OrderPlaced".',
  )
})
