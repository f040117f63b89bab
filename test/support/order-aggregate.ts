import { AggregateRoot, type Decider, defineEvent, draft, evolution } from '../../src/index.ts'
import { OrderCancelled, OrderCreated, OrderShipped } from './order-events.ts'

class OrderViewed extends defineEvent<object>()({ type: 'OrderViewed', aggregateType: 'Order' }) {}

export interface OrderState {
  readonly status: 'new' | 'placed' | 'shipped' | 'cancelled'
  readonly customerId: string
  readonly trail: readonly string[]
}

const initialState: OrderState = { status: 'new', customerId: '', trail: [] }

const evolve = evolution<OrderState>()
  .on(OrderCreated, (state, { customerId }) => ({ ...state, status: 'placed', customerId }))
  .on(OrderShipped, ({ trail, ...state }, { trackingNumber }) => ({
    ...state,
    status: 'shipped',
    trail: [...trail, trackingNumber],
  }))
  .on(OrderCancelled, (state) => ({ ...state, status: 'cancelled' }))
  .ignore(OrderViewed)

/** The order as a class. It can be shipped repeatedly, so that tests can build long histories. */
export class Order extends AggregateRoot<OrderState> {
  protected readonly initialState = initialState
  protected readonly evolve = evolve

  create(customerId: string): void {
    if (this.version > 0) throw new Error('the order exists')
    this.raise(OrderCreated, { customerId })
  }

  ship(trackingNumber: string): void {
    if (this.state.status === 'cancelled') throw new Error('nothing to ship')
    this.raise(OrderShipped, { trackingNumber })
  }

  cancel(reason: string): void {
    this.raise(OrderCancelled, { reason })
  }

  view(): void {
    this.raise(OrderViewed)
  }
}

export type OrderCommand =
  | { readonly kind: 'create'; readonly customerId: string }
  | { readonly kind: 'ship'; readonly trackingNumbers: readonly string[] }

/** The order as a decider. */
export const orderDecider: Decider<OrderCommand, OrderState> = {
  initialState,
  evolve,
  decide(command, state) {
    if (command.kind === 'create') {
      if (state.status !== 'new') throw new Error('the order exists')
      return [draft(OrderCreated, { customerId: command.customerId })]
    }
    return command.trackingNumbers.map((trackingNumber) => draft(OrderShipped, { trackingNumber }))
  },
}
