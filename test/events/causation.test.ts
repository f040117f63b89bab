import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type BrokerOptions, type DomainEvent, type EventBus, InMemoryEventBus } from '../../src/index.ts'
import { MemoryBrokerEventBus } from '../../src/testing/index.ts'
import {
  OrderCancelled,
  OrderCreated,
  OrderShipped,
  orderCreated,
  orderShipped,
} from '../support/order-events.ts'
import { waitFor } from '../support/wait-for.ts'

type Create = (options?: Pick<BrokerOptions, 'propagateCausation'>) => EventBus

const buses: Readonly<Record<string, Create>> = {
  'in memory': (options) => new InMemoryEventBus(options),
  'over a broker': (options) => new MemoryBrokerEventBus(options),
}

describe.each(Object.entries(buses))('an event published from inside a handler, %s', (_name, make) => {
  /** A bus whose handler of `OrderCreated` does this, and what `OrderShipped` events it then publishes. */
  function shippingBy(
    handler: (bus: EventBus, event: OrderCreated) => unknown,
    options?: Pick<BrokerOptions, 'propagateCausation'>,
  ) {
    const bus = make(options)
    onTestFinished(() => bus.shutdown())
    const shipped: DomainEvent[] = []
    bus.subscribe(OrderCreated, (event) => handler(bus, event))
    bus.subscribe(OrderShipped, (event) => {
      shipped.push(event)
    })
    bus.startConsumingInBackground()
    return { bus, shipped }
  }

  it('takes its correlation id and its id', async () => {
    const { bus, shipped } = shippingBy((bus) => bus.publish([orderShipped()]))
    const cause = orderCreated()

    await bus.publish([cause])
    await waitFor(() => shipped.length === 1)

    expect(shipped[0]).toMatchObject({ correlationId: cause.correlationId, causationId: cause.eventId })
    expect(cause.causationId).toBeUndefined()
  })

  it('does so in nested asynchronous code, and in the background', async () => {
    const { bus, shipped } = shippingBy(async (bus) => {
      await nextTurn()
      await Promise.all([1, 2].map(() => nextTurn().then(() => bus.publish([orderShipped()]))))
      await bus.publish([orderShipped()], { background: true })
    })
    const cause = orderCreated()

    await bus.publish([cause])
    await waitFor(() => shipped.length === 3)

    expect(shipped.map(({ causationId }) => causationId)).toEqual(Array(3).fill(cause.eventId))
  })

  it('does so even if it was created before, with its own id kept', async () => {
    const made = orderShipped()
    const { bus, shipped } = shippingBy((bus) => bus.publish([made]))
    const cause = orderCreated()

    await bus.publish([cause])
    await waitFor(() => shipped.length === 1)

    expect(shipped[0]).toMatchObject({
      eventId: made.eventId,
      correlationId: cause.correlationId,
      causationId: cause.eventId,
      trackingNumber: made.trackingNumber,
    })
  })

  it.each([
    [{ correlationId: 'mine' }, 'mine', 'cause'],
    [{ causationId: 'other' }, 'its', 'other'],
    [{ correlationId: 'mine', causationId: 'other' }, 'mine', 'other'],
  ])('keeps ids that were set: %o', async (given, correlationId, causationId) => {
    const input = { aggregateId: 'Order-1', trackingNumber: 'T', ...given }
    const before = new OrderShipped(input)
    const { bus, shipped } = shippingBy((bus) => bus.publish([before, new OrderShipped(input)]))
    const cause = new OrderCreated({
      aggregateId: 'Order-1',
      customerId: 'c',
      eventId: 'cause',
      correlationId: 'its',
    })

    await bus.publish([cause])
    await waitFor(() => shipped.length === 2)

    for (const event of shipped) expect(event).toMatchObject({ correlationId, causationId })
  })

  it('is itself when it is the handled event, passed on', async () => {
    const forwarded: DomainEvent[] = []
    const target = new InMemoryEventBus()
    target.subscribeToAllEvents((event) => {
      forwarded.push(event)
    })
    const { bus } = shippingBy((_bus, event) => target.publish([event]))
    const cause = orderCreated()

    await bus.publish([cause])
    await waitFor(() => forwarded.length === 1)

    expect(forwarded[0]).toMatchObject({ correlationId: cause.correlationId, causationId: undefined })
  })

  it('propagateCausation: false changes nothing', async () => {
    const { bus, shipped } = shippingBy((bus) => bus.publish([orderShipped()]), { propagateCausation: false })
    const cause = orderCreated()

    await bus.publish([cause])
    await waitFor(() => shipped.length === 1)

    expect(shipped[0]?.causationId).toBeUndefined()
    expect(shipped[0]?.correlationId).not.toBe(cause.correlationId)
  })

  it('is not the cause of events that a timer outside of handlers publishes', async () => {
    const inHandler = Promise.withResolvers<void>()
    const published = Promise.withResolvers<void>()
    const { bus, shipped } = shippingBy(async () => {
      inHandler.resolve()
      await published.promise
    })
    const outside = inHandler.promise.then(async () => {
      const event = orderShipped()
      await bus.publish([event])
      published.resolve()
      return event
    })

    await bus.publish([orderCreated()])
    const event = await outside
    await waitFor(() => shipped.length === 1)

    expect(shipped[0]).toMatchObject({ correlationId: event.correlationId, causationId: undefined })
  })
})

it('copies of an event created outside of handlers get the cause; copies with a cause of their own keep it', async () => {
  const bus = new InMemoryEventBus()
  const seen: DomainEvent[] = []
  const first = orderShipped().withMetadata({ from: 'test' })
  const second = orderShipped().withCausation(orderShipped('Order-7'))
  bus.subscribe(OrderCreated, () => bus.publish([first, second]))
  bus.subscribe(OrderShipped, (event) => {
    seen.push(event)
  })
  const cause = orderCreated()

  await bus.publish([cause])

  expect(seen[0]).toMatchObject({ causationId: cause.eventId, metadata: { from: 'test' } })
  expect(seen[1]).toBe(second)
})

it('each of several events of one publish is the cause of the events that its own handler publishes', async () => {
  const bus = new InMemoryEventBus()
  const causes: (string | undefined)[] = []
  bus.subscribe(OrderCreated, async () => {
    await nextTurn()
    await bus.publish([new OrderCancelled({ aggregateId: 'Order-1', reason: 'test' })])
  })
  bus.subscribe(OrderCancelled, (event) => {
    causes.push(event.causationId)
  })
  const events = [orderCreated(), orderCreated()]

  await bus.publish(events)

  expect(causes).toEqual(events.map(({ eventId }) => eventId))
})

it('work that outlives its handler, and the publisher, keep their cause while later events are handled', async () => {
  const bus = new InMemoryEventBus()
  const causes: (string | undefined)[] = []
  const left: Promise<void>[] = []
  bus.subscribe(OrderCreated, () => {
    left.push(nextTurn().then(() => bus.publish([orderShipped()])))
  })
  bus.subscribe(OrderShipped, (event) => {
    causes.push(event.causationId)
  })
  const events = [orderCreated(), orderCreated()]

  const publishing = bus.publish(events)
  const outside = bus.publish([orderShipped()])
  await Promise.all([publishing, outside, ...left])
  await Promise.all(left)
  await bus.publish([orderShipped()])

  expect(causes).toEqual([undefined, ...events.map(({ eventId }) => eventId), undefined])
})
