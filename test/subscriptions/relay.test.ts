import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  AggregateRepository,
  ConnectionError,
  type DomainEvent,
  InMemoryEventBus,
  InMemoryEventStore,
  MessageRefusedError,
  PublishAfterSaveError,
  PublishError,
} from '../../src/index.ts'
import { MemoryBroker, MemoryBrokerEventBus } from '../../src/testing/index.ts'
import { Order } from '../support/order-aggregate.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { waitFor } from '../support/wait-for.ts'
import {
  append,
  appendOne,
  fill,
  Noted,
  noted,
  numbers,
  quick,
  SubscriptionScene,
} from './subscription-scene.ts'

/** A bus that records the published events, and fails on request. */
class RecordingBus {
  readonly published: number[] = []
  readonly #isDown: () => boolean

  constructor(isDown: () => boolean = () => false) {
    this.#isDown = isDown
  }

  async publish(events: readonly DomainEvent[]): Promise<void> {
    await nextTurn()
    if (this.#isDown()) throw new Error('the broker is away')
    for (const event of events) if (event instanceof Noted) this.published.push(event.n)
  }
}

it('publishes stored events in order, and then new ones', async () => {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 250)
  const manager = scene.manager()
  const bus = new RecordingBus()
  manager.relay(bus, { name: 'outbox' })
  manager.start()
  await manager.whenCaughtUp('outbox')
  await append(scene.store, 250, 260)
  await manager.whenCaughtUp('outbox')

  expect(bus.published).toEqual(numbers(0, 260))
})

/** Records the positions after which pages of a scene's store are read. */
function recordReads({ store }: SubscriptionScene): readonly number[] {
  const reads: number[] = []
  const readPage = store.readPage.bind(store)
  store.readPage = async (range) => {
    const page = await readPage(range)
    reads.push(range?.fromPosition ?? 0)
    return page
  }
  return reads
}

it('reads the next page while it publishes one, and each page once', async () => {
  const scene = new SubscriptionScene()
  await fill(scene.store, 0, 2500)
  const reads = recordReads(scene)
  const bus = new RecordingBus()
  const publish = async (events: readonly DomainEvent[]) => {
    await waitFor(() => reads.includes(1000))
    await bus.publish(events)
  }
  const manager = scene.manager()
  manager.relay({ publish }, { name: 'outbox' })
  manager.start()
  await manager.whenCaughtUp('outbox')

  expect(bus.published).toEqual(numbers(0, 2500))
  expect(reads.slice(0, 3)).toEqual([0, 1000, 2000])
})

it('misses no event that was stored after the last page was read ahead', async () => {
  const scene = new SubscriptionScene()
  await fill(scene.store, 0, 1500)
  const reads = recordReads(scene)
  const bus = new RecordingBus()
  const publish = async (events: readonly DomainEvent[]) => {
    await waitFor(() => reads.includes(1000))
    if (bus.published.length === 0) await appendOne(scene.store, noted(1500))
    await bus.publish(events)
  }
  const manager = scene.manager()
  manager.relay({ publish }, { name: 'outbox', pollIntervalMs: 600_000 })
  manager.start()
  await waitFor(() => bus.published.length > 1500)

  expect(bus.published).toEqual(numbers(0, 1501))
})

it('saves its position every 500 events', async () => {
  const scene = new SubscriptionScene()
  await fill(scene.store, 0, 2000)
  const saved: number[] = []
  const save = scene.checkpoints.save.bind(scene.checkpoints)
  scene.checkpoints.save = async (name, checkpoint, previous) => {
    await save(name, checkpoint, previous)
    saved.push(checkpoint.position)
  }
  const bus = new RecordingBus()
  const manager = scene.manager()
  manager.relay(bus, { name: 'outbox', checkpointEveryMs: Number.POSITIVE_INFINITY })
  manager.start()
  await manager.whenCaughtUp('outbox')

  expect(bus.published).toEqual(numbers(0, 2000))
  expect(saved).toEqual([500, 1000, 1500, 2000])
})

it.each([
  { batchSize: 100, most: 1000 },
  { batchSize: 10, checkpointEveryEvents: 5, most: 100 },
  { batchSize: 1000, checkpointEveryEvents: 100, most: 2000 },
])(
  'publishes $most events in batches of $batchSize while their position is saved, and no more',
  async ({ most, ...options }) => {
    const scene = new SubscriptionScene()
    await fill(scene.store, 0, 3000)
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    const save = scene.checkpoints.save.bind(scene.checkpoints)
    scene.checkpoints.save = async (...args) => {
      await released
      await save(...args)
    }
    const bus = new RecordingBus()
    const manager = scene.manager()
    manager.relay(bus, { name: 'outbox', ...options })
    manager.start()
    await waitFor(() => bus.published.length === most)
    for (let turn = 0; turn < 20; turn += 1) await nextTurn()
    expect(bus.published).toHaveLength(most)

    release()
    await manager.whenCaughtUp('outbox')
    expect(bus.published).toEqual(numbers(0, 3000))
  },
)

it('publishes events that a save stored but could not publish', async () => {
  const eventStore = new InMemoryEventStore()
  const scene = new SubscriptionScene(eventStore)
  const eventPublisher = { publish: () => Promise.reject(new Error('the broker is away')) }
  const orders = new AggregateRepository({
    eventStore,
    aggregateFactory: Order,
    aggregateType: 'Order',
    eventPublisher,
  })
  const order = orders.createNew('Order-1')
  order.create('c-1')
  await expect(orders.save(order)).rejects.toThrow(PublishAfterSaveError)

  await using bus = new InMemoryEventBus()
  const seen: string[] = []
  bus.subscribeToAllEvents(({ eventType }) => seen.push(eventType))
  const manager = scene.manager()
  manager.relay(bus, { name: 'outbox' })
  manager.start()
  await manager.whenCaughtUp('outbox')
  expect(seen).toEqual(['OrderCreated'])
})

it('waits for an unreachable broker without a limit, degraded but not down', async () => {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 30)
  let isDown = true
  const bus = new RecordingBus(() => isDown)
  const manager = scene.manager()
  manager.relay(bus, { name: 'outbox', ...quick, batchSize: 10 })
  manager.start()
  await waitFor(async () => ((await manager.status())['outbox']?.handlerErrors ?? 0) > 6)
  expect(await manager.health()).toMatchObject({
    status: 'degraded',
    subscriptions: { outbox: { position: 0, lastError: { message: 'the broker is away' } } },
  })

  isDown = false
  await manager.whenCaughtUp('outbox')
  expect(bus.published).toEqual(numbers(0, 30))
})

it('stops before an event that no bus accepts, or parks only this event and continues', async () => {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 10)
  const metadata = { many: numbers(0, 30_001) }
  const large = new Noted({ aggregateId: 'large', n: 10, metadata })
  await appendOne(scene.store, large)
  await append(scene.store, 11, 20)
  await using bus = new InMemoryEventBus()
  const seen: number[] = []
  bus.subscribe(Noted, ({ n }) => seen.push(n))
  const strict = scene.manager()
  strict.relay(bus, { name: 'strict', ...quick })
  strict.start()
  await waitFor(async () => (await strict.health()).status === 'down')
  expect((await strict.health()).subscriptions['strict']?.lastError?.message).toContain(
    'no consumer could decode it: The message has more than the 30000 values allowed.',
  )
  expect(seen).toEqual([])

  const manager = scene.manager()
  manager.relay(bus, { name: 'outbox', ...quick, onFailure: 'deadLetter' })
  manager.start()
  await manager.whenCaughtUp('outbox')

  expect(seen).toEqual([...numbers(0, 10), ...numbers(11, 20)])
  expect(await scene.deadLetters.list()).toMatchObject([{ errorName: 'EventLimitError', attempts: 1 }])
})

it('retries while the bus refuses all events, and parks none of them', async () => {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 30)
  const published: number[] = []
  let isAllowed = false
  const publish = async (events: readonly DomainEvent[]) => {
    await nextTurn()
    if (!isAllowed) {
      const error = new ConnectionError('AUTHENTICATION_FAILED', 'The user has no right to write.')
      const refused = events.map(({ eventId, eventType }) => ({
        ...{ eventId, eventType, error },
        status: 'notStored' as const,
      }))
      throw new PublishError('kafka', refused)
    }
    for (const event of events) if (event instanceof Noted) published.push(event.n)
  }
  const manager = scene.manager()
  manager.relay({ publish }, { name: 'outbox', ...quick, onFailure: 'deadLetter' })
  manager.start()
  await waitFor(async () => ((await manager.status())['outbox']?.handlerErrors ?? 0) > 3)
  expect((await manager.health()).status).toBe('degraded')

  isAllowed = true
  await manager.whenCaughtUp('outbox')
  expect(published).toEqual(numbers(0, 30))
  expect(await scene.deadLetters.list()).toEqual([])
})

it('publishes only what the bus did not confirm when it repeats a batch, and no event of an aggregate out of order', async () => {
  const scene = new SubscriptionScene()
  const events = ['a', 'b', 'a', 'c', 'b', 'a'].map((aggregateId, n) => new Noted({ aggregateId, n }))
  for (const event of events) await appendOne(scene.store, event)
  const calls: number[][] = []
  const publish = async (batch: readonly DomainEvent[]) => {
    await nextTurn()
    const ns = batch.map((event) => (event instanceof Noted ? event.n : -1))
    calls.push(ns)
    // The bus refuses the second event of a, and stores the third one.
    if (calls.length > 2) return
    const error = new MessageRefusedError('its queue is full', true)
    const outcomes = batch.map(({ eventId, eventType }, index) => ({
      ...{ eventId, eventType },
      ...(ns[index] === 2
        ? { status: 'notStored' as const, error }
        : { status: 'stored' as const, error: undefined }),
    }))
    throw new PublishError('kafka', outcomes)
  }
  const manager = scene.manager()
  manager.relay({ publish }, { name: 'outbox', ...quick })
  manager.start()
  await manager.whenCaughtUp('outbox')

  expect(calls).toEqual([
    [0, 1, 2, 3, 4, 5],
    [2, 5],
    [2, 5],
  ])
})

it('parks a refused event, and publishes the others of its page once', async () => {
  const scene = new SubscriptionScene()
  const events = ['a', 'b', 'a', 'c', 'b', 'a'].map((aggregateId, n) => new Noted({ aggregateId, n }))
  for (const event of events) await appendOne(scene.store, event)
  const published: number[] = []
  const publish = async (batch: readonly DomainEvent[]) => {
    await nextTurn()
    const error = new MessageRefusedError('it is too large')
    const outcomes = batch.map((event) => {
      const n = event instanceof Noted ? event.n : -1
      const isRefused = n === 1 || n === 3
      if (!isRefused) published.push(n)
      const { eventId, eventType } = event
      return {
        eventId,
        eventType,
        ...(isRefused
          ? { status: 'notStored' as const, error }
          : { status: 'stored' as const, error: undefined }),
      }
    })
    if (outcomes.some(({ status }) => status === 'notStored')) throw new PublishError('kafka', outcomes)
  }
  const manager = scene.manager()
  manager.relay({ publish }, { name: 'outbox', ...quick, onFailure: 'deadLetter', maxRetries: 0 })
  manager.start()
  await manager.whenCaughtUp('outbox')

  // Event 4 belongs to the aggregate of a refused event, so the relay repeats it.
  expect(published).toEqual([0, 2, 4, 5, 4])
  expect(
    (await scene.deadLetters.list()).map(({ event }) => (event instanceof Noted ? event.n : -1)),
  ).toEqual([1, 3])
})

it('publishes every event at least once and in order through crashes between the store, the bus and the checkpoint', async () => {
  const faults = fc.array(fc.constantFrom('none', 'publish', 'answer', 'checkpoint', 'restart'), {
    maxLength: 25,
  })
  await fc.assert(
    fc.asyncProperty(faults, fc.integer({ min: 1, max: 7 }), async (plan, batchSize) => {
      const scene = new SubscriptionScene()
      await append(scene.store, 0, 30)
      const steps = [...plan]
      const published: number[] = []
      let restart: (() => void) | undefined
      const publish = async (events: readonly DomainEvent[]) => {
        const fault = steps.shift() ?? 'none'
        if (fault === 'publish') throw new Error('not sent')
        for (const event of events) if (event instanceof Noted) published.push(event.n)
        if (fault === 'answer') throw new Error('the answer was lost')
        if (fault === 'restart') restart?.()
      }
      const save = scene.checkpoints.save.bind(scene.checkpoints)
      scene.checkpoints.save = async (...args) => {
        if (steps[0] === 'checkpoint') {
          steps.shift()
          throw new Error('disk full')
        }
        return save(...args)
      }
      for (;;) {
        const manager = scene.manager()
        const restarted = new Promise<true>((resolve) => {
          restart = () => resolve(true)
        })
        manager.relay(
          { publish },
          { name: 'outbox', ...quick, retryBaseDelayMs: 0, batchSize, checkpointEveryEvents: 1 },
        )
        manager.start()
        const isCut = await Promise.race([restarted, manager.whenCaughtUp('outbox').then(() => false)])
        await manager.stop()
        if (!isCut) break
      }

      const firsts = [...new Set(published)]
      expect(firsts).toEqual(numbers(0, 30))
    }),
    { numRuns: 40 },
  )
})

it('publishes all events despite an outage of the broker', async () => {
  const scene = new SubscriptionScene()
  const broker = new MemoryBroker()
  const logger = new RecordingLogger()
  await using publisher = new MemoryBrokerEventBus({ broker, logger, publishTimeoutMs: 50 })
  await using consumer = new MemoryBrokerEventBus({ broker, logger, consumerGroup: 'billing' })
  const handled = new Set<number>()
  consumer.subscribe(Noted, ({ n }) => handled.add(n))
  consumer.startConsumingInBackground()
  await consumer.whenConsuming()
  const manager = scene.manager()
  manager.relay(publisher, { name: 'outbox', ...quick })
  manager.start()
  await append(scene.store, 0, 20)
  await manager.whenCaughtUp('outbox')

  broker.goDown()
  await append(scene.store, 20, 40)
  await waitFor(async () => (await manager.health()).status === 'degraded')
  broker.comeUp()
  await manager.whenCaughtUp('outbox')
  await waitFor(() => handled.size === 40)
})

it('publishes each event with its stored causation and correlation ids', async () => {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 5)
  const stored: DomainEvent[] = []
  for await (const { event } of scene.store.readAll()) stored.push(event)
  const manager = scene.manager()
  const bus = new InMemoryEventBus()
  const published: DomainEvent[] = []
  bus.subscribe(Noted, (event) => void published.push(event))
  manager.relay(bus, { name: 'outbox' })
  // The context in which a manager is started causes nothing, either.
  const starter = new InMemoryEventBus()
  starter.subscribe(Noted, () => manager.start())
  await starter.publish([new Noted({ aggregateId: 'starter', n: 0 })])
  await manager.whenCaughtUp('outbox')

  const causes = ({ eventId, causationId, correlationId }: DomainEvent) => ({
    eventId,
    causationId,
    correlationId,
  })
  expect(published.map(causes)).toEqual(stored.map(causes))
})

it('a repository publishes its events with their stored causation ids', async () => {
  const eventStore = new InMemoryEventStore()
  const bus = new InMemoryEventBus()
  const orders = new AggregateRepository({
    eventStore,
    aggregateFactory: Order,
    aggregateType: 'Order',
    eventPublisher: bus,
  })
  const order = orders.createNew('Order-1')
  order.create('c1')
  const published: DomainEvent[] = []
  bus.subscribeToAllEvents((event) => void published.push(event))
  bus.subscribe(Noted, async () => void (await orders.save(order)))
  await bus.publish([new Noted({ aggregateId: 'a', n: 0 })])

  const { events } = await eventStore.getEvents('Order-1')
  const own = published.filter(({ aggregateId }) => aggregateId === 'Order-1')
  expect(own.map(({ causationId }) => causationId)).toEqual(events.map(({ causationId }) => causationId))
  expect(own).toHaveLength(1)
})
