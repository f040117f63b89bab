import { join } from 'node:path'
import { expect, inject, it } from 'vitest'
import type { GroupInfo } from '../../src/index.ts'
import { kafkaVersion } from '../brokers/images.ts'
import { kafkaJars } from '../brokers/kafka-artifacts.ts'
import { quickStart } from '../brokers/kafka-preparation.ts'
import { run } from '../brokers/run.ts'
import { shell } from '../redis/shell.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { obstacleToProtocol } from './protocols.ts'
import { committedOf, consume, createBus, freshName, until } from './scene.ts'

const server = inject('kafkaBootstrapServers')
const PARTITIONS = 3
const COUNT = 30

/** Runs Kafka's own kafka-consumer-groups.sh. */
async function consumerGroups(...args: readonly string[]): Promise<readonly (readonly string[])[]> {
  const [major = 0, minor = 0] = kafkaVersion().split('.').map(Number)
  const isOld = major < 3 || (major === 3 && minor < 8)
  const tool = `${isOld ? 'kafka.admin' : 'org.apache.kafka.tools.consumer.group'}.ConsumerGroupCommand`
  const options = [...quickStart, '-Dorg.slf4j.simpleLogger.defaultLogLevel=error']
  const place = [
    '-cp',
    join(await kafkaJars(), '*'),
    tool,
    '--bootstrap-server',
    server,
    '--timeout',
    '60000',
  ]
  const table = await run('java', [...options, ...place, ...args])
  return table.split('\n').map((line) => line.split(/\s+/))
}

it('reports the lag and the members of each group that kafka-consumer-groups.sh reports', async () => {
  const topicPrefix = freshName()
  const options = { topicPrefix, topicPartitions: PARTITIONS }
  const groups = ['idle', 'busy', ...(obstacleToProtocol('consumer') === undefined ? ['newer'] : [])].map(
    (name) => `${topicPrefix}-${name}`,
  )
  const gate = Promise.withResolvers<void>()
  const isOpen = { now: true }
  const buses = await Promise.all(
    groups.map(async (consumerGroup) => {
      const groupProtocol = consumerGroup.endsWith('newer') ? 'consumer' : 'classic'
      const bus = createBus({ ...options, consumerGroup, groupProtocol })
      bus.subscribe(OrderCreated, () => (isOpen.now ? undefined : gate.promise))
      return consume(bus)
    }),
  )
  const publisher = createBus(options)
  const orders = () => Array.from({ length: COUNT }, (_, n) => orderCreated(`Order-${n}`))
  await publisher.publish(orders())
  const committed = async (group: string) => {
    const offsets = await committedOf(`${topicPrefix}.stream`, group)
    return [...offsets.values()].reduce((sum, { offset }) => sum + offset, 0)
  }
  for (const group of groups) await until(`${group} commits`, async () => (await committed(group)) === COUNT)
  await buses[0]?.shutdown()
  isOpen.now = false
  await publisher.publish(orders())
  await until('all in flight', () => buses.slice(1).every((bus) => bus.getStats().inFlight === COUNT))

  const named = groups.flatMap((group) => ['--group', group])
  const [command, described, members] = await Promise.all([
    shell(`kafka://${server}`, topicPrefix).run('groups', '--json'),
    consumerGroups('--describe', ...named),
    consumerGroups('--describe', '--members', ...named),
  ])

  gate.resolve()
  const reported: readonly GroupInfo[] = JSON.parse(command.stdout).groups
  expect(reported.map(({ name }) => name)).toEqual(groups.toSorted())
  for (const { name, lag, members: count, partitions } of reported) {
    const rows = described.filter(([group, topic]) => group === name && topic === `${topicPrefix}.stream`)
    const expected = rows.map(([, , partition, , , behind]) => [Number(partition), Number(behind)])
    expect([described, expected.length]).toEqual([expect.anything(), PARTITIONS])
    expect(partitions.map((one) => [one.partition, one.lag])).toEqual(expected.toSorted())
    expect(lag).toBe(COUNT)
    expect([name, count]).toEqual([name, members.filter(([group]) => group === name).length])
  }
})
