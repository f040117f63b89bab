// The events of every benchmark: 370 bytes of JSON with id, type, aggregate, time and a small payload.
import { defineEvent } from 'eventspine'
import { z } from 'zod'

export const orderSchema = z.object({ customerId: z.string(), total: z.number() })

export class OrderCreated extends defineEvent({
  type: 'OrderCreated',
  aggregateType: 'Order',
  schema: orderSchema,
}) {}

/** The same event for a consumer that does not validate it. */
export class UncheckedOrder extends defineEvent<z.output<typeof orderSchema>>()({
  type: 'OrderCreated',
  aggregateType: 'Order',
}) {}

/** The fields of an event that handlers of both sides read. */
export interface Order {
  /** Number of the event within its workload, from 0; shows which events have arrived. */
  readonly total: number
}

export const AGGREGATES = 100

/** `total` is counted from `first`; the events cycle through the aggregates. */
export function orderEvents(count: number, aggregates = AGGREGATES, first = 0): readonly OrderCreated[] {
  return Array.from({ length: count }, (_, index) => {
    const total = first + index
    return new OrderCreated({ aggregateId: `Order-${total % aggregates}`, customerId: 'c-1', total })
  })
}
