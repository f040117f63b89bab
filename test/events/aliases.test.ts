import { describe, expect, it } from 'vitest'
import { HandlerRegistry } from '../../src/handling/handler-registry.ts'
import {
  CloudEventsCodec,
  type DomainEvent,
  defineEvent,
  EventRegistry,
  firstVersion,
  JsonCodec,
} from '../../src/index.ts'
import { routingKeysOf } from '../../src/rabbitmq/wire/message.ts'

class Placed extends defineEvent<{ readonly total: number }>()({
  type: 'OrderPlaced',
  aggregateType: 'Order',
}) {}

class Ordered extends defineEvent<{ readonly cents: number }>()({
  type: 'Ordered',
  typeAliases: ['OrderPlaced', 'order.placed'],
  aggregateType: 'Purchase',
  aggregateTypeAliases: ['Order'],
  upcasts: firstVersion<{ total: number }>().to(2, ({ total }) => ({ cents: total * 100 })),
}) {}

const placed = new Placed({ aggregateId: 'a', total: 42, metadata: { from: 'web' } })
const codecs = [new JsonCodec(), new CloudEventsCodec({ source: '/orders' })]
const namesOf = ({ eventType, aggregateType, eventVersion }: DomainEvent) => [
  eventType,
  aggregateType,
  eventVersion,
]

describe.each(codecs)('an event with a former name, decoded by %o', (codec) => {
  const message = codec.encode(placed)
  const event = codec.decode(message, () => Ordered)

  it('is an instance of the current class with its names and version', () => {
    expect(event).toBeInstanceOf(Ordered)
    expect(event).toMatchObject({ cents: 4200, eventId: placed.eventId, metadata: { from: 'web' } })
    expect(namesOf(event)).toEqual(['Ordered', 'Purchase', 2])
  })

  it('is passed on as it came, with headers that agree with the body', () => {
    expect(codec.encode(event)).toEqual(message)
  })

  it('is written with the current names by another codec, and as a changed copy', () => {
    const others = codecs.filter((other) => other !== codec)
    for (const encoded of [
      ...others.map((other) => other.encode(event)),
      codec.encode(event.withMetadata({ x: 1 })),
    ]) {
      expect(encoded.headers).toMatchObject({ event_type: 'Ordered', aggregate_type: 'Purchase' })
      expect(String(encoded.body)).toContain('"Ordered"')
    }
  })
})

it('keeps an aggregate type that is no alias', () => {
  const [codec] = codecs
  const body = String(codec?.encode(placed).body).replace('"Order"', '"Elsewhere"')

  expect(namesOf(new JsonCodec().decode({ headers: {}, body }, () => Ordered))).toEqual([
    'Ordered',
    'Elsewhere',
    2,
  ])
})

describe('a registry', () => {
  it('finds a class by its aliases, and lists types only', () => {
    const registry = new EventRegistry()
    registry.register(Ordered)

    expect([registry.get('order.placed'), registry.has('OrderPlaced')]).toEqual([Ordered, true])
    expect(registry.list()).toEqual(['Ordered'])
    expect(registry.aggregateAliasesOf('Purchase')).toEqual(['Order'])
  })

  it.each([
    ['first', [Placed, Ordered]],
    ['second', [Ordered, Placed]],
  ])('refuses a class whose type is an alias of another, registered %s', (_which, classes) => {
    const registry = new EventRegistry()
    const register = () => classes.map((eventClass) => registry.register(eventClass))

    expect(register).toThrow(/Event type "OrderPlaced" belongs to the class/)
  })
})

describe('handlers', () => {
  const handlers = () => new HandlerRegistry(new EventRegistry())

  it('are found by alias until their subscription ends', () => {
    const registry = handlers()
    const subscription = registry.subscribe(Ordered, () => undefined)

    for (const name of ['Ordered', 'OrderPlaced', 'order.placed']) {
      expect([registry.handlersFor(name).length, registry.classFor(name)]).toEqual([1, Ordered])
    }
    expect(registry.subscribedClasses()).toEqual([Ordered])
    subscription.unsubscribe()
    expect([registry.handlersFor('OrderPlaced'), registry.classFor('OrderPlaced')]).toEqual([[], undefined])
  })

  it('of two classes with one name are refused', () => {
    const registry = handlers()
    registry.subscribe(Ordered, () => undefined)

    expect(() => registry.subscribe(Placed, () => undefined)).toThrow(/belongs to the class/)
  })
})

it('has a routing key for each of its names', () => {
  expect(routingKeysOf(Ordered)).toEqual([
    ...['Purchase.Ordered', 'Purchase.OrderPlaced', 'Purchase.order.placed'],
    ...['Order.Ordered', 'Order.OrderPlaced', 'Order.order.placed'],
  ])
  expect(routingKeysOf({ eventType: 'E', aggregateType: 'A' })).toEqual(['A.E'])
})

it.each([
  [{ typeAliases: 'OrderPlaced' }, /typeAliases of E must be an array of non-empty strings/],
  [{ typeAliases: [''] }, /typeAliases of E must be an array of non-empty strings/],
  [{ typeAliases: ['E'] }, /typeAliases of E must not contain its type itself/],
  [{ aggregateTypeAliases: ['A'] }, /aggregateTypeAliases of E must not contain its aggregateType itself/],
])('a definition with %o is refused', (wrong, message) => {
  // The compiler refuses some of these.
  const definition = { type: 'E', aggregateType: 'A', ...wrong } as never

  expect(() => defineEvent<{ n: number }>()(definition)).toThrow(message)
})
