import { expect, it } from 'vitest'
import { MemoryBroker, MemoryBrokerEventBus } from '../../../src/testing/index.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { waitFor } from '../../support/wait-for.ts'

it.each(['is stopped', 'crashes'])(
  'does not repeat handlers that had succeeded if the consumer %s between two attempts',
  async (how) => {
    const broker = new MemoryBroker()
    const calls: string[] = []
    const busOf = (name: string, fails: boolean) => {
      const bus = new MemoryBrokerEventBus({
        broker,
        retryBaseDelayMs: 60_000,
        logger: new RecordingLogger(),
      })
      bus.subscribe(OrderCreated, () => calls.push(`${name} steady`), { name: 'steady' })
      const flaky = () => {
        calls.push(`${name} flaky`)
        if (fails) throw new Error('planned')
      }
      bus.subscribe(OrderCreated, flaky, { name: 'flaky' })
      return bus
    }
    await using first = busOf('first', true)
    first.startConsumingInBackground()
    await first.whenConsuming()
    await first.publish([orderCreated('Order-1')])
    await waitFor(() => first.getStats().handlerErrors === 1)

    if (how === 'crashes') first.crash()
    else await first.stopConsuming()
    await using second = busOf('second', false)
    second.startConsumingInBackground()
    await waitFor(() => second.getStats().eventsProcessedSuccess === 1)

    expect(calls).toEqual(['first steady', 'first flaky', 'second flaky'])
  },
)
