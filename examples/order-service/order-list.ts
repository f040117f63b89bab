// A projection: the list of orders, which GET /orders shows. It is rebuilt from the store at each start.
import { type HandlerBinding, handlerFor } from 'eventspine'
import { OrderPaid, OrderPlaced, PaymentFailed } from './order.ts'

export interface ListedOrder {
  readonly id: string
  readonly customer: string
  readonly total: number
  readonly status: 'placed' | 'paid' | 'refused'
}

export class OrderList {
  readonly #orders = new Map<string, ListedOrder>()

  get orders(): readonly ListedOrder[] {
    return [...this.#orders.values()]
  }

  handlers(): readonly HandlerBinding[] {
    return [
      handlerFor(OrderPlaced, ({ aggregateId: id, customer, total }) => {
        this.#orders.set(id, { id, customer, total, status: 'placed' })
      }),
      handlerFor(OrderPaid, ({ aggregateId }) => this.#set(aggregateId, 'paid')),
      handlerFor(PaymentFailed, ({ aggregateId }) => this.#set(aggregateId, 'refused')),
    ]
  }

  #set(id: string, status: ListedOrder['status']): void {
    const order = this.#orders.get(id)
    if (order !== undefined) this.#orders.set(id, { ...order, status })
  }
}
