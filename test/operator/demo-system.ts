import { MemoryBroker, MemoryBrokerEventBus, waitFor } from '../../src/testing/index.ts'
import { OrderCreated, OrderShipped, orderCreated, orderShipped } from '../support/order-events.ts'
import { silentLogger } from './silent-logger.ts'

/** A system with work for an operator: dead letters, a group that nobody consumes for, and a paused one. */
export async function demoSystem(orders = 12) {
  const broker = new MemoryBroker()
  const open = (consumerGroup: string) =>
    new MemoryBrokerEventBus({
      broker,
      consumerGroup,
      logger: silentLogger,
      maxRetries: 0,
      deadLetterStacks: true,
    })
  const [billing, mails, shipping] = ['billing', 'mails', 'shipping'].map(open)
  if (billing === undefined || mails === undefined || shipping === undefined) throw new Error('no bus')
  let isBroken = true
  const handled: string[] = []
  billing.subscribe(
    OrderCreated,
    (event) => {
      handled.push(`invoice ${event.aggregateId}`)
      if (isBroken && Number(event.aggregateId.slice(6)) % 3 === 0) {
        throw new TypeError(
          `Cannot read properties of undefined (reading 'customer-${event.aggregateId.slice(6)}')`,
        )
      }
    },
    { name: 'invoice' },
  )
  billing.subscribe(OrderCreated, (event) => void handled.push(`audit ${event.aggregateId}`), {
    name: 'audit',
  })
  mails.subscribe(OrderCreated, (event) => void handled.push(`welcome ${event.aggregateId}`), {
    name: 'welcome',
  })
  shipping.subscribe(OrderShipped, () => undefined, { name: 'track' })
  for (const bus of [billing, mails, shipping]) {
    bus.startConsumingInBackground()
    await bus.whenConsuming()
  }
  await shipping.shutdown()
  await billing.publish(Array.from({ length: orders }, (_, index) => orderCreated(`Order-${index}`)))
  await billing.publish(Array.from({ length: 7 }, (_, index) => orderShipped(`Order-${index}`)))
  const failed = Math.ceil(orders / 3)
  await waitFor(async () => (await billing.deadLetters.count()) === failed, {
    describe: () => 'dead letters',
  })
  const bus = open('operator')
  return {
    bus,
    broker,
    billing,
    mails,
    /** `handler aggregate` for each run. */
    handled,
    repair: () => {
      isBroken = false
    },
    close: async () => {
      for (const one of [billing, mails, bus]) await one.shutdown({ timeoutMs: 1000 })
    },
  }
}
