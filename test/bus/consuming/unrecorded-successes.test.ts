import { expect, it, onTestFinished } from 'vitest'
import { UnrecordedSuccesses } from '../../../src/bus/consuming/unrecorded-successes.ts'
import { HandlerRegistry } from '../../../src/handling/handler-registry.ts'
import { type Delivery, type DomainEvent, EventRegistry, type Intake } from '../../../src/index.ts'
import { MemoryBroker } from '../../../src/testing/index.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { waitFor } from '../../support/wait-for.ts'
import { delivering, FaultyBus, pretendingDelivery, type Sabotage } from '../../testing/faulty-buses.ts'

/** Gives each delivery to the bus a second time, if the bus cannot settle or record the first. */
const redelivering =
  (first: (again: () => false, whole: Delivery) => Partial<Delivery>, second: (whole: Delivery) => object) =>
  (intake: Intake) =>
    delivering(intake, (whole) => {
      const again = () => {
        const deliveryCount = whole.deliveryCount + 1
        intake.deliver(pretendingDelivery(whole, { deliveryCount, settledHandlers: [], ...second(whole) }))
        return false as const
      }
      intake.deliver(pretendingDelivery(whole, first(again, whole)))
    })

/** A bus whose handler `audit` succeeds, and whose handler `invoice` fails as often as given. */
async function busWith(change: (intake: Intake) => Intake, failures: number) {
  const sabotage: Sabotage = (whole) => ({ consume: (intake) => whole.consume(change(intake)) })
  const options = { maxRetries: 1, retryBaseDelayMs: 1, logger: new RecordingLogger() }
  const bus = new FaultyBus(options, new MemoryBroker(), sabotage)
  onTestFinished(() => bus.shutdown())
  const runs: string[] = []
  bus.subscribe(OrderCreated, () => void runs.push('audit'), { name: 'audit' })
  bus.subscribe(
    OrderCreated,
    () => {
      runs.push('invoice')
      if (runs.filter((name) => name === 'invoice').length <= failures) throw new Error('planned')
    },
    { name: 'invoice' },
  )
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  await bus.publish([orderCreated()])
  return { bus, runs }
}

const attemptFails = (again: () => false) => ({ attemptFailed: async () => again() })

it('runs only the failed handler if the message comes back after its successes could not be recorded', async () => {
  const recorded: (readonly string[])[] = []
  const noting = (whole: Delivery) => ({
    beginAttempt: (attempt: number, settled: readonly string[]) => {
      recorded.push(settled)
      return whole.beginAttempt(attempt, settled)
    },
  })
  const { bus, runs } = await busWith(redelivering(attemptFails, noting), 1)

  await waitFor(() => bus.getStats().eventsProcessedSuccess === 1)

  expect(runs).toEqual(['audit', 'invoice', 'invoice'])
  expect(recorded).toEqual([['audit']])
})

it('names the handlers whose success was not recorded in the dead letter', async () => {
  const { bus, runs } = await busWith(
    redelivering(attemptFails, () => ({})),
    10,
  )

  await waitFor(async () => (await bus.deadLetters.count()) === 1)

  const [letter] = (await bus.deadLetters.list()).deadLetters
  expect([letter?.handlerNames, letter?.settledHandlers]).toEqual([['invoice'], ['audit']])
  await bus.deadLetters.replay(letter?.id ?? '', { handlers: ['audit', 'invoice'] })
  await waitFor(() => runs.filter((name) => name === 'audit').length === 2)
})

it('repeats no successful handler if the dead letter could not be stored', async () => {
  const refusing = (again: () => false) => ({ deadLetter: async () => again() })
  const { bus, runs } = await busWith(
    redelivering(refusing, () => ({})),
    2,
  )

  await waitFor(() => bus.getStats().eventsProcessedSuccess === 1)

  expect(runs).toEqual(['audit', 'invoice', 'invoice', 'invoice'])
})

it.each([
  ['counts as a first delivery', () => ({ deliveryCount: 1 })],
  ['is another message with the same event', () => ({ identity: 'another' })],
])('runs all handlers if the next delivery %s', async (_what, second) => {
  const { bus, runs } = await busWith(redelivering(attemptFails, second), 1)

  await waitFor(() => bus.getStats().eventsProcessedSuccess === 1)

  expect(runs).toEqual(['audit', 'invoice', 'audit', 'invoice'])
})

const registry = new HandlerRegistry(new EventRegistry(), { needsNames: false })
registry.subscribe(OrderCreated, () => undefined)
const handlers = registry.handlersFor('OrderCreated')

/** The part of a delivery that the class reads. */
const deliveryOf = ({ eventId }: DomainEvent) =>
  ({ message: { id: eventId }, deliveryCount: 2 }) as unknown as Delivery

it('forgets a message when it is settled', () => {
  const successes = new UnrecordedSuccesses()
  const event = orderCreated()
  successes.add(deliveryOf(event), event, handlers)
  expect(successes.of(deliveryOf(event), event)).toEqual(handlers)

  successes.forget(deliveryOf(event), event)

  expect(successes.of(deliveryOf(event), event)).toEqual([])
})

it('remembers at most 10,000 messages, the latest', () => {
  const successes = new UnrecordedSuccesses()
  const events = Array.from({ length: 10_001 }, () => orderCreated())
  for (const event of events) successes.add(deliveryOf(event), event, handlers)

  const known = events.filter((event) => successes.of(deliveryOf(event), event).length > 0)

  expect(known).toEqual(events.slice(1))
})
