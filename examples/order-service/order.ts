// The events of an order, and the aggregate that decides which of them happen.
import { AggregateRoot, defineEvent, evolution } from 'eventspine'
import { z } from 'zod'

const named = { aggregateType: 'Order' }

export class OrderPlaced extends defineEvent({
  ...named,
  type: 'OrderPlaced',
  schema: z.object({ customer: z.string().min(1), total: z.number().positive() }),
}) {}

export class OrderPaid extends defineEvent({
  ...named,
  type: 'OrderPaid',
  schema: z.object({ receipt: z.string() }),
}) {}

export class PaymentFailed extends defineEvent({
  ...named,
  type: 'PaymentFailed',
  schema: z.object({ reason: z.string() }),
}) {}

interface OrderState {
  readonly status: 'new' | 'placed' | 'paid' | 'refused'
}

export class Order extends AggregateRoot<OrderState> {
  protected readonly initialState: OrderState = { status: 'new' }
  protected readonly evolve = evolution<OrderState>()
    .on(OrderPlaced, () => ({ status: 'placed' }))
    .on(OrderPaid, () => ({ status: 'paid' }))
    .on(PaymentFailed, () => ({ status: 'refused' }))

  place(customer: string, total: number): void {
    if (this.state.status !== 'new') throw new Error('The order is placed already.')
    this.raise(OrderPlaced, { customer, total })
  }

  /** No-op if the outcome of the payment is known, because an event may be handled twice. */
  pay(receipt: string): void {
    if (this.state.status === 'placed') this.raise(OrderPaid, { receipt })
  }

  refuse(reason: string): void {
    if (this.state.status === 'placed') this.raise(PaymentFailed, { reason })
  }
}
