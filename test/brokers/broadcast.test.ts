import { randomUUID } from 'node:crypto'
import { connect } from 'amqplib'
import { expect, inject, it } from 'vitest'
import { administer } from '../kafka/plain-kafka.ts'
import { connectClient } from '../redis/scene.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { waitFor } from '../support/wait-for.ts'
import { createBus, systems } from './every-bus.ts'

/** What the broker stores about a running instance, except what expires within a minute after it. */
const TRACES = {
  redis: async (scope: string) => {
    const client = await connectClient()
    const groups = await client.sendCommand(['XINFO', 'GROUPS', `${scope}:stream`])
    const keys = await client.sendCommand(['KEYS', `${scope}:*`])
    return [...Object(groups), ...Object(keys)].filter((key) => key !== `${scope}:stream`)
  },
  rabbitmq: async (scope: string, group: string) => {
    const connection = await connect(inject('rabbitmqUrl'))
    const channel = await connection.createChannel()
    channel.on('error', () => undefined)
    // The broker refuses a declaration with other arguments, and names those that the queue has.
    const refusal = await channel
      .assertQueue(`${scope}.${group}`, { arguments: { 'x-queue-type': 'classic' } })
      .catch(String)
    await connection.close()
    const expiresMs = /x-expires.*current is the value '(\d+)'/.exec(String(refusal))?.[1]
    return Number(expiresMs) <= 60_000 ? [] : [refusal]
  },
  kafka: (scope: string, group: string) =>
    administer(inject('kafkaBootstrapServers'), async (admin) => {
      const topics = await admin.listTopics()
      const groups = [...(await admin.listGroups()).keys()]
      const others = topics.filter((topic) => topic.startsWith(scope) && topic !== `${scope}.stream`)
      return [...others, ...groups.filter((name) => name === group)]
    }),
} as const

it.each(systems)('stores nothing that outlives an instance that broadcasts, on %s', async (system) => {
  const scope = `test-${randomUUID().slice(0, 8)}`
  const bus = createBus(system, scope, { broadcast: true })
  const groups: (string | undefined)[] = []
  bus.subscribe(OrderCreated, (_event, { consumerGroup }) => void groups.push(consumerGroup))
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  await bus.publish([orderCreated()])
  await waitFor(() => groups.length === 1)

  expect(await TRACES[system](scope, groups[0] ?? '')).toEqual([])
})
