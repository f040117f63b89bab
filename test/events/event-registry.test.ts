import { describe, expect, it } from 'vitest'
import {
  DuplicateEventTypeError,
  defaultRegistry,
  defineEvent,
  EventRegistry,
  EventTypeNotFoundError,
  registerEvent,
} from '../../src/index.ts'
import { OrderCreated, OrderShipped } from '../support/order-events.ts'

describe('EventRegistry', () => {
  it('finds a class under its event type', () => {
    const registry = new EventRegistry()

    const returned = registry.register(OrderCreated)

    expect(returned).toBe(OrderCreated)
    expect(registry.get('OrderCreated')).toBe(OrderCreated)
    expect(registry.getOrUndefined('OrderCreated')).toBe(OrderCreated)
    expect(registry.has('OrderCreated')).toBe(true)
  })

  it('lists its types in alphabetical order', () => {
    const registry = new EventRegistry()

    registry.register(OrderShipped)
    registry.register(OrderCreated)

    expect(registry.list()).toEqual(['OrderCreated', 'OrderShipped'])
  })

  it('accepts the same class twice', () => {
    const registry = new EventRegistry()

    registry.register(OrderCreated)
    registry.register(OrderCreated)

    expect(registry.list()).toEqual(['OrderCreated'])
  })

  it('refuses another class of the same type and names both', () => {
    class Impostor extends defineEvent<{ a: 1 }>()({ type: 'OrderCreated', aggregateType: 'Order' }) {}
    const registry = new EventRegistry()
    registry.register(OrderCreated)

    const register = () => registry.register(Impostor)

    expect(register).toThrow(DuplicateEventTypeError)
    expect(register).toThrow(/"OrderCreated" belongs to the class OrderCreated .* registered for Impostor/)
  })

  it('reports the known types for an unknown one', () => {
    const registry = new EventRegistry()
    registry.register(OrderCreated)

    expect(() => registry.get('Nope')).toThrow(EventTypeNotFoundError)
    expect(() => registry.get('Nope')).toThrow(
      'Event type "Nope" is not registered (registered: OrderCreated). Register its class with registerEvent.',
    )
    expect(() => new EventRegistry().get('Nope')).toThrow('is not registered (registered: none).')
    expect(registry.getOrUndefined('Nope')).toBeUndefined()
    expect(registry.has('Nope')).toBe(false)
  })

  it('refuses a value that is not an event class', () => {
    const register = (value: unknown) => () => new EventRegistry().register(value as typeof OrderCreated)

    expect(register(class NotAnEvent {})).toThrow(
      'An event class created with defineEvent is required, got the function NotAnEvent.',
    )
    expect(register(undefined)).toThrow(TypeError)
  })
})

describe('registerEvent', () => {
  class Registered extends defineEvent<{ a: 1 }>()({ type: 'registry.test', aggregateType: 'Test' }) {}

  it('adds a class to the default registry and returns it', () => {
    const returned = registerEvent(Registered)

    expect(returned).toBe(Registered)
    expect(defaultRegistry.get('registry.test')).toBe(Registered)
  })

  it('does the same when it is called as a class decorator', () => {
    class Decorated extends defineEvent<{ a: 1 }>()({ type: 'registry.decorated', aggregateType: 'Test' }) {}
    // The context that a compiler passes for `@registerEvent class Decorated ...`; Node.js itself has no decorators yet.
    const context: ClassDecoratorContext = {
      kind: 'class',
      name: 'Decorated',
      metadata: {},
      addInitializer: () => undefined,
    }

    const returned = registerEvent(Decorated, context)

    expect(returned).toBe(Decorated)
    expect(defaultRegistry.get('registry.decorated')).toBe(Decorated)
  })

  it('is a no-op the second time', () => {
    registerEvent(Registered)

    expect(registerEvent(Registered)).toBe(Registered)
  })
})
