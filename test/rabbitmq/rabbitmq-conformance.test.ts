import { connect } from 'amqplib'
import { afterAll, describe, it } from 'vitest'
import { RabbitMQEventBus } from '../../src/rabbitmq/index.ts'
import { type CreateBusOptions, describeEventBus } from '../../src/testing/index.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

// A RabbitMQ of this file's own: the suite stops it, kills it and starts it again.
const rabbitmq = await launchBroker('rabbitmq')
const proxies = new Map<unknown, TcpProxy>()

afterAll(async () => {
  for (const proxy of proxies.values()) proxy.close()
  await rabbitmq.dispose()
})

const create =
  (queueType: 'classic' | 'quorum') =>
  async ({ scope, ...options }: CreateBusOptions): Promise<RabbitMQEventBus> => {
    const proxy = await TcpProxy.start({ host: '127.0.0.1', port: rabbitmq.port })
    const bus = new RabbitMQEventBus({
      ...options,
      rabbitmqUrl: `amqp://guest:guest@127.0.0.1:${proxy.port}/`,
      exchangeName: scope,
      queueType,
      prefetchCount: 100,
      // So that the broker soon knows of a consumer that vanished.
      heartbeatMs: 1000,
    })
    proxies.set(bus, proxy)
    return bus
  }

async function onChannel(work: (channel: Awaited<ReturnType<typeof openChannel>>['channel']) => Promise<unknown>) {
  const { connection, channel } = await openChannel()
  try {
    await work(channel)
  } finally {
    await connection.close()
  }
}

async function openChannel() {
  const connection = await connect(rabbitmq.url)
  return { connection, channel: await connection.createConfirmChannel() }
}

for (const queueType of ['classic', 'quorum'] as const) {
  describeEventBus(`rabbitmq, ${queueType} queues`, {
    runner: { describe, it },
    create: create(queueType),
    lacks: { history: 'a queue gets what is published after its group first consumed' },
    faults: {
      publishRaw: (scope, { headers, body }) =>
        onChannel(async (channel) => {
          const { event_id, ...rest } = headers
          const routingKey = `${headers['aggregate_type'] ?? ''}.${headers['event_type'] ?? ''}`
          const properties = event_id === undefined ? {} : { messageId: event_id }
          channel.publish(scope, routingKey, Buffer.from(body), { ...properties, headers: rest })
          await channel.waitForConfirms()
        }),
      loseTopology: (scope, group) => onChannel((channel) => channel.deleteQueue(`${scope}.${group}`)),
      cutConnections: () => {
        for (const proxy of proxies.values()) proxy.cut()
      },
      stopBroker: () => rabbitmq.kill(),
      startBroker: () => rabbitmq.start(),
      crash: (bus) => proxies.get(bus)?.freeze(),
      idleLimitMs: 3500,
    },
  })
}
