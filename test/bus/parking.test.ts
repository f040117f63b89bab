import { expect, it, onTestFinished } from 'vitest'
import { InMemoryEventBus, type SubscribeOptions } from '../../src/index.ts'
import { MemoryBroker, MemoryBrokerEventBus } from '../../src/testing/index.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { waitFor } from '../support/wait-for.ts'
import { FaultyBus } from '../testing/faulty-buses.ts'

const policy = { name: 'parks', maxRetries: 0, onDeadLetter: 'park' } as const satisfies SubscribeOptions

async function consuming(
  broker: MemoryBroker,
  handler: (event: OrderCreated) => void,
  options: SubscribeOptions = policy,
  consumerGroup = 'billing',
) {
  const logger = new RecordingLogger()
  const bus = new MemoryBrokerEventBus({ broker, logger, consumerGroup })
  onTestFinished(() => bus.shutdown())
  bus.subscribe(OrderCreated, handler, options)
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  return { bus, logger }
}

/** A bus whose handler fails for the first event, and the events that it gets. */
async function parked(broker: MemoryBroker, later: number) {
  const events = Array.from({ length: 1 + later }, () => orderCreated())
  const seen: string[] = []
  const { bus, logger } = await consuming(broker, ({ eventId }) => {
    seen.push(eventId)
    if (eventId === events[0]?.eventId) throw new Error('planned')
  })
  await bus.publish(events)
  await waitFor(async () => (await bus.countWaiting()) === later && (await bus.deadLetters.count()) === 1)
  const [letter] = (await bus.deadLetters.list()).deadLetters
  return { bus, logger, seen, ids: events.map(({ eventId }) => eventId), letterId: letter?.id ?? '' }
}

it('logs for which handlers a dead letter holds back later events', async () => {
  const { logger } = await parked(new MemoryBroker(), 1)

  const line = logger.lines.find(({ message }) => message === 'event dead-lettered')
  expect(line).toMatchObject({ level: 'error', fields: { parkedFor: ['parks'] } })
})

it('lets later events follow when the dead letter is replayed to another group', async () => {
  const broker = new MemoryBroker()
  const { bus, seen, ids, letterId } = await parked(broker, 2)
  const others: string[] = []
  await consuming(broker, ({ eventId }) => void others.push(eventId), {}, 'audit')
  await waitFor(() => others.length === 3)

  await bus.deadLetters.replay(letterId, { group: 'audit' })
  await waitFor(() => seen.length === 3 && others.length === 4)

  expect(seen).toEqual(ids)
  expect(others.at(-1)).toBe(ids[0])
})

it('lets later events follow when another handler has handled the replayed dead letter', async () => {
  const second = await parked(new MemoryBroker(), 1)
  const replacing: string[] = []
  second.bus.subscribe(OrderCreated, ({ eventId }) => void replacing.push(eventId), { name: 'replacement' })
  await second.bus.deadLetters.replay(second.letterId, { handlers: ['replacement'] })
  await waitFor(() => second.seen.length === 2)

  expect(replacing).toEqual([second.ids[0]])
  expect(second.seen).toEqual(second.ids)
})

it('finds what is parked under the former name of a handler', async () => {
  const broker = new MemoryBroker()
  const { bus: former, ids, letterId } = await parked(broker, 1)
  await former.shutdown()
  const seen: string[] = []
  const renamed = { ...policy, name: 'renamed', aliases: ['parks'] }
  const { bus } = await consuming(broker, ({ eventId }) => void seen.push(eventId), renamed)
  const later = orderCreated()

  await bus.publish([later])
  await waitFor(async () => (await bus.countWaiting()) === 2)
  expect(seen).toEqual([])
  await bus.deadLetters.replay(letterId)
  await waitFor(() => seen.length === 3)

  expect(seen).toEqual([...ids, later.eventId])
})

it('keeps what is parked for a handler that is gone as dead letters, in order', async () => {
  const broker = new MemoryBroker()
  const { bus: former, ids, letterId } = await parked(broker, 2)
  await former.shutdown()
  const { bus } = await consuming(broker, () => undefined, { name: 'another' })

  await bus.deadLetters.purge(letterId)
  await waitFor(async () => (await bus.deadLetters.count()) === 2)

  const { deadLetters } = await bus.deadLetters.list()
  expect(deadLetters.map(({ eventId, reason }) => [eventId, reason])).toEqual(
    ids.slice(1).map((id) => [id, 'handler_not_found']),
  )
})

it('refuses to park on a bus that cannot, and says what to do', () => {
  const broker = new MemoryBroker()
  const unable = new FaultyBus({}, broker, ({ waiting }) => {
    if (waiting === undefined) return {}
    return { waiting: { ...waiting, parkProblem: 'nothing holds a place: use another bus' } }
  })
  const cases = [
    [new InMemoryEventBus(), 'in memory there is no dead letter behind which events could wait'],
    [new FaultyBus({}, broker, () => ({ waiting: undefined })), 'cannot keep events behind a dead letter'],
    [unable, "onDeadLetter: 'park' is not possible, because nothing holds a place: use another bus"],
    [
      new MemoryBrokerEventBus({ enableDlq: false }),
      "'park' needs the dead letter queue: set enableDlq to true",
    ],
    [
      new MemoryBrokerEventBus({ broadcast: true }),
      'onDeadLetter: a bus with broadcast keeps no events on the broker',
    ],
  ] as const

  for (const [bus, problem] of cases) {
    expect(() => bus.subscribe(OrderCreated, () => undefined, policy)).toThrow(problem)
  }
})
