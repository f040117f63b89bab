import { createClient } from 'redis'
import { openConnection } from '../../src/rabbitmq/client/client.ts'
import { RabbitMQTopology } from '../../src/rabbitmq/client/topology.ts'
import { resolveRabbitMQOptions } from '../../src/rabbitmq/options.ts'
import { resolveRedisOptions } from '../../src/redis/options.ts'
import type { BrokerRest } from '../../src/verify/run.ts'
import type { Broker } from '../brokers/broker.ts'
import type { TortureBroker } from './torture-broker.ts'
import { createTortureBus } from './torture-bus.ts'

/** Reads the unsettled messages of a group from the broker, without the bus if possible. */
export function restOf(
  { broker, port }: TortureBroker,
  scope: string,
  group: string,
  partitions = 1,
): Promise<BrokerRest> {
  switch (broker.kind) {
    case 'redis':
      return redisRest(broker, scope, group, partitions)
    case 'rabbitmq':
      return rabbitmqRest(broker, scope, group, partitions)
    case 'kafka':
      return kafkaRest(port, scope, group)
  }
}

async function redisRest(
  broker: Broker,
  scope: string,
  group: string,
  partitions: number,
): Promise<BrokerRest> {
  const { keys } = resolveRedisOptions({ streamPrefix: scope, consumerGroup: group, partitions })
  const client = createClient({ url: broker.url, RESP: 2 })
  await client.connect()
  try {
    let unsettled = 0
    const details: string[] = []
    const replays = keys.streams.map((_key, partition) => keys.replays(group, partition))
    for (const key of [...keys.streams, ...replays]) {
      const groups = await client.xInfoGroups(key)
      const found = groups.find(({ name }) => String(name) === group)
      if (found === undefined) continue
      // Null if entries inside the stream were deleted, as settled replays are.
      const lag = found['lag'] ?? 0
      unsettled += found.pending + lag
      details.push(`${key}: ${found.pending} pending, ${lag} unread`)
    }
    return { group, unsettled, detail: details.join('; ') }
  } finally {
    client.destroy()
  }
}

async function rabbitmqRest(
  broker: Broker,
  scope: string,
  group: string,
  partitions: number,
): Promise<BrokerRest> {
  const options = resolveRabbitMQOptions({ exchangeName: scope, consumerGroup: group, partitions })
  const connection = await openConnection(broker.url, {})
  try {
    const channel = await connection.createChannel()
    const { queues } = new RabbitMQTopology(options)
    const states = await Promise.all(queues.map((queue) => channel.checkQueue(queue)))
    const unsettled = states.reduce((sum, { messageCount }) => sum + messageCount, 0)
    return { group, unsettled, detail: `${unsettled} messages in ${queues.join(', ')}` }
  } finally {
    await connection.close()
  }
}

/** The difference between log ends and committed offsets, as `health` reports it. */
async function kafkaRest(port: number, scope: string, group: string): Promise<BrokerRest> {
  const names = { consumerGroup: group, consumerName: 'end' }
  const bus = createTortureBus({ kind: 'kafka', port, scope, ...names })
  try {
    await bus.connect()
    const { checks } = await bus.health({ timeoutMs: 10_000 })
    const unsettled = checks.lag.value
    if (unsettled === undefined) throw new Error('The broker did not report the lag.')
    return { group, unsettled, detail: `${unsettled} between the committed offsets and the ends of the log` }
  } finally {
    await bus.shutdown()
  }
}
