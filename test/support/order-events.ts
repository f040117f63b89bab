import { z } from 'zod'
import { defineEvent } from '../../src/index.ts'

/** Events of the order example, for most tests. */
export class OrderCreated extends defineEvent({
  type: 'OrderCreated',
  aggregateType: 'Order',
  schema: z.object({ customerId: z.string() }),
}) {}

export class OrderShipped extends defineEvent({
  type: 'OrderShipped',
  aggregateType: 'Order',
  schema: z.object({ trackingNumber: z.string() }),
}) {}

export class OrderCancelled extends defineEvent<{ readonly reason: string }>()({
  type: 'OrderCancelled',
  aggregateType: 'Order',
}) {}

export const orderCreated = (aggregateId = 'Order-1') => new OrderCreated({ aggregateId, customerId: 'c-1' })
export const orderShipped = (aggregateId = 'Order-1') =>
  new OrderShipped({ aggregateId, trackingNumber: 'TRACK-1' })
export const orderCancelled = (aggregateId = 'Order-1') =>
  new OrderCancelled({ aggregateId, reason: 'changed my mind' })
