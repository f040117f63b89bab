import { expect, inject, it } from 'vitest'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { paced } from '../../support/pace.ts'
import { administer } from '../plain-kafka.ts'
import { consume, createBus, freshName, until } from '../scene.ts'

async function membersOf(group: string): Promise<number> {
  const groups = await administer(inject('kafkaBootstrapServers'), (admin) =>
    admin.describeGroups({ groups: [group] }),
  )
  return groups.get(group)?.members.size ?? 0
}

it('stops at once while its join waits for a handler of another member, and leaves no member behind', async () => {
  const options = { topicPrefix: freshName(), topicPartitions: 2 }
  const resident = createBus(options)
  const hanging = Promise.withResolvers<void>()
  const handled: string[] = []
  resident.subscribe(OrderCreated, async ({ eventId }) => {
    if (handled.length === 0) await hanging.promise
    handled.push(eventId)
  })
  await consume(resident)
  await resident.publish([orderCreated()])
  const guest = createBus(options)
  guest.subscribe(OrderCreated, () => undefined)
  guest.startConsumingInBackground()
  await until('the guest to join', async () => (await membersOf(options.topicPrefix)) === 2)

  const start = performance.now()
  await guest.shutdown({ timeoutMs: 10_000 })
  const tookMs = performance.now() - start
  hanging.resolve()

  expect(tookMs).toBeLessThan(paced(2000))
  await until('one member', async () => (await membersOf(options.topicPrefix)) === 1)
  const events = Array.from({ length: 10 }, (_, n) => orderCreated(`Order-${n}`))
  await resident.publish(events)
  await until('all events', () => events.every(({ eventId }) => handled.includes(eventId)))
})
