import { describe, expect, it } from 'vitest'
import {
  type DomainEvent,
  DuplicateEventTypeError,
  defineEvent,
  GenericEvent,
  InMemoryEventBus,
} from '../../src/index.ts'
import {
  OrderCancelled,
  OrderCreated,
  OrderShipped,
  orderCancelled,
  orderCreated,
  orderShipped,
} from '../support/order-events.ts'

const typesOf = (events: readonly DomainEvent[]) => events.map(({ eventType }) => eventType)

describe('subscribe', () => {
  it('delivers exactly the events of the class to a handler', async () => {
    const bus = new InMemoryEventBus()
    const seen: OrderCreated[] = []
    bus.subscribe(OrderCreated, (event) => void seen.push(event))
    const created = orderCreated()

    await bus.publish([created, orderShipped()])

    expect(seen).toEqual([created])
    expect(seen[0]).toBe(created)
  })

  it('with several classes delivers the events of each', async () => {
    const bus = new InMemoryEventBus()
    const seen: string[] = []
    bus.subscribe([OrderCreated, OrderShipped], (event) => {
      seen.push(event instanceof OrderCreated ? event.customerId : event.trackingNumber)
    })

    await bus.publish([orderCreated(), orderCancelled(), orderShipped()])

    expect(seen).toEqual(['c-1', 'TRACK-1'])
    expect(bus.getSubscriberCount()).toBe(2)
  })

  it('twice calls the handler twice, and unsubscribe removes one subscription', async () => {
    const bus = new InMemoryEventBus()
    let calls = 0
    const handler = () => {
      calls += 1
    }
    bus.subscribe(OrderCreated, handler)
    bus.subscribe(OrderCreated, handler)
    bus.subscribeToAllEvents(handler)

    await bus.publish([orderCreated()])
    const isRemoved = bus.unsubscribe(OrderCreated, handler)
    await bus.publish([orderCreated()])

    expect(isRemoved).toBe(true)
    expect(calls).toBe(3 + 2)
  })

  it('returns a subscription that can be ended once', async () => {
    const bus = new InMemoryEventBus()
    const seen: DomainEvent[] = []
    const subscription = bus.subscribe([OrderCreated, OrderShipped], (event) => void seen.push(event))

    const results = [subscription.unsubscribe(), subscription.unsubscribe()]
    await bus.publish([orderCreated(), orderShipped()])

    expect(results).toEqual([true, false])
    expect(seen).toEqual([])
  })

  it('returns a subscription that ends with its scope', async () => {
    const bus = new InMemoryEventBus()
    const seen: DomainEvent[] = []
    {
      using _subscription = bus.subscribe(OrderCreated, (event) => void seen.push(event))
      await bus.publish([orderCreated()])
    }

    await bus.publish([orderCreated()])

    expect(seen).toHaveLength(1)
    expect(bus.getSubscriberCount()).toBe(0)
  })

  it('refuses another class of a subscribed type until the first is unsubscribed', () => {
    class Impostor extends defineEvent<{ a: 1 }>()({ type: 'OrderCreated', aggregateType: 'Order' }) {}
    const bus = new InMemoryEventBus()
    const subscription = bus.subscribe(OrderCreated, () => undefined)

    expect(() => bus.subscribe(Impostor, () => undefined)).toThrow(DuplicateEventTypeError)
    subscription.unsubscribe()
    expect(() => bus.subscribe(Impostor, () => undefined)).not.toThrow()
  })

  it('has no effect if one of several classes is refused', () => {
    class Impostor extends defineEvent<{ a: 1 }>()({ type: 'OrderCreated', aggregateType: 'Order' }) {}
    const bus = new InMemoryEventBus()
    bus.subscribe(OrderCreated, () => undefined)

    expect(() => bus.subscribe([OrderShipped, Impostor], () => undefined)).toThrow(DuplicateEventTypeError)
    expect(bus.getSubscriberCount()).toBe(1)
  })
})

describe('unsubscribe', () => {
  class Projection {
    readonly seen: DomainEvent[] = []
    handle(event: DomainEvent) {
      this.seen.push(event)
    }
  }
  const projection = new Projection()
  const handlers = {
    'an object': { handle: () => undefined },
    'a function': function handler() {},
    'an arrow function': () => undefined,
    'a bound method that was kept': projection.handle.bind(projection),
  }

  it.each(Object.entries(handlers))('finds %s by reference', (_kind, handler) => {
    const bus = new InMemoryEventBus()
    bus.subscribe(OrderCreated, handler)

    const results = [bus.unsubscribe(OrderCreated, handler), bus.unsubscribe(OrderCreated, handler)]

    expect(results).toEqual([true, false])
    expect(bus.getSubscriberCount(OrderCreated)).toBe(0)
  })

  it('returns false for a handler of another class', () => {
    const bus = new InMemoryEventBus()
    const handler = () => undefined
    bus.subscribe(OrderCreated, handler)

    expect(bus.unsubscribe(OrderShipped, handler)).toBe(false)
    expect(bus.getSubscriberCount()).toBe(1)
  })
})

describe('subscribeAll', () => {
  it('delivers exactly the declared types to a subscriber', async () => {
    const bus = new InMemoryEventBus()
    const seen: DomainEvent[] = []
    const subscription = bus.subscribeAll({
      subscribedTo: () => [OrderCreated, OrderCancelled],
      handle: (event: DomainEvent) => void seen.push(event),
    })

    await bus.publish([orderCreated(), orderShipped(), orderCancelled()])
    subscription.unsubscribe()
    await bus.publish([orderCreated()])

    expect(typesOf(seen)).toEqual(['OrderCreated', 'OrderCancelled'])
  })
})

describe('subscribeToAllEvents', () => {
  it('delivers every event once, also of types that are defined later or unknown', async () => {
    const bus = new InMemoryEventBus()
    const seen: DomainEvent[] = []
    bus.subscribeToAllEvents((event) => void seen.push(event))
    class Later extends defineEvent<{ a: 1 }>()({ type: 'Later', aggregateType: 'Test' }) {}
    const unknown = new GenericEvent({
      eventType: 'Unknown',
      aggregateType: 'Test',
      aggregateId: '1',
      data: {},
    })

    await bus.publish([orderCreated(), new Later({ aggregateId: '1', a: 1 }), unknown])

    expect(typesOf(seen)).toEqual(['OrderCreated', 'Later', 'Unknown'])
  })

  it('is ended by unsubscribeFromAllEvents, which returns true, then false', async () => {
    const bus = new InMemoryEventBus()
    const seen: DomainEvent[] = []
    const handler = (event: DomainEvent) => void seen.push(event)
    bus.subscribeToAllEvents(handler)

    const results = [bus.unsubscribeFromAllEvents(handler), bus.unsubscribeFromAllEvents(handler)]
    await bus.publish([orderCreated()])

    expect(results).toEqual([true, false])
    expect(seen).toEqual([])
  })
})

describe('the counts of subscribers', () => {
  it('are separate for a class, all classes and all events', () => {
    const bus = new InMemoryEventBus()
    const handler = () => undefined
    bus.subscribe(OrderCreated, handler)
    bus.subscribe(OrderCreated, () => undefined)
    bus.subscribe(OrderShipped, handler)
    bus.subscribeToAllEvents(handler)

    const counts = [
      bus.getSubscriberCount(),
      bus.getSubscriberCount(OrderCreated),
      bus.getSubscriberCount(OrderCancelled),
      bus.getWildcardSubscriberCount(),
    ]

    expect(counts).toEqual([3, 2, 0, 1])
  })

  it('are all 0 after clearSubscribers', async () => {
    const bus = new InMemoryEventBus()
    const seen: DomainEvent[] = []
    const subscription = bus.subscribe(OrderCreated, (event) => void seen.push(event))
    bus.subscribeToAllEvents((event) => void seen.push(event))

    bus.clearSubscribers()
    await bus.publish([orderCreated()])

    expect([bus.getSubscriberCount(), bus.getSubscriberCount(OrderCreated)]).toEqual([0, 0])
    expect(bus.getWildcardSubscriberCount()).toBe(0)
    expect(seen).toEqual([])
    expect(subscription.unsubscribe()).toBe(false)
  })
})

it.each([
  ['is longer than 255 characters', 'x'.repeat(256)],
  ['has a control character', '\u0001attempts {}'],
  ['has half of a surrogate pair', 'a\ud800'],
])('refuses a name or an alias that %s', (_what, name) => {
  const bus = new InMemoryEventBus()

  for (const options of [{ name }, { name: 'a', aliases: [name] }]) {
    expect(() => bus.subscribe(OrderCreated, () => undefined, options)).toThrow(
      /at most 255 characters, no control/,
    )
  }
})
