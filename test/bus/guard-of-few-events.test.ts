import { expect, it, onTestFinished } from 'vitest'
import { MemoryBroker } from '../../src/testing/index.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { waitFor } from '../support/wait-for.ts'
import { FaultyBus } from '../testing/faulty-buses.ts'

it('pauses a handler although its transport delivers fewer events than the guard waits for', async () => {
  const options = { maxRetries: 100, retryBaseDelayMs: 1, retryMaxDelayMs: 5, logger: new RecordingLogger() }
  const bus = new FaultyBus(options, new MemoryBroker(), () => ({ maxHeld: 3 }))
  onTestFinished(() => bus.shutdown())
  const paused: string[] = []
  bus.onNotice((notice) => {
    if (notice.type === 'handlerPaused') paused.push(notice.handlerName)
  })
  const fail = () => {
    throw new Error('the database is down')
  }
  bus.subscribe(OrderCreated, fail, { name: 'guarded', outageGuard: { failures: 10 } })
  bus.startConsumingInBackground()
  await bus.whenConsuming()

  await bus.publish([orderCreated(), orderCreated()])
  await waitFor(() => bus.getStats().eventsRetried > 10)
  expect(paused).toEqual([])
  await bus.publish([orderCreated()])
  await waitFor(() => paused.length === 1)
})
