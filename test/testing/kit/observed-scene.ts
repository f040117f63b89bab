import { z } from 'zod'
import { defineEvent, type EventBus } from '../../../src/index.ts'

export class OrderPlaced extends defineEvent({
  type: 'OrderPlaced',
  aggregateType: 'Order',
  schema: z.object({ total: z.number() }),
}) {}

export class InvoiceIssued extends defineEvent({
  type: 'InvoiceIssued',
  aggregateType: 'Invoice',
  schema: z.object({ amount: z.number() }),
}) {}

export const placed = (n = 1) => new OrderPlaced({ aggregateId: `Order-${n}`, total: 42 })

/** Two handlers: one publishes what the other handles. */
export function billing(bus: EventBus): void {
  bus.subscribe(
    OrderPlaced,
    ({ aggregateId, total }) =>
      bus.publish([new InvoiceIssued({ aggregateId: `Invoice-${aggregateId}`, amount: total })]),
    { name: 'invoice' },
  )
  bus.subscribe(InvoiceIssued, () => {}, { name: 'mail' })
}

/** The tests order failures. */
export const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
