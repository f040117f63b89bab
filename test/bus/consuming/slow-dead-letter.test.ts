import { expect, it, onTestFinished } from 'vitest'
import { MemoryBroker } from '../../../src/testing/index.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { waitFor } from '../../support/wait-for.ts'
import { delivering, FaultyBus, pretendingDelivery, type Sabotage } from '../../testing/faulty-buses.ts'

it('handles other aggregates while a dead letter is stored, and ends it while they are handled', async () => {
  const stored = Promise.withResolvers<void>()
  const sabotage: Sabotage = (whole) => ({
    consume: (intake) =>
      whole.consume(
        delivering(intake, (delivery) => {
          const deadLetter: typeof delivery.deadLetter = async (reason) => {
            await stored.promise
            return delivery.deadLetter(reason)
          }
          intake.deliver(pretendingDelivery(delivery, { deadLetter }))
        }),
      ),
  })
  const bus = new FaultyBus(
    { maxRetries: 0, concurrency: 1, logger: new RecordingLogger() },
    new MemoryBroker(),
    sabotage,
  )
  onTestFinished(() => bus.shutdown())
  const started: string[] = []
  const handled = Promise.withResolvers<void>()
  bus.subscribe(OrderCreated, ({ aggregateId }) => {
    started.push(aggregateId)
    if (aggregateId === 'failing') throw new Error('planned')
    return handled.promise
  })
  bus.startConsumingInBackground()
  await bus.whenConsuming()

  await bus.publish([orderCreated('failing'), orderCreated('slow'), orderCreated('next')])
  await waitFor(() => started.includes('slow'))
  stored.resolve()
  await waitFor(() => bus.getStats().messagesSentToDlq === 1 && bus.getStats().inFlight === 2)
  expect(started).toEqual(['failing', 'slow'])

  handled.resolve()
  await waitFor(() => bus.getStats().eventsProcessedSuccess === 2)
  expect(started).toEqual(['failing', 'slow', 'next'])
})
