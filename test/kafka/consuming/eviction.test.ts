import { expect, inject, it } from 'vitest'
import { auditAndInvoice } from '../../support/audit-and-invoice.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { administer } from '../plain-kafka.ts'
import { committedOf, consume, createBus, freshName, until } from '../scene.ts'

/** Removes all members from a group, as the broker does with a member whose session has expired. */
async function evictMembers(groupId: string): Promise<void> {
  await administer(inject('kafkaBootstrapServers'), (admin) =>
    admin.removeMembersFromConsumerGroup({ groupId, members: null }),
  )
}

it('handles each event once although the group evicts its member before a commit and while a handler runs', async () => {
  const topicPrefix = freshName()
  const bus = createBus({
    topicPrefix,
    consumerGroup: topicPrefix,
    topicPartitions: 1,
    heartbeatIntervalMs: 100,
    commitIntervalMs: 60_000,
  })
  const gate = Promise.withResolvers<void>()
  const runs: string[] = []
  bus.subscribe(OrderCreated, async ({ aggregateId, eventId }) => {
    runs.push(eventId)
    if (aggregateId === 'Order-slow') await gate.promise
  })
  await consume(bus)
  const events = ['Order-1', 'Order-slow', 'Order-slow', 'Order-2', 'Order-1'].map((id) => orderCreated(id))
  await bus.publish(events.slice(0, 2))
  await until('both to be handled', () => runs.length === 2)
  const { rebalanceCount } = bus.getStats()

  await evictMembers(topicPrefix)
  await until('the consumer to have joined again', () => bus.getStats().rebalanceCount > rebalanceCount)
  await bus.publish(events.slice(2))
  await until('the events of other aggregates', () => runs.length === 4)
  gate.resolve()
  await until('all events', () => runs.length === 5)
  await bus.shutdown()

  expect(new Set(runs)).toEqual(new Set(events.map(({ eventId }) => eventId)))
  expect(bus.getStats()).toMatchObject({ eventsProcessedSuccess: 5, eventsProcessedFailed: 0 })
  expect((await committedOf(`${topicPrefix}.stream`, topicPrefix)).get(0)?.offset).toBe(5)
})

it('repeats no handler that succeeded before the group evicted its member, and repeats the one that failed', async () => {
  const topicPrefix = freshName()
  const consumerGroup = topicPrefix
  const bus = createBus({ topicPrefix, consumerGroup, topicPartitions: 1, heartbeatIntervalMs: 100 })
  const { gate, runs } = auditAndInvoice((name, handler) => bus.subscribe(OrderCreated, handler, { name }))
  await consume(bus)
  await bus.publish([orderCreated()])
  await until('both to run', () => runs.length === 2)
  const { rebalanceCount } = bus.getStats()

  await evictMembers(topicPrefix)
  await until('the consumer to have joined again', () => bus.getStats().rebalanceCount > rebalanceCount)
  gate.resolve()
  await until('the event to be handled', () => bus.getStats().eventsProcessedSuccess === 1)
  await bus.shutdown()

  expect(runs).toEqual(['audit', 'invoice', 'invoice'])
  expect((await committedOf(`${topicPrefix}.stream`, topicPrefix)).get(0)?.offset).toBe(1)
})
