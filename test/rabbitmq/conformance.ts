import { connect } from 'amqplib'
import { afterAll, afterEach, describe, it } from 'vitest'
import { namesOf, type RabbitMQNames } from '../../src/rabbitmq/client/names.ts'
import { RabbitMQEventBus } from '../../src/rabbitmq/index.ts'
import { type CreateBusOptions, describeEventBus, type SuiteRunner } from '../../src/testing/index.ts'
import type { Broker } from '../brokers/broker.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { LACKS } from '../support/lacks-of-buses.ts'
import { paced } from '../support/pace.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

/** The waiting queues of a group, by the last part of their names. */
const WAITS_MS = Array.from({ length: 10 }, (_, power) => 250 * 4 ** power)

/** Runs the conformance suite over one type of queue, on a RabbitMQ that it kills and restarts. */
export async function describeRabbitMQ(
  queueType: 'classic' | 'quorum',
  runner: SuiteRunner = { describe, it },
): Promise<void> {
  const rabbitmq = await launchBroker('rabbitmq')
  // The buses of the suite have exactly the rights that docs/rabbitmq.md names.
  const own = '^conformance-'
  await rabbitmq.exec('rabbitmqctl', '--quiet', 'add_user', 'bus', 'secret')
  await rabbitmq.exec('rabbitmqctl', '--quiet', 'set_permissions', 'bus', own, `${own}|^amq\\.default$`, own)
  const urlOf = (port: number) => `amqp://bus:secret@127.0.0.1:${port}/`
  process.env['EVENTSPINE_TEST_RABBITMQ_URL'] = urlOf(rabbitmq.port)
  process.env['EVENTSPINE_TEST_QUEUE_TYPE'] = queueType
  const proxies = new Map<unknown, TcpProxy>()
  let isUnreachable = false
  const groups = new Map<string, RabbitMQNames>()

  // A restarted RabbitMQ recovers its queues one by one, so each test deletes its own.
  afterEach(async () => {
    await onChannel(rabbitmq.url, async (channel) => {
      for (const {
        queue,
        deadLetterQueue,
        bindingsQueue,
        groupsQueue,
        journal,
        ...exchanges
      } of groups.values()) {
        for (const name of [queue, deadLetterQueue, bindingsQueue, groupsQueue, journal])
          await channel.deleteQueue(name)
        await Promise.all(WAITS_MS.map((ms) => channel.deleteQueue(`${queue}.waiting.${ms}`)))
        await channel.deleteExchange(exchanges.deadLetterExchange)
        await channel.deleteExchange(exchanges.exchange)
      }
    })
    groups.clear()
  })

  afterAll(async () => {
    for (const proxy of proxies.values()) proxy.close()
    await rabbitmq.dispose()
  })

  async function create({ scope, ...options }: CreateBusOptions): Promise<RabbitMQEventBus> {
    const names = namesOf({ exchangeName: scope, dlqExchangeSuffix: '_dlq' }, options.consumerGroup)
    groups.set(names.queue, names)
    const proxy = await TcpProxy.start({ host: '127.0.0.1', port: rabbitmq.port })
    const bus = new RabbitMQEventBus({
      // Enough for a prefetch of 100 on a quorum queue, which returns messages to its end: a consumer that crashes keeps the
      // order only if it held all messages.
      maxInFlightBytes: 100 * 1024 * 1024,
      ...options,
      rabbitmqUrl: urlOf(proxy.port),
      exchangeName: scope,
      queueType,
      // The tests of browsing give their bus this group.
      journal: options.consumerGroup === 'browser',
      prefetchCount: 100,
      // Makes the broker notice a vanished consumer soon.
      heartbeatMs: 1000,
    })
    proxy.setDown(isUnreachable)
    proxies.set(bus, proxy)
    return bus
  }

  function setUnreachable(isAway: boolean): void {
    isUnreachable = isAway
    for (const proxy of proxies.values()) proxy.setDown(isUnreachable)
  }

  async function kill(): Promise<void> {
    if (queueType === 'quorum') await registerQuorumQueues(rabbitmq)
    await rabbitmq.kill()
  }

  describeEventBus(`rabbitmq, ${queueType} queues`, {
    runner,
    create,
    module: new URL('./conformance-bus.ts', import.meta.url),
    lacks: LACKS.rabbitmq,
    faults: {
      publishRaw: (scope, { headers: { event_id, ...headers }, body }) =>
        onChannel(rabbitmq.url, async (channel) => {
          const routingKey = `${headers['aggregate_type'] ?? ''}.${headers['event_type'] ?? ''}`
          const id = event_id === undefined ? {} : { messageId: event_id }
          channel.publish(scope, routingKey, Buffer.from(body), { ...id, headers })
          await channel.waitForConfirms()
        }),
      loseTopology: (scope, group) =>
        onChannel(rabbitmq.url, async (channel) => {
          await channel.deleteQueue(`${scope}.${group}`)
        }),
      cutConnections: () => {
        for (const proxy of proxies.values()) proxy.cut()
      },
      stopBroker: async (_scope, outage) => {
        if (outage === 'unreachable') setUnreachable(true)
        else await kill()
      },
      startBroker: async () => {
        if (isUnreachable) setUnreachable(false)
        else await rabbitmq.start()
      },
      loseConfirmations: (_scope, isLosing) => {
        for (const proxy of proxies.values()) proxy.loseAnswers(isLosing)
      },
      crash: (bus) => proxies.get(bus)?.freeze(),
      idleLimitMs: 3500,
    },
    waitMs: paced(10_000),
  })
}

/**
 * Makes RabbitMQ write its list of quorum queues to disk, which it otherwise does every few seconds only. If it is killed
 * before that, the log of a new queue exists but its name does not: RabbitMQ starts an empty log under that name, which
 * never gets a leader. No publish to that queue is answered then.
 */
async function registerQuorumQueues(rabbitmq: Broker): Promise<void> {
  await rabbitmq.exec('rabbitmqctl', 'eval', '[ok = dets:sync(Table) || Table <- dets:all()].')
}

type Channel = Awaited<ReturnType<Awaited<ReturnType<typeof connect>>['createConfirmChannel']>>

async function onChannel(url: string, work: (channel: Channel) => Promise<void>): Promise<void> {
  const connection = await connect(url)
  try {
    await work(await connection.createConfirmChannel())
  } finally {
    await connection.close()
  }
}
