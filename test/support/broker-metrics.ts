import { expect, it } from 'vitest'
import type { BrokerEventBus, BrokerOptions } from '../../src/index.ts'
import { startMetrics, total } from './metrics.ts'
import { OrderCreated, orderCreated } from './order-events.ts'
import { waitFor } from './wait-for.ts'

export interface MeasuredBroker {
  readonly create: (scope: string, options: BrokerOptions) => BrokerEventBus
  readonly scope: () => string
  /** The lag that the broker reports while a handler holds one of five messages, with a `maxInFlight` of 1. */
  readonly waiting: number
}

/** The metrics that need a real broker. */
export function brokerMetricsTests(system: string, broker: MeasuredBroker): void {
  it('measures publishes, handling and the lag', async () => {
    const read = startMetrics()
    const scope = broker.scope()
    const bus = broker.create(scope, { maxInFlight: 1 })
    const { promise, resolve } = Promise.withResolvers<void>()
    bus.subscribe(OrderCreated, () => promise)
    bus.startConsumingInBackground()
    await bus.whenConsuming()
    await bus.publish(Array.from({ length: 5 }, () => orderCreated()))
    await waitFor(() => bus.getStats().inFlight === 1)

    await waitFor(async () => total((await read()).get('eventspine.consumer.lag')) === broker.waiting, {
      describe: () => 'the lag to be told',
    })
    resolve()
    await waitFor(() => bus.getStats().eventsProcessedSuccess === 5)
    await waitFor(async () => total((await read()).get('eventspine.consumer.lag')) === 0)

    const found = await read()
    for (const name of [
      'messaging.client.sent.messages',
      'eventspine.messages.handled',
      'messaging.process.duration',
    ]) {
      expect(total(found.get(name), { 'messaging.system': system }), name).toBe(5)
    }
    expect(total(found.get('messaging.client.operation.duration'))).toBe(1)
  })
}
