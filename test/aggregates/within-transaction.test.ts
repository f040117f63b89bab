import { expect, it } from 'vitest'
import {
  AggregateRepository,
  type DomainEvent,
  InMemoryStores,
  OptimisticLockError,
  TransactionBypassError,
} from '../../src/index.ts'
import { Order } from '../support/order-aggregate.ts'

function setUp() {
  const stores = new InMemoryStores()
  const published: DomainEvent[] = []
  const orders = new AggregateRepository({
    eventStore: stores.events,
    aggregateFactory: Order,
    aggregateType: 'Order',
    eventPublisher: { publish: async (events) => void published.push(...events) },
    snapshots: { store: stores.snapshots, everyEvents: 1 },
  })
  const create = (id = 'Order-1') => {
    const order = orders.createNew(id)
    order.create('c-1')
    return order
  }
  return { stores, published, orders, create }
}

it('commits an aggregate, its snapshot and other writes together, and publishes nothing', async () => {
  const { stores, published, orders, create } = setUp()
  await stores.transaction(async (tx) => {
    await orders.within(tx).save(create())
    await tx.checkpoints.save(
      'own',
      { position: 1, storeId: undefined, eventId: undefined, fence: undefined },
      undefined,
    )
    expect(await orders.exists('Order-1')).toBe(false)
    expect((await orders.within(tx).load('Order-1')).version).toBe(1)
  })

  expect((await orders.load('Order-1')).version).toBe(1)
  expect((await stores.snapshots.load('Order', 'Order-1'))?.version).toBe(1)
  expect((await stores.checkpoints.load('own'))?.position).toBe(1)
  expect(published).toEqual([])
})

it('stores nothing of an aggregate when the transaction fails, not even a snapshot', async () => {
  const { stores, published, orders, create } = setUp()
  const failed = stores.transaction(async (tx) => {
    await orders.within(tx).save(create())
    throw new Error('no money')
  })

  await expect(failed).rejects.toThrow('no money')
  expect(await orders.exists('Order-1')).toBe(false)
  expect(await stores.snapshots.load('Order', 'Order-1')).toBeUndefined()
  expect(published).toEqual([])
})

it('allows a transaction to continue after a conflict', async () => {
  const { stores, orders, create } = setUp()
  await orders.save(create())
  await stores.transaction(async (tx) => {
    await expect(orders.within(tx).save(create())).rejects.toThrow(OptimisticLockError)
    await orders.within(tx).retryOnConflict('Order-1', (order) => order.ship('T-1'))
  })

  expect((await orders.load('Order-1')).version).toBe(2)
})

it('refuses a save past the transaction, which would wait for it', async () => {
  const { stores, orders, create } = setUp()

  await expect(stores.transaction(() => orders.save(create()))).rejects.toThrow(TransactionBypassError)
  await orders.save(create())
})

it('does not find a deleted aggregate, and does not allow it to be created again', async () => {
  const { stores, orders, create } = setUp()
  await orders.save(create())
  await stores.events.deleteStream({ aggregateId: 'Order-1', aggregateType: 'Order' })

  expect(await orders.exists('Order-1')).toBe(false)
  await expect(orders.load('Order-1')).rejects.toMatchObject({ code: 'AGGREGATE_NOT_FOUND' })
  await expect(orders.save(create())).rejects.toMatchObject({ code: 'STREAM_DELETED' })
})
