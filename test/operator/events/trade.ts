import type { BrowsedEvent, EventBus } from '../../../src/index.ts'
import { createOperatorHandler, type OperatorOptions } from '../../../src/operator/index.ts'
import { MemoryBroker, MemoryBrokerEventBus } from '../../../src/testing/index.ts'
import {
  OrderCancelled,
  OrderCreated,
  OrderShipped,
  orderCancelled,
  orderCreated,
  orderShipped,
} from '../../support/order-events.ts'
import { waitFor } from '../../support/wait-for.ts'
import { silentLogger } from '../silent-logger.ts'
import { authorizeByHeader, visitor } from '../visitor.ts'

/**
 * Three services on two buses: billing ships what was ordered, on the bus of deliveries; there, tracking cancels what it cannot
 * deliver; mails fails for every event of Order-13.
 */
export async function trade(options: Partial<OperatorOptions> = {}) {
  const [orders, deliveries] = [new MemoryBroker(), new MemoryBroker()]
  const open = (broker: MemoryBroker, consumerGroup: string) =>
    new MemoryBrokerEventBus({
      broker,
      consumerGroup,
      logger: silentLogger,
      maxRetries: 0,
      presenceIntervalMs: 500,
    })
  const billing = open(orders, 'billing')
  const mails = open(orders, 'mails')
  const tracking = open(deliveries, 'tracking')
  billing.subscribe(OrderCreated, ({ aggregateId }) => tracking.publish([orderShipped(aggregateId)]), {
    name: 'ship',
  })
  mails.subscribe(
    OrderCreated,
    ({ aggregateId }) => {
      if (aggregateId === 'Order-13') throw new TypeError('no <address> of c-1')
    },
    { name: 'welcome' },
  )
  tracking.subscribe(OrderShipped, ({ aggregateId }) => tracking.publish([orderCancelled(aggregateId)]), {
    name: 'track',
  })
  tracking.subscribe(OrderCancelled, () => undefined, { name: 'note' })
  for (const bus of [billing, mails, tracking]) {
    bus.startConsumingInBackground()
    await bus.whenConsuming()
  }
  const handler = createOperatorHandler({
    buses: { orders: mails, deliveries: tracking },
    authorize: authorizeByHeader,
    logger: silentLogger,
    mask: { keys: ['customerId'] },
    ...options,
  })
  const close = async () => {
    await handler.close()
    for (const bus of [billing, mails, tracking]) await bus.shutdown({ timeoutMs: 1000 })
  }
  return {
    ...{ handler, billing, mails, tracking },
    /** Publishes orders, and waits for all that they cause. */
    order: async (ids: readonly string[]) => {
      const events = ids.map(orderCreated)
      await billing.publish(events)
      await waitFor(async () => {
        const groups = [...(await mails.admin.groups()), ...(await tracking.admin.groups())]
        const published = await eventsOf(tracking)
        const isQuiet = groups.every(({ lag, inFlight }) => lag === 0 && inFlight === 0)
        return isQuiet && published.length >= 2 * ids.length
      })
      return events
    },
    as: (roles: string) => visitor(handler, 'anna', roles),
    [Symbol.asyncDispose]: close,
  }
}

export async function eventsOf({ admin }: EventBus): Promise<readonly BrowsedEvent[]> {
  const found: BrowsedEvent[] = []
  for await (const event of admin.browse({ limit: 10_000 })) found.push(event)
  return found
}
