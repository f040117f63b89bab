import { expect, it, onTestFinished } from 'vitest'
import { MemoryBroker } from '../../../src/testing/index.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { waitFor } from '../../support/wait-for.ts'
import { delivering, FaultyBus, pretendingDelivery, type Sabotage } from '../../testing/faulty-buses.ts'

it('counts no dead letter for a message that another consumer took before it was stored', async () => {
  const sabotage: Sabotage = (whole) => ({
    consume: (intake) =>
      whole.consume(
        delivering(intake, (delivery) =>
          intake.deliver(pretendingDelivery(delivery, { deadLetter: () => Promise.resolve(false) })),
        ),
      ),
  })
  const logger = new RecordingLogger()
  const bus = new FaultyBus({ maxRetries: 0, logger }, new MemoryBroker(), sabotage)
  onTestFinished(() => bus.shutdown())
  let failures = 0
  bus.subscribe(OrderCreated, () => {
    failures += 1
    throw new Error('planned')
  })
  bus.startConsumingInBackground()
  await bus.whenConsuming()

  await bus.publish([orderCreated()])
  await waitFor(() => failures === 1 && bus.getStats().inFlight === 0)

  expect(bus.getStats()).toMatchObject({
    eventsConsumed: 0,
    messagesSentToDlq: 0,
    eventsProcessedFailed: 0,
  })
  expect(logger.lines.some(({ message }) => message === 'event dead-lettered')).toBe(false)
})
