import { describe, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import {
  AggregateRepository,
  AggregateRoot,
  type DecidedAggregate,
  type Decider,
  decided,
  defineEvent,
  draft,
  evolution,
  InMemoryEventStore,
} from '../../src/index.ts'
import { Order, type OrderCommand, type OrderState, orderDecider } from '../support/order-aggregate.ts'
import { OrderCreated, OrderShipped } from '../support/order-events.ts'

const Paid = defineEvent({
  type: 'Paid',
  aggregateType: 'Order',
  schema: z.union([
    z.object({ card: z.string() }),
    z.object({ iban: z.string(), bic: z.string().optional() }),
  ]),
})

class Closed extends defineEvent({ type: 'Closed', aggregateType: 'Order', schema: z.object({}) }) {}

describe('raise', () => {
  class Sample extends AggregateRoot<number> {
    protected readonly initialState = 0
    protected readonly evolve = evolution<number>().ignore(OrderCreated, OrderShipped, Paid, Closed)

    run(): void {
      this.raise(OrderCreated, { customerId: 'c-1' })
      this.raise(OrderCreated, { customerId: 'c-1', tenantId: 'acme' })
      this.raise(Closed)
      this.raise(Closed, { actorId: 'someone' })
      this.raise(Paid, { card: '1' })
      this.raise(Paid, { iban: '1' })
      // @ts-expect-error the payload is needed
      this.raise(OrderCreated)
      // @ts-expect-error customerId is a string
      this.raise(OrderCreated, { customerId: 7 })
      // @ts-expect-error trackingNumber belongs to OrderShipped
      this.raise(OrderCreated, { customerId: 'c-1', trackingNumber: 'T' })
      // @ts-expect-error the aggregate gives the id itself
      this.raise(OrderCreated, { customerId: 'c-1', aggregateId: 'x' })
      // @ts-expect-error the aggregate gives the version itself
      this.raise(Closed, { aggregateVersion: 3 })
      // @ts-expect-error neither card nor iban
      this.raise(Paid, { bic: '1' })
      // @ts-expect-error not an event class
      this.raise(Date, {})
    }
  }

  it('is for commands only', () => {
    // @ts-expect-error raise is protected
    new Sample('a').raise(Closed)
  })
})

describe('evolution', () => {
  it('infers state and event', () => {
    evolution<OrderState>()
      .on(OrderCreated, (state, event) => {
        expectTypeOf(state).toEqualTypeOf<OrderState>()
        expectTypeOf(event.customerId).toEqualTypeOf<string>()
        return state
      })
      .on([OrderShipped, Closed], (state, event) => {
        expectTypeOf(event).toExtend<OrderShipped | Closed>()
        return state
      })
  })

  it('refuses a step that reads a missing field, or returns no state', () => {
    // @ts-expect-error trackingNumber belongs to OrderShipped
    evolution<string>().on(OrderCreated, (_state, { trackingNumber }) => trackingNumber)
    // @ts-expect-error a number is no state here
    evolution<string>().on(OrderCreated, () => 7)
  })
})

describe('decide', () => {
  it('drafts events with the input of their class', () => {
    draft(OrderCreated, { customerId: 'c-1' })
    draft(Closed)
    // @ts-expect-error the payload is needed
    draft(OrderCreated)
    // @ts-expect-error a misspelt field
    draft(OrderCreated, { customer: 'c-1' })
  })
})

describe('AggregateRepository', () => {
  const eventStore = new InMemoryEventStore()

  it('infers the aggregate from its factory', () => {
    const byClass = new AggregateRepository({ eventStore, aggregateFactory: Order, aggregateType: 'Order' })
    expectTypeOf(byClass.load('x')).resolves.toEqualTypeOf<Order>()
    const aggregateFactory = (id: string) => new Order(id)
    const byFunction = new AggregateRepository({ eventStore, aggregateFactory, aggregateType: 'Order' })
    expectTypeOf(byFunction.createNew('x')).toEqualTypeOf<Order>()
    expectTypeOf(byFunction.createNew('x').state).toEqualTypeOf<OrderState>()
  })

  it('infers commands and state of functions', () => {
    const aggregateFactory = decided(orderDecider)
    const orders = new AggregateRepository({ eventStore, aggregateFactory, aggregateType: 'Order' })

    expectTypeOf(orders.createNew('x')).toEqualTypeOf<DecidedAggregate<OrderCommand, OrderState>>()
    // @ts-expect-error no such command
    void orders.retryOnConflict('x', (order) => order.execute({ kind: 'paint' }))
  })

  it('refuses a value that is not an aggregate', () => {
    // @ts-expect-error a Date is no aggregate
    new AggregateRepository({ eventStore, aggregateFactory: () => new Date(), aggregateType: 'Order' })
  })
})

describe('an initial state', () => {
  interface Cart {
    readonly lines: readonly string[]
  }
  const evolve = evolution<Cart>()

  it('may be a function in a class and in a decider', () => {
    class Sample extends AggregateRoot<Cart> {
      protected readonly initialState = (): Cart => ({ lines: [] })
      protected readonly evolve = evolve
    }
    expectTypeOf(new Sample('a').state).toEqualTypeOf<Cart>()

    const decide = (_command: string, _state: Cart) => []
    const create = decided({ initialState: (): Cart => ({ lines: [] }), evolve, decide })
    expectTypeOf(create('a').state).toEqualTypeOf<Cart>()
    const counter: Decider<string, number, () => number> = {
      initialState: () => 0,
      evolve: evolution<number>(),
      decide: () => [],
    }
    expectTypeOf(decided(counter)('a').state).toEqualTypeOf<number>()
    // @ts-expect-error the function returns another state
    decided<string, Cart>({ initialState: () => ({ lines: 1 }), evolve, decide })
  })
})
