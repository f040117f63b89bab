import { randomUUID } from 'node:crypto'
import { connect } from 'amqplib'
import { expect, inject, it } from 'vitest'
import { administer } from '../kafka/plain-kafka.ts'
import {
  connectClient,
  consume as consumeRedis,
  createBus as createRedisBus,
  freshPrefix,
  Noted,
} from '../redis/scene.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { waitFor } from '../support/wait-for.ts'
import { createBus, systems } from './every-bus.ts'

/** What the broker stores about a running instance, except what expires within a minute after it. */
const TRACES = {
  redis: async (scope: string) => {
    const client = await connectClient()
    const groups = await client.sendCommand(['XINFO', 'GROUPS', `${scope}:stream`])
    const keys = await client.sendCommand(['KEYS', `${scope}:*`])
    const isLasting = (key: string) => !key.startsWith(`${scope}:stream:presence`)
    return [...Object(groups), ...Object(keys)].filter((key) => key !== `${scope}:stream` && isLasting(key))
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
      // All processes share these two topics.
      const shared = [`${scope}.stream`, `${scope}.stream.presence`]
      const others = topics.filter((topic) => topic.startsWith(scope) && !shared.includes(topic))
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

it.each(systems)(
  'refuses options of an instance for which the broker would keep something, on %s',
  (system) => {
    const scope = `test-${randomUUID().slice(0, 8)}`
    const withDlq = () => createBus(system, scope, { broadcast: true, enableDlq: true })
    expect(withDlq).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('broadcast needs enableDlq false'),
      }),
    )
    const bus = createBus(system, scope, { broadcast: true })
    const wait = { name: 'waits', retryDelaysMs: [60_000], longWaits: { order: 'giveUp' } } as const
    const subscribe = () => bus.subscribe(OrderCreated, () => undefined, wait)
    expect(subscribe).toThrow('longWaits: a bus with broadcast keeps no events on the broker')
  },
)

it('delivers the events of all partitions on Redis to every instance, in order, and to the workers of a group once', async () => {
  const common = { streamPrefix: freshPrefix(), partitions: 4 }
  const listener = async (options: { broadcast: boolean }) => {
    const bus = createRedisBus({ ...common, ...options })
    const handled: string[] = []
    bus.subscribe(Noted, ({ aggregateId, n }) => void handled.push(`${aggregateId} ${n}`))
    await consumeRedis(bus)
    return { bus, handled }
  }
  const instances = await Promise.all([listener({ broadcast: true }), listener({ broadcast: true })])
  const workers = await Promise.all([listener({ broadcast: false }), listener({ broadcast: false })])
  const ids = Array.from({ length: 16 }, (_, index) => `a${index}`)
  const publisher = createRedisBus(common)
  for (let n = 0; n < 5; n += 1)
    await publisher.publish(ids.map((aggregateId) => new Noted({ aggregateId, n })))

  await waitFor(() => instances.every(({ handled }) => handled.length === 80))
  await waitFor(() => workers.flatMap(({ handled }) => handled).length === 80)
  const expected = (id: string) => [0, 1, 2, 3, 4].map((n) => `${id} ${n}`)
  for (const { handled } of instances)
    for (const id of ids) expect(handled.filter((text) => text.startsWith(`${id} `))).toEqual(expected(id))
  const keys = await (await connectClient()).keys(`{${common.streamPrefix}}:stream:*of4`)
  expect(keys).toHaveLength(4)
  await Promise.all(instances.map(({ bus }) => bus.shutdown()))
  const client = await connectClient()
  for (const key of keys) {
    const groups = await client.xInfoGroups(key)
    expect(groups.map(({ name }) => String(name))).toEqual(['default'])
  }
})
