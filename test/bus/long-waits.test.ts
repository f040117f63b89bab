import { expect, it, onTestFinished } from 'vitest'
import { InMemoryEventBus } from '../../src/index.ts'
import { MemoryBroker, MemoryBrokerEventBus } from '../../src/testing/index.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { waitFor } from '../support/wait-for.ts'
import { FaultyBus } from '../testing/faulty-buses.ts'

const policy = { name: 'waits', retryDelaysMs: [300], longWaits: { fromMs: 100, order: 'giveUp' } } as const

/** A handler whose first attempt fails. */
function failingOnce(onFailure: () => void = () => undefined) {
  const attempts: number[] = []
  const handler = (_event: OrderCreated, { attempt }: { readonly attempt: number }) => {
    attempts.push(attempt)
    if (attempt > 1) return
    onFailure()
    throw new Error('planned')
  }
  return { attempts, handler }
}

async function consuming(broker: MemoryBroker, handler: (event: OrderCreated, context: never) => void) {
  const logger = new RecordingLogger()
  const bus = new MemoryBrokerEventBus({ broker, logger })
  onTestFinished(() => bus.shutdown())
  bus.subscribe(OrderCreated, handler as never, policy)
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  return { bus, messages: () => logger.lines.map(({ level, message }) => `${level} ${message}`) }
}

it('keeps an event that cannot be stored for its wait, logs that, and stores it later', async () => {
  const broker = new MemoryBroker()
  const { attempts, handler } = failingOnce(() => broker.goDown())
  const { bus, messages } = await consuming(broker, handler)

  await bus.publish([orderCreated()])
  await waitFor(() => messages().includes('warn postponing failed, retrying'))
  expect(bus.getStats()).toMatchObject({ inFlight: 1, eventsPostponed: 0 })
  broker.comeUp()
  await waitFor(() => attempts.length === 2)

  expect(attempts).toEqual([1, 2])
  await waitFor(() => bus.getStats().inFlight === 0)
  expect(await bus.countWaiting()).toBe(0)
})

it('logs that an event cannot be delivered after its wait, and delivers it later', async () => {
  const broker = new MemoryBroker()
  const { attempts, handler } = failingOnce()
  const { bus, messages } = await consuming(broker, handler)

  await bus.publish([orderCreated()])
  await waitFor(async () => (await bus.countWaiting()) === 1 && bus.getStats().inFlight === 0)
  broker.goDown()
  await waitFor(() => messages().includes('error delivering events after their long waits failed, retrying'))
  expect(attempts).toEqual([1])
  broker.comeUp()
  await waitFor(() => attempts.length === 2)
})

it('refuses long waits on a transport that cannot keep events', () => {
  const bus = new FaultyBus({}, new MemoryBroker(), () => ({ waiting: undefined }))

  expect(() => bus.subscribe(OrderCreated, () => undefined, policy)).toThrow(
    'longWaits: the transport memory cannot keep events during long waits',
  )
})

it('refuses to keep the order if the transport cannot, or in memory', () => {
  const unordered = new FaultyBus({}, new MemoryBroker(), ({ waiting }) => {
    if (waiting === undefined) return {}
    return { waiting: { ...waiting, orderProblem: 'nobody knows what waits' } }
  })
  const longWaits = { order: 'keep' } as const

  for (const bus of [unordered, new InMemoryEventBus()]) {
    expect(() => bus.subscribe(OrderCreated, () => undefined, { ...policy, longWaits })).toThrow(
      "longWaits: order must be 'giveUp', because",
    )
  }
})

it('in memory, lets a publish resolve during a long wait', async () => {
  const bus = new InMemoryEventBus({ logger: new RecordingLogger() })
  onTestFinished(() => bus.shutdown())
  const { attempts, handler } = failingOnce()
  bus.subscribe(OrderCreated, handler, policy)

  await bus.publish([orderCreated()])
  expect(attempts).toEqual([1])
  await waitFor(() => attempts.length === 2)

  expect(attempts).toEqual([1, 2])
})

it('in memory, logs the events whose long waits a shutdown ends', async () => {
  const logger = new RecordingLogger()
  const bus = new InMemoryEventBus({ logger })
  const { attempts, handler } = failingOnce()
  bus.subscribe(OrderCreated, handler, { ...policy, retryDelaysMs: [3_600_000] })
  await bus.publish([orderCreated(), orderCreated()])

  await bus.shutdown()

  expect(attempts).toEqual([1, 1])
  const lost = logger.lines.filter(({ message }) => message.startsWith('events lost'))
  expect(lost).toMatchObject([{ level: 'error', fields: { count: 2 } }])
})
