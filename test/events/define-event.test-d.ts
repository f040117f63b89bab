import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import {
  DomainEvent,
  defineEvent,
  type EventOf,
  GenericEvent,
  InMemoryEventBus,
  registerEvent,
} from '../../src/index.ts'
import { OrderCreated, OrderShipped } from '../support/order-events.ts'

const named = { type: 'Named', aggregateType: 'Test' } as const

describe('the payload of an event', () => {
  it('has the output type of its schema, deeply readonly', () => {
    class Placed extends defineEvent({
      ...named,
      schema: z.object({ lines: z.array(z.object({ sku: z.string() })), placedAt: z.coerce.date() }),
    }) {}

    expectTypeOf<Placed['lines']>().toEqualTypeOf<readonly { readonly sku: string }[]>()
    expectTypeOf<Placed['placedAt']>().toEqualTypeOf<Date>()
    expectTypeOf<Placed['aggregateId']>().toEqualTypeOf<string>()
  })

  it('is inferred from zod, valibot and ArkType alike', () => {
    const Zod = defineEvent({ ...named, schema: z.object({ count: z.number() }) })
    const Valibot = defineEvent({ ...named, schema: v.object({ count: v.number() }) })
    const ArkType = defineEvent({ ...named, schema: type({ count: 'number' }) })

    expectTypeOf<EventOf<typeof Zod>['count']>().toEqualTypeOf<number>()
    expectTypeOf<EventOf<typeof Valibot>['count']>().toEqualTypeOf<number>()
    expectTypeOf<EventOf<typeof ArkType>['count']>().toEqualTypeOf<number>()
  })

  it('may be empty', () => {
    class Pinged extends defineEvent({ ...named, schema: z.object({}) }) {}

    expectTypeOf(new Pinged({ aggregateId: '1' }).eventId).toEqualTypeOf<string>()
  })

  it('is the declared type if there is no schema', () => {
    class Cancelled extends defineEvent<{ reason: string }>()(named) {}

    expectTypeOf<Cancelled['reason']>().toEqualTypeOf<string>()
  })

  it('cannot be assigned to', () => {
    const event = new OrderCreated({ aggregateId: '1', customerId: 'c' })

    // @ts-expect-error the payload is readonly
    event.customerId = 'other'
    // @ts-expect-error the envelope is readonly
    event.aggregateId = 'other'
    // @ts-expect-error metadata is readonly
    event.metadata['a'] = 1
  })

  it('has no field that the schema does not declare', () => {
    const event = new OrderCreated({ aggregateId: '1', customerId: 'c' })

    // @ts-expect-error trackingNumber belongs to OrderShipped
    event.trackingNumber
  })
})

describe('the constructor of an event', () => {
  it('accepts the input type of its schema', () => {
    class Placed extends defineEvent({
      ...named,
      schema: z.object({ currency: z.string().default('EUR') }),
    }) {}

    expectTypeOf(Placed).toBeConstructibleWith({ aggregateId: '1' })
    expectTypeOf(Placed).toBeConstructibleWith({ aggregateId: '1', currency: 'USD', tenantId: 't-1' })
  })

  it('refuses a wrong payload', () => {
    // @ts-expect-error customerId is a string
    new OrderCreated({ aggregateId: '1', customerId: 5 })
    // @ts-expect-error customerId is missing
    new OrderCreated({ aggregateId: '1' })
    // @ts-expect-error aggregateId is missing
    new OrderCreated({ customerId: 'c' })
    // @ts-expect-error custmerId is misspelt
    new OrderCreated({ aggregateId: '1', custmerId: 'c' })
    // @ts-expect-error occurredAt is a Date
    new OrderCreated({ aggregateId: '1', customerId: 'c', occurredAt: '2025-01-02' })
    // @ts-expect-error no class can be constructed without an aggregate id
    new OrderShipped({ trackingNumber: 't' })
  })
})

describe('a payload field with the name of an event field', () => {
  it('does not compile in a schema', () => {
    // @ts-expect-error eventId belongs to the envelope
    defineEvent({ ...named, schema: z.object({ eventId: z.string() }) })
    // @ts-expect-error metadata belongs to the envelope
    defineEvent({ ...named, schema: v.object({ metadata: v.string() }) })
    // @ts-expect-error tenant_id is the envelope's tenantId on the wire
    defineEvent({ ...named, schema: type({ tenant_id: 'string' }) })
    // @ts-expect-error toJSON is a method of every event
    defineEvent({ ...named, schema: z.object({ toJSON: z.string() }) })
    // @ts-expect-error the input of a schema counts too
    defineEvent({ ...named, schema: z.object({ actorId: z.string() }).transform(() => ({ who: '' })) })
  })

  it('does not compile in a type', () => {
    // @ts-expect-error aggregateId belongs to the envelope
    defineEvent<{ aggregateId: string }>()
    // @ts-expect-error withMetadata is a method of every event
    defineEvent<{ withMetadata: string }>()
  })
})

describe('copies, unions and decorators', () => {
  it('a copy has the type of its event', () => {
    const event = new OrderCreated({ aggregateId: '1', customerId: 'c' })

    expectTypeOf(event.withMetadata({ a: 1 })).toEqualTypeOf<OrderCreated>()
    expectTypeOf(event.withCausation(event).withAggregateVersion(2)).toEqualTypeOf<OrderCreated>()
  })

  it('EventOf an array of classes is their union', () => {
    type Union = EventOf<readonly [typeof OrderCreated, typeof OrderShipped]>

    expectTypeOf<Union['aggregateId']>().toEqualTypeOf<string>()
    expectTypeOf<OrderCreated>().toExtend<Union>()
    expectTypeOf<Union>().toExtend<DomainEvent>()
  })

  it('registerEvent is a class decorator', () => {
    @registerEvent
    class Decorated extends defineEvent<{ a: 1 }>()(named) {}

    expectTypeOf(new Decorated({ aggregateId: '1', a: 1 }).a).toEqualTypeOf<1>()
  })

  it('registerEvent refuses a class that is not an event class', () => {
    // @ts-expect-error it has no event type
    registerEvent(class NotAnEvent {})
    // @ts-expect-error GenericEvent stands for no one type
    registerEvent(GenericEvent)
    // @ts-expect-error DomainEvent is abstract
    new DomainEvent({}, {})
  })
})

describe('a payload beyond plain objects', () => {
  it('keeps brands, instances of classes, tuples and dates', () => {
    const OrderId = z.string().brand<'OrderId'>()
    type OrderId = z.infer<typeof OrderId>
    class Money {
      readonly #cents: bigint
      constructor(cents: bigint) {
        this.#cents = cents
      }
      toJSON() {
        return String(this.#cents)
      }
    }
    class Paid extends defineEvent({
      ...named,
      schema: z.object({
        orderId: OrderId,
        ids: z.array(OrderId),
        price: z.number().brand<'Cents'>(),
        total: z.instanceof(Money),
        pair: z.tuple([z.string(), z.number()]),
        when: z.date(),
        meta: z.unknown(),
        free: z.any(),
      }),
    }) {}

    expectTypeOf<Paid['orderId']>().toEqualTypeOf<OrderId>()
    expectTypeOf<Paid['orderId']>().toExtend<string>()
    expectTypeOf<Paid['ids']>().toEqualTypeOf<readonly OrderId[]>()
    expectTypeOf<Paid['price']>().toExtend<number>()
    expectTypeOf<Paid['total']>().toEqualTypeOf<Money>()
    expectTypeOf<Paid['pair']>().toEqualTypeOf<readonly [string, number]>()
    expectTypeOf<Paid['when']>().toEqualTypeOf<Date>()
    expectTypeOf<Paid['meta']>().toBeUnknown()
    expectTypeOf<Paid['free']>().toBeAny()
  })

  it('may be a union: it can be extended, and a handler can tell the alternatives apart', () => {
    const schema = z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('card'), last4: z.string() }),
      z.object({ kind: z.literal('cash'), till: z.number() }),
    ])
    class PaymentTaken extends defineEvent({ ...named, schema }) {
      get isCard(): boolean {
        return this.kind === 'card'
      }
    }
    const Plain = defineEvent({ ...named, schema })
    const bus = new InMemoryEventBus()

    bus.subscribe(Plain, (event) => (event.kind === 'card' ? event.last4.length : event.till + 1))
    bus.subscribe(PaymentTaken, (event) => {
      expectTypeOf(event.isCard).toEqualTypeOf<boolean>()
      return event.kind === 'card' ? event.last4.length : event.till + 1
    })
    bus.subscribe([PaymentTaken, OrderShipped], (event) => {
      if ('trackingNumber' in event) expectTypeOf(event).toEqualTypeOf<OrderShipped>()
    })
    expectTypeOf(Plain).toBeConstructibleWith({ aggregateId: '1', kind: 'card', last4: '1234' })
    expectTypeOf(new PaymentTaken({ aggregateId: '1', kind: 'cash', till: 1 }).till).toEqualTypeOf<
      number | undefined
    >()
    // @ts-expect-error a card has no till
    new Plain({ aggregateId: '1', kind: 'card', till: 1 })
  })

  it('may be a record', () => {
    class Counted extends defineEvent({ ...named, schema: z.record(z.string(), z.number()) }) {}

    const event = new Counted({ aggregateId: '1', apples: 3 })

    expectTypeOf(event.eventId).toEqualTypeOf<string>()
    expectTypeOf(event['apples']).toEqualTypeOf<number | undefined>()
  })

  it('is refused if one alternative of a union has a name of the envelope', () => {
    const schema = z.union([z.object({ a: z.string() }), z.object({ b: z.string(), metadata: z.string() })])

    // @ts-expect-error payload field "metadata" is a name that every event has already
    defineEvent({ ...named, schema })
  })
})
