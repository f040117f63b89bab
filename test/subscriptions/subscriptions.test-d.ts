import { describe, expectTypeOf, it } from 'vitest'
import {
  type DomainEvent,
  type HandlerContext,
  handlerFor,
  replaceEvent,
  type SubscriptionManager,
} from '../../src/index.ts'
import { OrderCreated, OrderShipped } from '../support/order-events.ts'

declare const manager: SubscriptionManager

describe('handlerFor', () => {
  it("infers the handler's parameters", () => {
    handlerFor(OrderCreated, (event, context) => {
      expectTypeOf(event.customerId).toEqualTypeOf<string>()
      expectTypeOf(context).toEqualTypeOf<HandlerContext>()
    })
    handlerFor([OrderCreated, OrderShipped], (event) => {
      expectTypeOf(event).toExtend<OrderCreated | OrderShipped>()
    })
  })

  it('refuses a handler of another event, and a value that is not an event class', () => {
    // @ts-expect-error trackingNumber belongs to OrderShipped
    handlerFor(OrderCreated, (event) => event.trackingNumber)
    // @ts-expect-error the handler takes OrderShipped
    handlerFor(OrderCreated, (_event: OrderShipped) => undefined)
    // @ts-expect-error a Date is no event
    handlerFor(Date, () => undefined)
  })
})

describe('subscribe', () => {
  it('takes projections, batch projections and handlers under a name', () => {
    manager.subscribe({ name: 'all', handle: (event) => expectTypeOf(event).toEqualTypeOf<DomainEvent>() })
    manager.subscribe({ name: 'orders', handle: (_event: OrderCreated | OrderShipped) => undefined })
    manager.subscribe({ name: 'batches', handleBatch: async (_events: readonly OrderCreated[]) => undefined })
    manager.subscribe(
      { name: 'set', handlers: [handlerFor(OrderCreated, () => undefined)] },
      { startFrom: 'end' },
    )
  })

  it('refuses a subscriber that handles nothing, and unknown options', () => {
    // @ts-expect-error it has no handler
    manager.subscribe({ name: 'nothing' })
    // @ts-expect-error a set of handlers needs a name
    manager.subscribe({ handlers: [] })
    // @ts-expect-error a function that takes a number is not a handler
    manager.subscribe({ name: 'number', handle: (_event: number) => undefined })
    // @ts-expect-error no such start
    manager.subscribe({ name: 'x', handle: () => undefined }, { startFrom: 'middle' })
    // @ts-expect-error a relay needs a name
    manager.relay({ publish: async () => undefined }, {})
  })
})

describe('replaceEvent', () => {
  it('infers the event, and the payload of each event that replaces it', () => {
    replaceEvent(OrderCreated, [OrderShipped], (event, create) => {
      expectTypeOf(event.customerId).toEqualTypeOf<string>()
      return [create(OrderShipped, { trackingNumber: 'T-1' })]
    })
  })

  it('refuses another class, and another payload', () => {
    replaceEvent(OrderCreated, [OrderShipped], (_event, create) => [
      // @ts-expect-error OrderCreated is not among the classes
      create(OrderCreated, { customerId: 'c' }),
    ])
    replaceEvent(OrderCreated, [OrderShipped], (_event, create) => [
      // @ts-expect-error the tracking number is a text
      create(OrderShipped, { trackingNumber: 1 }),
    ])
  })
})
