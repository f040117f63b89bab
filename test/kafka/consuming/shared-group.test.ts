import { expect, inject, it } from 'vitest'
import { orderCreated } from '../../support/order-events.ts'
import { administer } from '../plain-kafka.ts'
import { gradualProtocols, itWithEach, protocols } from '../protocols.ts'
import { consume, createBus, freshName, noticesOf, recorder, until } from '../scene.ts'

const orders = (count: number) => Array.from({ length: count }, (_, n) => orderCreated(`Order-${n}`))

itWithEach(
  gradualProtocols,
  'gives each of two services that share a group name the events of its own topic (%s)',
  async (protocol) => {
    const consumerGroup = freshName()
    const buses = [0, 1].map(() => createBus({ ...protocol, consumerGroup }))
    const seen = buses.map(recorder)
    for (const bus of buses) await consume(bus)

    for (const bus of buses) await bus.publish(orders(30))

    await until(
      () => `30 events each, saw ${seen.map(({ length }) => length)}`,
      () => seen.every(({ length }) => length === 30),
    )
  },
)

it('gives a service partitions that are added to its topic while another service leads the group', async () => {
  const consumerGroup = freshName()
  const leader = createBus({ consumerGroup })
  recorder(leader)
  await consume(leader)
  const topicPrefix = freshName()
  const bus = createBus({ consumerGroup, topicPrefix, topicPartitions: 1 })
  const seen = recorder(bus)
  await consume(bus)
  const topic = `${topicPrefix}.stream`
  await administer(inject('kafkaBootstrapServers'), (admin) =>
    admin.createPartitions({ topics: [{ name: topic, count: 4, assignments: null }] }),
  )
  await until('the partitions', async () => (await bus.getTopicInfo()).partitions === 4)

  await bus.publish(orders(50))

  await until(
    () => `50 events, saw ${seen.length}`,
    () => seen.length === 50,
  )
})

itWithEach(
  protocols,
  'reports a consumer that has no partition of its stream (%s)',
  async ({ groupProtocol }) => {
    const options = { topicPrefix: freshName(), topicPartitions: 1, groupProtocol }
    const buses = [createBus(options), createBus(options)]
    buses.forEach(recorder)
    const notices = buses.map(noticesOf)
    for (const bus of buses) await consume(bus)

    await until('the notice', () => notices.flat().some(({ type }) => type === 'unassigned'))

    const checks = await Promise.all(buses.map(async (bus) => (await bus.health()).checks.consuming))
    expect(checks.filter(({ status }) => status === 'degraded')).toEqual([
      { status: 'degraded', detail: expect.stringContaining('assigned no partition') },
    ])
    expect(checks.filter(({ status }) => status === 'up')).toHaveLength(1)
  },
)
