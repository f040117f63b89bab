import fc from 'fast-check'
import { expect, it } from 'vitest'
import { AggregateRepository, decided, InMemoryEventStore, InMemorySnapshotStore } from '../../src/index.ts'
import { Order, orderDecider } from '../support/order-aggregate.ts'

type Step = 'ship' | 'view' | 'cancel' | 'save' | 'reload'

const steps = fc.array(fc.constantFrom<Step>('ship', 'ship', 'view', 'cancel', 'save', 'reload'), {
  maxLength: 60,
})

function perform(order: Order, step: Step, index: number): void {
  if (step === 'view') order.view()
  if (step === 'cancel') order.cancel(`reason ${index}`)
  if (step === 'ship' && order.state.status !== 'cancelled') order.ship(`TRACK-${index}`)
}

it('loads exactly the state after the commands, with any snapshot distance or none', async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 0, max: 7 }), async (plan, everyEvents) => {
      const eventStore = new InMemoryEventStore()
      const options = { eventStore, aggregateFactory: Order, aggregateType: 'Order' }
      const plain = new AggregateRepository(options)
      const store = new InMemorySnapshotStore()
      const repository =
        everyEvents === 0 ? plain : new AggregateRepository({ ...options, snapshots: { store, everyEvents } })
      let order = repository.createNew('Order-1')
      order.create('c-1')
      await repository.save(order)

      for (const [index, step] of plan.entries()) {
        perform(order, step, index)
        if (step === 'save' || step === 'reload') await repository.save(order)
        if (step === 'reload') order = await repository.load('Order-1')
      }
      await repository.save(order)

      for (const loaded of [await repository.load('Order-1'), await plain.load('Order-1')]) {
        expect(loaded.state).toEqual(order.state)
        expect(loaded.version).toBe(order.version)
        expect(loaded.uncommittedEvents).toEqual([])
      }
      if (everyEvents > 0) {
        const snapshot = await store.load('Order', 'Order-1')
        expect(order.version - (snapshot?.version ?? 0)).toBeLessThanOrEqual(everyEvents + plan.length)
      }
    }),
  )
})

it('replays a decider to its last state, one event at a time or all at once', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.string(), { maxLength: 4 }), { maxLength: 20 }),
      async (shipments) => {
        const eventStore = new InMemoryEventStore()
        const aggregateFactory = decided(orderDecider)
        const orders = new AggregateRepository({ eventStore, aggregateFactory, aggregateType: 'Order' })
        const order = orders.createNew('Order-1')
        order.execute({ kind: 'create', customerId: 'c-1' })
        for (const trackingNumbers of shipments) {
          order.execute({ kind: 'ship', trackingNumbers })
          await orders.save(order)
        }
        await orders.save(order)

        const { events } = await eventStore.getEvents('Order-1')
        const folded = events.reduce(orderDecider.evolve, orderDecider.initialState)
        expect((await orders.load('Order-1')).state).toEqual(folded)
        expect(folded.trail).toEqual(shipments.flat())
      },
    ),
  )
})

it('loses no command of many concurrent writers of one aggregate', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 8 }), async (writers) => {
      const eventStore = new InMemoryEventStore()
      const orders = new AggregateRepository({ eventStore, aggregateFactory: Order, aggregateType: 'Order' })
      const order = orders.createNew('Order-1')
      order.create('c-1')
      await orders.save(order)

      await Promise.all(
        Array.from({ length: writers }, (_, index) =>
          orders.retryOnConflict('Order-1', (it) => it.ship(`TRACK-${index}`)),
        ),
      )

      const { trail } = (await orders.load('Order-1')).state
      expect(trail.toSorted()).toEqual(Array.from({ length: writers }, (_, index) => `TRACK-${index}`))
    }),
    { numRuns: 15 },
  )
})
