import { describe, expect, it } from 'vitest'
import {
  AggregateNotFoundError,
  AggregateRepository,
  type AggregateRepositoryOptions,
  AggregateRoot,
  ConfigError,
  type DomainEvent,
  defineEvent,
  type EventStore,
  evolution,
  InMemoryEventBus,
  InMemoryEventStore,
  InMemorySnapshotStore,
  InMemoryStores,
  OptimisticLockError,
  PublishAfterSaveError,
  type SnapshotStore,
} from '../../src/index.ts'
import { Order } from '../support/order-aggregate.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

function setUp(options: Partial<AggregateRepositoryOptions<Order>> = {}) {
  const eventStore = new InMemoryEventStore()
  const required = { eventStore, aggregateFactory: Order, aggregateType: 'Order' }
  const orders = new AggregateRepository<Order>({ ...required, ...options })
  const saveNew = async (id = 'Order-1') => {
    const order = orders.createNew(id)
    order.create('c-1')
    await orders.save(order)
    return order
  }
  return { eventStore, orders, saveNew }
}

const storeOf = (store: EventStore) => async (id: string) =>
  (await store.getEvents(id)).events.map(({ eventType }) => eventType)

describe('loading', () => {
  it('loads a saved aggregate', async () => {
    const { orders, saveNew } = setUp()
    await saveNew()

    const order = await orders.load('Order-1')
    expect(order).toBeInstanceOf(Order)
    expect(order).toMatchObject({ id: 'Order-1', version: 1, uncommittedEvents: [] })
    expect(order.state.customerId).toBe('c-1')
    expect(await orders.exists('Order-1')).toBe(true)
  })

  it('names the aggregate that it cannot find', async () => {
    const { orders } = setUp()

    expect(await orders.exists('Order-9')).toBe(false)
    expect(await orders.loadOrCreate('Order-9')).toMatchObject({ id: 'Order-9', version: 0 })
    await expect(orders.load('Order-9')).rejects.toThrow(AggregateNotFoundError)
    await expect(orders.load('Order-9')).rejects.toThrow(
      /^There is no Order Order-9\. Create it with createNew/,
    )
  })

  it('accepts a function as the factory, too', async () => {
    const { orders } = setUp({ aggregateFactory: (id) => new Order(id) })

    expect(orders.createNew('Order-1')).toBeInstanceOf(Order)
  })
})

describe('saving', () => {
  it('stores before it publishes: a handler finds its event in the store', async () => {
    await using bus = new InMemoryEventBus()
    const { eventStore, saveNew } = setUp({ eventPublisher: bus })
    const seen: string[] = []
    bus.subscribeToAllEvents(async (event) => {
      seen.push(`${event.eventType} ${await eventStore.eventExists(event.eventId)}`)
    })

    const order = await saveNew()

    expect(seen).toEqual(['OrderCreated true'])
    expect(order.uncommittedEvents).toEqual([])
  })

  it('publishes in order, in one call', async () => {
    const calls: string[][] = []
    const eventPublisher = {
      publish: async (events: readonly DomainEvent[]) => {
        calls.push(events.map(({ eventType }) => eventType))
      },
    }
    const { orders } = setUp({ eventPublisher })
    const order = orders.createNew('Order-1')
    order.create('c-1')
    order.ship('TRACK-1')

    expect(await orders.save(order)).toEqual({ newVersion: 2, globalPosition: 2 })
    expect(await orders.save(order)).toBeUndefined()
    expect(calls).toEqual([['OrderCreated', 'OrderShipped']])
  })

  it('neither stores nor publishes on a conflict, and keeps the raised events', async () => {
    await using bus = new InMemoryEventBus()
    const { eventStore, orders, saveNew } = setUp({ eventPublisher: bus })
    await saveNew()
    const [mine, theirs] = [await orders.load('Order-1'), await orders.load('Order-1')]
    theirs.ship('THEIRS')
    await orders.save(theirs)
    mine.ship('MINE')
    const published = bus.getStats().eventsPublished

    await expect(orders.save(mine)).rejects.toMatchObject({
      code: 'OPTIMISTIC_LOCK',
      expectedVersion: 1,
      actualVersion: 2,
    })
    expect(mine.uncommittedEvents).toHaveLength(1)
    expect(bus.getStats().eventsPublished).toBe(published)
    expect(await storeOf(eventStore)('Order-1')).toEqual(['OrderCreated', 'OrderShipped'])
  })

  it('refuses a second new aggregate with an id', async () => {
    const { saveNew } = setUp()
    await saveNew()

    await expect(saveNew()).rejects.toThrow(OptimisticLockError)
  })

  it('reports that the events are stored if they cannot be published, and does not store them again', async () => {
    const cause = new Error('the broker is away')
    const eventPublisher = { publish: () => Promise.reject(cause) }
    const { eventStore, orders } = setUp({ eventPublisher })
    const order = orders.createNew('Order-1')
    order.create('c-1')

    const error = await orders.save(order).catch((thrown: unknown) => thrown)

    expect(error).toBeInstanceOf(PublishAfterSaveError)
    expect(error).toMatchObject({
      code: 'PUBLISH_AFTER_SAVE_FAILED',
      newVersion: 1,
      globalPosition: 1,
      cause,
    })
    expect(String(error)).toContain(
      'are stored (up to position 1) but may not be published: the broker is away',
    )
    expect(order.uncommittedEvents).toEqual([])
    expect(await orders.save(order)).toBeUndefined()
    expect(await eventStore.headPosition()).toBe(1)
  })

  it('succeeds after a lost answer, also with further events raised since', async () => {
    const whole = new InMemoryEventStore()
    let losing = true
    const eventStore: EventStore = Object.assign(Object.create(whole), {
      getEvents: whole.getEvents.bind(whole),
      registerEvents: whole.registerEvents.bind(whole),
      appendEvents: async (request: Parameters<EventStore['appendEvents']>[0]) => {
        const result = await whole.appendEvents(request)
        if (losing) throw new Error('connection reset')
        return result
      },
    })
    const { orders } = setUp({ eventStore })
    const order = orders.createNew('Order-1')
    order.create('c-1')
    await expect(orders.save(order)).rejects.toThrow('connection reset')
    losing = false
    order.ship('TRACK-1')

    expect(await orders.save(order)).toEqual({ newVersion: 2, globalPosition: 2 })
    expect(await storeOf(whole)('Order-1')).toEqual(['OrderCreated', 'OrderShipped'])
  })

  it('keeps events that are raised during a save', async () => {
    const { eventStore, orders } = setUp()
    const order = orders.createNew('Order-1')
    order.create('c-1')
    const saving = orders.save(order)
    order.ship('TRACK-1')
    await saving

    expect(order.uncommittedEvents).toHaveLength(1)
    await orders.save(order)
    expect(await storeOf(eventStore)('Order-1')).toEqual(['OrderCreated', 'OrderShipped'])
  })
})

describe('retryOnConflict', () => {
  it('repeats the command on a fresh aggregate until there is no conflict', async () => {
    const { orders, saveNew } = setUp()
    await saveNew()
    const seen: number[] = []

    const result = await orders.retryOnConflict('Order-1', async (order) => {
      seen.push(order.version)
      if (seen.length <= 2) {
        const rival = await orders.load('Order-1')
        rival.ship(`RIVAL-${seen.length}`)
        await orders.save(rival)
      }
      order.ship('MINE')
    })

    expect(seen).toEqual([1, 2, 3])
    expect(result).toEqual({ newVersion: 4, globalPosition: 4 })
    expect((await orders.load('Order-1')).state.trail).toEqual(['RIVAL-1', 'RIVAL-2', 'MINE'])
  })

  it('gives up after maxRetries conflicts, and does not retry other failures', async () => {
    const { orders, saveNew } = setUp()
    await saveNew()
    let runs = 0
    const conflicting = async (order: Order) => {
      runs += 1
      const rival = await orders.load('Order-1')
      rival.view()
      await orders.save(rival)
      order.view()
    }

    const outcome = orders.retryOnConflict('Order-1', conflicting, { maxRetries: 2 })
    await expect(outcome).rejects.toThrow(OptimisticLockError)
    expect(runs).toBe(3)

    const refusal = orders.retryOnConflict('Order-1', (order) => order.create('c-2'))
    await expect(refusal).rejects.toThrow('the order exists')
    await expect(orders.retryOnConflict('Order-9', () => undefined)).rejects.toThrow(AggregateNotFoundError)
    await expect(orders.retryOnConflict('Order-1', () => undefined, { maxRetries: -1 })).rejects.toThrow(
      ConfigError,
    )
  })
})

describe('snapshots', () => {
  it('takes a snapshot when a save passes a multiple, and then reads only later events', async () => {
    const store = new InMemorySnapshotStore()
    const { eventStore, orders, saveNew } = setUp({ snapshots: { store, everyEvents: 3 } })
    const order = await saveNew()
    order.ship('A')
    await orders.save(order)
    expect(await store.load('Order', 'Order-1')).toBeUndefined()
    for (const trackingNumber of ['B', 'C']) order.ship(trackingNumber)
    await orders.save(order)
    order.ship('D')
    await orders.save(order)

    expect(await store.load('Order', 'Order-1')).toMatchObject({
      version: 4,
      state: { trail: ['A', 'B', 'C'] },
    })
    const reads: unknown[] = []
    const getEvents = eventStore.getEvents.bind(eventStore)
    eventStore.getEvents = (id, options) => {
      reads.push(options?.fromVersion)
      return getEvents(id, options)
    }
    expect((await orders.load('Order-1')).state.trail).toEqual(['A', 'B', 'C', 'D'])
    expect(reads).toEqual([4])
  })

  it('ignores a snapshot of another schema version, and one that is ahead of the store', async () => {
    const store = new InMemorySnapshotStore()
    const { orders, saveNew } = setUp({ snapshots: { store, everyEvents: 1, schemaVersion: 2 } })
    await saveNew()
    const wrong = {
      aggregateId: 'Order-1',
      aggregateType: 'Order',
      state: 'not a state',
      takenAt: new Date(),
    }

    await store.save({ ...wrong, version: 1, schemaVersion: 1 })
    expect((await orders.load('Order-1')).state.customerId).toBe('c-1')
    await store.save({ ...wrong, version: 5, schemaVersion: 2 })
    expect((await orders.load('Order-1')).state.customerId).toBe('c-1')
  })

  it('logs failures of snapshots, and fails neither a save nor a load', async () => {
    const logger = new RecordingLogger()
    const refuse = () => Promise.reject(new Error('disk full'))
    const store: SnapshotStore = { load: refuse, save: refuse, delete: refuse }
    const { orders, saveNew } = setUp({ snapshots: { store, everyEvents: 1 }, logger })
    await saveNew()

    expect((await orders.load('Order-1')).version).toBe(1)
    expect(logger.lines.map(({ message }) => message)).toEqual([
      'saving a snapshot failed',
      'reading a snapshot failed, reading all events instead',
    ])
  })
})

it('names every option that is wrong or missing', () => {
  // As plain JavaScript might.
  const options = JSON.parse('{ "eventStore": {}, "aggregateType": "", "eventBus": 1 }')

  const make = () => new AggregateRepository<Order>(options)
  expect(make).toThrow(ConfigError)
  expect(make).toThrow(/eventStore must be an EventStore.*aggregateType must be a non-empty string/)
  expect(make).toThrow(/eventBus is not an option.*aggregateFactory is required: a class or a function/)
  const snapshots = { store: new InMemorySnapshotStore(), everyEvents: 0 }
  expect(() => setUp({ snapshots })).toThrow('snapshots: everyEvents must be a positive integer, got 0')
})

it('names the property of the stores that is an event store', () => {
  expect(() => setUp({ eventStore: new InMemoryStores() as never })).toThrow(
    'eventStore must be an EventStore, got an instance of InMemoryStores. Pass its property events.',
  )
})

it('refuses events of another aggregate type than its own', async () => {
  const { orders } = setUp({ aggregateType: 'Invoice' })
  const order = orders.createNew('Order-1')
  order.create('c-1')

  await expect(orders.save(order)).rejects.toThrow(/belongs to Order Order-1, not to Invoice Order-1/)
})

describe('a renamed aggregate type', () => {
  class Paused extends defineEvent<{ readonly by: string }>()({ type: 'Paused', aggregateType: 'Job' }) {}

  class Halted extends defineEvent<{ readonly by: string }>()({
    type: 'Halted',
    typeAliases: ['Paused'],
    aggregateType: 'Task',
    aggregateTypeAliases: ['Job'],
  }) {}

  class Task extends AggregateRoot<readonly string[]> {
    protected readonly initialState: readonly string[] = []
    protected readonly evolve = evolution<readonly string[]>().on(Halted, (state, { by }) => [...state, by])

    halt(by: string): void {
      this.raise(Halted, { by })
    }
  }

  it('finds, loads and saves aggregates that were stored before', async () => {
    const eventStore = new InMemoryEventStore()
    const stream = { aggregateType: 'Job', aggregateId: 'J-1', expectedVersion: 0 }
    await eventStore.appendEvents({ ...stream, events: [new Paused({ aggregateId: 'J-1', by: 'Ada' })] })
    const repository = () =>
      new AggregateRepository({ eventStore, aggregateFactory: Task, aggregateType: 'Task' })

    expect(await repository().exists('J-1')).toBe(true)
    const task = await repository().load('J-1')
    task.halt('Bob')
    await repository().save(task)

    expect(await repository().load('J-1')).toMatchObject({ state: ['Ada', 'Bob'], version: 2 })
    const again = repository().createNew('J-1')
    again.halt('Eve')
    await expect(repository().save(again)).rejects.toThrow(OptimisticLockError)
  })
})
