import { describe, expectTypeOf, it } from 'vitest'
import {
  AsyncEventHandler,
  DomainEvent,
  type EventBus,
  type EventClass,
  type HandlerContext,
  InMemoryEventBus,
} from '../../src/index.ts'
import { OrderCreated, OrderShipped } from '../support/order-events.ts'

const bus: EventBus = new InMemoryEventBus()

describe('subscribe', () => {
  it("infers the handler's parameters", () => {
    bus.subscribe(OrderCreated, (event, context) => {
      expectTypeOf(event).toExtend<OrderCreated>()
      expectTypeOf(event.customerId).toEqualTypeOf<string>()
      expectTypeOf(context).toEqualTypeOf<HandlerContext>()
    })
    bus.subscribe(OrderCreated, { handle: (event) => expectTypeOf(event.customerId).toEqualTypeOf<string>() })
  })

  it('infers the union of several classes', () => {
    bus.subscribe([OrderCreated, OrderShipped], (event) => {
      expectTypeOf(event).toExtend<OrderCreated | OrderShipped>()
      expectTypeOf(event.aggregateId).toEqualTypeOf<string>()
      // @ts-expect-error only OrderCreated has a customerId
      event.customerId
      if (event instanceof OrderCreated) expectTypeOf(event.customerId).toEqualTypeOf<string>()
    })
  })

  it('refuses a handler that reads a field that the event does not have', () => {
    // @ts-expect-error trackingNumber belongs to OrderShipped
    bus.subscribe(OrderCreated, (event) => event.trackingNumber)
    // @ts-expect-error trackingNumber belongs to OrderShipped
    bus.subscribe(OrderCreated, { handle: (event) => event.trackingNumber })
    // @ts-expect-error a wildcard handler knows the envelope only
    bus.subscribeToAllEvents((event) => event.customerId)
  })

  it('refuses a handler of another event', () => {
    const shipping = (_event: OrderShipped) => undefined

    // @ts-expect-error the handler takes OrderShipped
    bus.subscribe(OrderCreated, shipping)
    // @ts-expect-error the handler takes OrderShipped, and OrderCreated comes too
    bus.subscribe([OrderCreated, OrderShipped], shipping)
    // @ts-expect-error any event comes
    bus.subscribeToAllEvents(shipping)
  })

  it('accepts a handler of any event', () => {
    const audit = { handle: async (_event: DomainEvent) => undefined }

    bus.subscribe(OrderCreated, audit)
    bus.subscribeToAllEvents(audit)
  })

  it('refuses a class that is not an event class', () => {
    class NotAnEvent {}

    // @ts-expect-error it has no event type
    bus.subscribe(NotAnEvent, () => undefined)
    // @ts-expect-error DomainEvent stands for no one type: use subscribeToAllEvents
    bus.subscribe(DomainEvent, () => undefined)
    // @ts-expect-error a name is no class
    bus.subscribe('OrderCreated', () => undefined)
  })

  it('refuses a value that is not a handler', () => {
    // @ts-expect-error a number handles nothing
    bus.subscribe(OrderCreated, 42)
    // @ts-expect-error there is no handle method
    bus.subscribe(OrderCreated, {})
    // @ts-expect-error there is no handle method
    bus.subscribeToAllEvents({ handel: () => undefined })
  })
})

describe('subscribeAll', () => {
  it('accepts an AsyncEventHandler of several types, and a subscriber', () => {
    class Notifications extends AsyncEventHandler<OrderCreated | OrderShipped> {
      override eventTypes(): readonly EventClass<OrderCreated | OrderShipped>[] {
        return [OrderCreated, OrderShipped]
      }
      override async handle(event: OrderCreated | OrderShipped): Promise<void> {
        expectTypeOf(event.aggregateId).toEqualTypeOf<string>()
      }
    }

    bus.subscribeAll(new Notifications())
    bus.subscribeAll({ subscribedTo: () => [OrderCreated], handle: (event: DomainEvent) => event.eventId })
  })

  it('refuses an object that does not declare its event classes', () => {
    // @ts-expect-error subscribedTo is missing
    bus.subscribeAll({ handle: () => undefined })
  })
})

describe('publish', () => {
  it('accepts only events', () => {
    void bus.publish([new OrderCreated({ aggregateId: '1', customerId: 'c' })], { background: true })
    // @ts-expect-error this is no event
    void bus.publish([{ eventType: 'OrderCreated' }])
    // @ts-expect-error one event is no array
    void bus.publish(new OrderCreated({ aggregateId: '1', customerId: 'c' }))
    // @ts-expect-error there is no such option
    void bus.publish([], { inBackground: true })
  })
})
