// The events that every bench moves: 370 bytes of JSON, with id, type, aggregate, time and a small payload.
import { defineEvent } from 'eventspine'
import { z } from 'zod'

export const orderSchema = z.object({ customerId: z.string(), total: z.number() })

export class OrderCreated extends defineEvent({
  type: 'OrderCreated',
  aggregateType: 'Order',
  schema: orderSchema,
}) {}

/** The same event for a consumer that does not check it. */
export class UncheckedOrder extends defineEvent<z.output<typeof orderSchema>>()({
  type: 'OrderCreated',
  aggregateType: 'Order',
}) {}

/** What a handler sees of an event, whoever brings it. */
export interface Order {
  /** Counts the events of a work from 0, so that it is known which have arrived. */
  readonly total: number
}

export const AGGREGATES = 100

/** `total` counts from `first`; the aggregates take turns. */
export function orderEvents(count: number, aggregates = AGGREGATES, first = 0): readonly OrderCreated[] {
  return Array.from({ length: count }, (_, index) => {
    const total = first + index
    return new OrderCreated({ aggregateId: `Order-${total % aggregates}`, customerId: 'c-1', total })
  })
}
