import { setImmediate } from 'node:timers/promises'
import { expect, inject, it } from 'vitest'
import type { KafkaEventBusOptions } from '../../../src/kafka/index.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { paced } from '../../support/pace.ts'
import { administer } from '../plain-kafka.ts'
import { consume, createBus, freshName, noticesOf, startProxy, until } from '../scene.ts'

const JOIN_GROUP = 11

async function membersOf(group: string): Promise<number> {
  const groups = await administer(inject('kafkaBootstrapServers'), (admin) =>
    admin.describeGroups({ groups: [group] }),
  )
  return groups.get(group)?.members.size ?? 0
}

/** With this assignor, a member that joins again gives up its partitions before. */
const PATIENT = { partitionAssignor: 'roundrobin', topicPartitions: 2 } as const

/** A consumer whose handler runs until `release`, so that the next join of its group waits for it. */
async function startResident(options: KafkaEventBusOptions) {
  const { promise: hanging, resolve: release } = Promise.withResolvers<void>()
  const resident = createBus({ ...options, consumerName: 'resident' })
  const handled: string[] = []
  resident.subscribe(OrderCreated, async ({ eventId }) => {
    if (handled.length === 0) await hanging
    handled.push(eventId)
  })
  await consume(resident)
  await resident.publish([orderCreated()])
  await until('the handler to run', () => resident.getStats().inFlight === 1)
  return { resident, handled, release }
}

it('stops at once while its join waits for a handler of another member, and leaves no member behind', async () => {
  const options = { topicPrefix: freshName(), ...PATIENT }
  const { resident, handled, release } = await startResident(options)
  // A join that takes a tenth of that time is reported.
  const guest = createBus({ ...options, maxPollIntervalMs: 10_000 })
  const notices = noticesOf(guest)
  guest.subscribe(OrderCreated, () => undefined)
  guest.startConsumingInBackground()
  await until('the guest to join', async () => (await membersOf(options.topicPrefix)) === 2)
  await until('the report', () => notices.length > 0)

  const start = performance.now()
  await guest.shutdown({ timeoutMs: 10_000 })
  const tookMs = performance.now() - start
  release()

  expect(notices).toEqual([
    { type: 'unassigned', detail: expect.stringMatching(/waits for another member.*resident \(/) },
  ])
  expect(tookMs).toBeLessThan(paced(2000))
  await until('one member', async () => (await membersOf(options.topicPrefix)) === 1)
  const events = Array.from({ length: 10 }, (_, n) => orderCreated(`Order-${n}`))
  await resident.publish(events)
  await until('all events', () => events.every(({ eventId }) => handled.includes(eventId)))
})

it('joins again if the connection of its first join dies silently', async () => {
  const options = { topicPrefix: freshName(), ...PATIENT }
  const { release } = await startResident(options)
  const proxy = await startProxy()
  const bootstrapServers = `127.0.0.1:${proxy.port}`
  const guest = createBus({ ...options, bootstrapServers, requestTimeoutMs: 2000 })
  guest.subscribe(OrderCreated, () => undefined)
  guest.startConsumingInBackground()
  await until('the guest to join', async () => (await membersOf(options.topicPrefix)) === 2)

  proxy.freeze()
  proxy.thaw()
  release()

  await until('the guest to consume', () => guest.isConsuming, paced(20_000))
})

it('delays no other member if it stops while it gets its id', async () => {
  const options = { topicPrefix: freshName(), topicPartitions: 2 }
  const resident = createBus(options)
  resident.subscribe(OrderCreated, () => undefined)
  await consume(resident)
  const proxy = await startProxy()
  const bootstrapServers = `127.0.0.1:${proxy.port}`
  const guest = createBus({ ...options, bootstrapServers, sessionTimeoutMs: 60_000 })
  guest.subscribe(OrderCreated, () => undefined)
  guest.startConsumingInBackground()
  while (!proxy.requests.some(({ key }) => key === JOIN_GROUP)) await setImmediate()
  await guest.shutdown()

  const next = createBus(options)
  next.subscribe(OrderCreated, () => undefined)
  next.startConsumingInBackground()

  await until('the next to consume', () => next.isConsuming, paced(15_000))
})
