// Two workers, each a consumer group: one takes payments, the other sends mails.
import {
  type AggregateRepository,
  type EventBus,
  idempotencyKeyOf,
  NonRetryableError,
  type SubscribeOptions,
} from 'eventspine'
import { type Order, OrderPaid, OrderPlaced, PaymentFailed } from './order.ts'

/** A provider of payments: it is unavailable at every third call, and refuses amounts above 1,000. */
class PaymentProvider {
  #calls = 0

  async charge(total: number, idempotencyKey: string): Promise<string> {
    this.#calls += 1
    if (this.#calls % 3 === 0) throw new Error('the payment provider is unavailable')
    if (total > 1000) throw new NonRetryableError('the limit of the card is 1,000')
    return `receipt-${idempotencyKey.slice(-8)}`
  }
}

/** In memory, a bus has no retries of its own, so the handlers have them. */
const RETRIES: SubscribeOptions = { maxRetries: 5, retryBaseDelayMs: 50 }

export function subscribePayments(bus: EventBus, orders: AggregateRepository<Order>): void {
  const provider = new PaymentProvider()
  bus.subscribe(
    OrderPlaced,
    async (event) => {
      try {
        const receipt = await provider.charge(event.total, idempotencyKeyOf('payment', event))
        await orders.retryOnConflict(event.aggregateId, (order) => order.pay(receipt))
      } catch (error) {
        if (!(error instanceof NonRetryableError)) throw error // the bus tries again
        await orders.retryOnConflict(event.aggregateId, (order) => order.refuse(error.message))
      }
    },
    { ...RETRIES, name: 'payment' },
  )
}

export function subscribeMails(bus: EventBus): void {
  bus.subscribe(OrderPaid, ({ aggregateId }) => console.log(`mail: ${aggregateId} is paid`), {
    ...RETRIES,
    name: 'mail-paid',
  })
  bus.subscribe(
    PaymentFailed,
    ({ aggregateId, reason }) => console.log(`mail: ${aggregateId} is refused: ${reason}`),
    { ...RETRIES, name: 'mail-refused' },
  )
}
