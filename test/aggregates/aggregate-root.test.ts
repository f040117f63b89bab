import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import {
  AggregateRoot,
  DecidedAggregate,
  decided,
  draft,
  EventStreamMismatchError,
  EventValidationError,
  EventVersionError,
  evolution,
  UnhandledEventError,
} from '../../src/index.ts'
import { Order, orderDecider } from '../support/order-aggregate.ts'
import {
  OrderCancelled,
  OrderCreated,
  OrderShipped,
  orderCreated,
  orderShipped,
} from '../support/order-events.ts'

it('gives raised events its id, type and next version, and applies them to the state', () => {
  const order = new Order('Order-7')
  order.create('c-1')
  order.ship('TRACK-1')

  expect(order.version).toBe(2)
  expect(order.state).toEqual({ status: 'shipped', customerId: 'c-1', trail: ['TRACK-1'] })
  expect(order.uncommittedEvents).toMatchObject([
    { eventType: 'OrderCreated', aggregateId: 'Order-7', aggregateType: 'Order', aggregateVersion: 1 },
    { eventType: 'OrderShipped', aggregateId: 'Order-7', aggregateVersion: 2, trackingNumber: 'TRACK-1' },
  ])
  expect(order.uncommittedEvents[0]).toBeInstanceOf(OrderCreated)
})

it('is new before its first event', () => {
  const order = new Order('Order-7')

  expect(order).toMatchObject({ id: 'Order-7', version: 0, uncommittedEvents: [] })
  expect(order.state.status).toBe('new')
})

it('lets a command set envelope fields of an event', () => {
  class Tenanted extends Order {
    createFor(tenantId: string): void {
      this.raise(OrderCreated, { customerId: 'c-1', tenantId, metadata: { via: 'web' } })
    }
  }
  const order = new Tenanted('Order-7')
  order.createFor('acme')

  expect(order.uncommittedEvents).toMatchObject([{ tenantId: 'acme', metadata: { via: 'web' } }])
})

it('replays its history', () => {
  const order = new Order('Order-1')
  order.loadFromHistory([orderCreated(), orderShipped().withAggregateVersion(2)])

  expect(order).toMatchObject({ version: 2, uncommittedEvents: [] })
  expect(order.state.status).toBe('shipped')
})

it('refuses a history with a gap, a repetition, or of another aggregate', () => {
  const order = new Order('Order-1')
  order.loadFromHistory([orderCreated()])

  expect(() => order.loadFromHistory([orderShipped().withAggregateVersion(3)])).toThrow(EventVersionError)
  expect(() => order.loadFromHistory([orderShipped()])).toThrow(
    /OrderShipped .* of Order-1 has version 1, expected 2: an event is missing or repeated/,
  )
  expect(() => order.loadFromHistory([orderShipped('Order-2')])).toThrow(EventStreamMismatchError)
  expect(order.version).toBe(1)
})

it('refuses an event that the evolution does not handle, and stays unchanged', () => {
  class Half extends AggregateRoot<number> {
    protected readonly initialState = 0
    protected readonly evolve = evolution<number>().on(OrderCreated, (count) => count + 1)
    run(): void {
      this.raise(OrderCreated, { customerId: 'c-1' })
      this.raise(OrderCancelled, { reason: 'none' })
    }
  }
  const half = new Half('Order-1')

  expect(() => half.run()).toThrow(UnhandledEventError)
  expect(() => half.loadFromHistory([orderShipped().withAggregateVersion(2)])).toThrow(
    'The evolution does not handle OrderShipped: declare it with on(OrderShipped, ...) or ignore(OrderShipped).',
  )
  expect(half).toMatchObject({ version: 1, state: 1 })
  expect(half.uncommittedEvents).toHaveLength(1)
})

it('stays unchanged if a payload is not valid or not handled', () => {
  const order = new Order('Order-1')
  // As plain JavaScript might.
  expect(() => order.create(JSON.parse('7'))).toThrow(EventValidationError)
  expect(order).toMatchObject({ version: 0, uncommittedEvents: [] })
})

it('counts an ignored event without a change of state', () => {
  const order = new Order('Order-1')
  const before = order.state
  order.view()

  expect(order.version).toBe(1)
  expect(order.state).toBe(before)
})

it('refuses to declare a class twice', () => {
  const once = evolution<number>().on([OrderCreated, OrderShipped], (count) => count + 1)

  expect(() => once.ignore(OrderShipped)).toThrow(new TypeError('OrderShipped is declared twice.'))
  expect(once(1, orderShipped())).toBe(2)
})

it('raises all events of a decision, or none', () => {
  const order = new DecidedAggregate('Order-1', orderDecider)
  order.execute({ kind: 'create', customerId: 'c-1' })
  order.execute({ kind: 'ship', trackingNumbers: ['A', 'B'] })
  expect(order).toMatchObject({ version: 3, state: { status: 'shipped', trail: ['A', 'B'] } })

  expect(() => order.execute({ kind: 'create', customerId: 'c-2' })).toThrow('the order exists')
  const trackingNumbers = ['C', JSON.parse('7')]
  expect(() => order.execute({ kind: 'ship', trackingNumbers })).toThrow(EventValidationError)
  expect(order).toMatchObject({ version: 3, state: { trail: ['A', 'B'] } })
  expect(order.uncommittedEvents).toHaveLength(3)
})

it('lets a decision be tested as a function', () => {
  const state = { status: 'placed', customerId: 'c-1', trail: [] } as const

  expect(orderDecider.decide({ kind: 'ship', trackingNumbers: ['A'] }, state)).toEqual([
    draft(OrderShipped, { trackingNumber: 'A' }),
  ])
})

describe('an initial state', () => {
  interface Cart {
    readonly lines: string[]
  }
  const emptyCart: Cart = { lines: [] }
  const addInPlace = evolution<Cart>().on(OrderCreated, (state, { customerId }) => {
    state.lines.push(customerId)
    return state
  })
  const decide = (customerId: string) => [draft(OrderCreated, { customerId })]

  it('of plain data is frozen, so that no aggregate changes it for the others', () => {
    const create = decided({ initialState: emptyCart, evolve: addInPlace, decide })

    expect(() => create('Order-1').execute('c-1')).toThrow(TypeError)
    expect(create('Order-2').state).toEqual({ lines: [] })
    expect(Object.isFrozen(emptyCart.lines)).toBe(true)
  })

  it('of a class is frozen, too', () => {
    class CartAggregate extends AggregateRoot<Cart> {
      protected readonly initialState = emptyCart
      protected readonly evolve = addInPlace

      add(customerId: string): void {
        this.raise(OrderCreated, { customerId })
      }
    }

    expect(() => new CartAggregate('Order-1').add('c-1')).toThrow(TypeError)
    expect(new CartAggregate('Order-2').state.lines).toEqual([])
  })

  it('made by a function belongs to one aggregate, which may change it in place', () => {
    const create = decided({ initialState: (): Cart => ({ lines: [] }), evolve: addInPlace, decide })
    const first = create('Order-1')
    first.execute('c-1')
    first.execute('c-2')

    expect(first.state.lines).toEqual(['c-1', 'c-2'])
    expect(create('Order-2').state.lines).toEqual([])
  })

  it('with a map that two aggregates share is refused', () => {
    const initialState = { seen: new Map<string, number>() }
    const create = decided({
      initialState,
      evolve: evolution<typeof initialState>().on(OrderCreated, (state, { customerId }) => {
        state.seen.set(customerId, 1)
        return state
      }),
      decide,
    })
    create('Order-1').execute('c-1')

    expect(() => create('Order-2').state).toThrow(/initialState\.seen.*function/)
  })

  it('of another realm is frozen, too', () => {
    const initialState = runInNewContext('({ lines: [] })') as Cart
    const create = decided({ initialState, evolve: addInPlace, decide })

    expect(() => create('Order-1').execute('c-1')).toThrow('not extensible')
    expect(create('Order-2').state.lines).toEqual([])
  })

  it('with an instance of a class that two aggregates share is refused, unless the instance is frozen', () => {
    class Lines {
      readonly all: string[] = []
    }
    const evolve = evolution<{ lines: Lines }>()
    const lines = new Lines()
    const create = decided({ initialState: { lines }, evolve, decide })
    const ofFrozen = decided({ initialState: { lines: Object.freeze(new Lines()) }, evolve, decide })

    expect(create('Order-1').state.lines).toBe(lines)
    expect(() => create('Order-2').state).toThrow(/initialState\.lines.*function/)
    expect([ofFrozen('a'), ofFrozen('b')].map(({ state }) => Object.isFrozen(state.lines.all))).toEqual([
      true,
      true,
    ])
  })

  it('that a function returns to two aggregates is refused', () => {
    const create = decided({ initialState: () => ({ ...emptyCart }), evolve: addInPlace, decide })
    const returned: Cart = { lines: [] }
    const sharing = decided({ initialState: (): Cart => returned, evolve: addInPlace, decide })

    expect(create('a').state).toEqual(create('b').state)
    expect(sharing('a').state).toBe(returned)
    expect(() => sharing('b').state).toThrow(/function/)
  })

  it('with a map of its own in each aggregate is accepted', () => {
    class Seen extends AggregateRoot<{ readonly seen: Set<string> }> {
      protected readonly initialState = { seen: new Set<string>() }
      protected readonly evolve = evolution<{ readonly seen: Set<string> }>()
    }

    expect(new Seen('a').state.seen).not.toBe(new Seen('b').state.seen)
  })

  it('that refers to itself is frozen', () => {
    const initialState: { self?: object } = {}
    initialState.self = initialState
    const aggregate = decided({ initialState, evolve: evolution<typeof initialState>(), decide })('a')

    expect(Object.isFrozen(aggregate.state)).toBe(true)
  })
})
