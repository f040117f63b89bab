import { inspect } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type DomainEvent, MessageRefusedError, PublishError } from '../../src/index.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import {
  consume,
  createBus,
  freshName,
  hasQueue,
  noticesOf,
  plainChannel,
  proxiedBus,
  recorder,
  until,
} from './scene.ts'

const broker = async (...config: string[]) => {
  const launched = await launchBroker('rabbitmq', { config })
  onTestFinished(() => launched.dispose())
  return launched
}

/** Removes a queue from the broker's records, whose process and consumers are not notified. */
const removeRecordOf = (queue: string) => `
  Name = rabbit_misc:r(<<"/">>, queue, <<"${queue}">>),
  {ok, Queue} = rabbit_amqqueue:lookup(Name),
  try rabbit_amqqueue:internal_delete(Name, <<"test">>)
  catch _:_ -> rabbit_amqqueue:internal_delete(Queue, <<"test">>) end.`

describe('while it runs', () => {
  it.each([
    { batchSize: 1, maxConcurrentPublishes: 1, sent: 1 },
    { batchSize: 3, maxConcurrentPublishes: 2, sent: 6 },
  ])(
    'has at most $sent messages unconfirmed, and reports only those as unknown',
    async ({ sent, ...options }) => {
      const { bus, proxy } = await proxiedBus({ publishTimeoutMs: paced(300), ...options })
      await bus.connect()
      await bus.publish([orderCreated()])
      proxy.freeze()
      const error = await bus
        .publish(Array.from({ length: 10 }, () => orderCreated()))
        .catch((thrown) => thrown)
      if (!(error instanceof PublishError)) throw error
      const statuses = error.outcomes.map(({ status }) => status)
      expect(statuses).toEqual([...Array(sent).fill('unknown'), ...Array(10 - sent).fill('notStored')])
    },
  )

  it('publishes events of an outage after it, and reports only messages in flight as unknown', async () => {
    const exchangeName = freshName()
    const consumer = createBus({ exchangeName, prefetchCount: 100 })
    const events = recorder(consumer)
    await consume(consumer)
    const { bus, proxy } = await proxiedBus({ exchangeName, reconnectDelayMs: 50 })
    const publishes: Promise<string>[] = []
    const publishMore = () => {
      for (let n = 0; n < 100; n += 1) {
        const outcome = bus.publish([orderCreated(`Order-${publishes.length}`)]).then(
          () => 'stored',
          (error: unknown) =>
            (error instanceof PublishError ? error.outcomes[0]?.status : undefined) ?? 'strange',
        )
        publishes.push(outcome)
      }
    }
    await bus.connect()
    publishMore()
    proxy.setDown(true)
    await until('the loss', () => !bus.isConnected)
    publishMore()
    proxy.setDown(false)
    publishMore()

    const outcomes = await Promise.all(publishes)
    expect(outcomes.slice(100)).toEqual(Array(200).fill('stored'))
    expect(new Set(outcomes)).toEqual(new Set(['unknown', 'stored']))
    await until('all that is stored', () => {
      const handled = new Set(events.map(({ aggregateId }) => aggregateId))
      return outcomes.every((outcome, n) => outcome === 'unknown' || handled.has(`Order-${n}`))
    })
  })

  it('holds at most prefetchCount messages, and at most maxInFlight', async () => {
    for (const options of [{ prefetchCount: 3 }, { prefetchCount: 50, maxInFlight: 3 }]) {
      const bus = createBus(options)
      const gate = Promise.withResolvers<void>()
      bus.subscribeToAllEvents(() => gate.promise)
      await consume(bus)
      await bus.publish(Array.from({ length: 8 }, (_, n) => orderCreated(`Order-${n}`)))
      await until('three to be held', () => bus.getStats().inFlight === 3)
      await until('the rest to wait', async () => (await bus.getQueueInfo()).messageCount === 5)
      gate.resolve()
      await until('all to be handled', () => bus.getStats().eventsProcessedSuccess === 8)
    }
  })

  it('shows no password when it is inspected', async () => {
    const bus = createBus({ rabbitmqUrl: 'amqp://user:hunter2@127.0.0.1:1/', consumerName: 'worker-1' })
    const error = await bus.connect().catch((thrown: unknown) => thrown)
    for (const value of [bus, error, bus.getStats(), await bus.health()]) {
      expect(inspect(value, { depth: 20, showHidden: true })).not.toContain('hunter2')
    }
    expect(bus.consumerName).toBe('worker-1')
  })

  it('recreates a deleted exchange, and binds its queue to it', async () => {
    const exchangeName = freshName()
    const bus = createBus({ exchangeName })
    const notices = noticesOf(bus)
    const events = recorder(bus)
    await consume(bus)
    const channel = await plainChannel()
    await channel.deleteExchange(exchangeName)

    // The broker closes the publisher's channel, so it is unknown which messages in flight it has stored.
    const error = await bus.publish([orderCreated('early')]).catch((thrown: unknown) => thrown)
    if (!(error instanceof PublishError)) throw new Error('the publish should have been rejected')
    expect(error.outcomes).toMatchObject([{ status: 'unknown', error: { code: 'CONNECTION_FAILED' } }])
    expect(error.message).toContain(`no exchange '${exchangeName}'`)
    // The channel and the exchange are restored at once, the binding at the consumer's next check.
    await bus.publish([orderCreated('unbound')])
    expect(bus.getStats().publishReturns).toBe(1)
    await until('the event', async () => {
      await bus.publish([orderCreated()])
      return events.length > 0
    })
    expect(notices.filter(({ type }) => type === 'connectionLost')).toEqual([])
  })

  it('recreates a deleted queue, and reports the loss', async () => {
    const exchangeName = freshName()
    const bus = createBus({ exchangeName })
    const notices = noticesOf(bus)
    const events = recorder(bus)
    await consume(bus)
    const channel = await plainChannel()
    await channel.deleteQueue(`${exchangeName}.default`)
    await until('the notice', () => notices.length >= 2)
    expect(notices.map(({ type }) => type)).toEqual(['eventsLost', 'topologyRestored'])
    await bus.publish([orderCreated()])
    await until('the event', () => events.length === 1)
  })

  it.each([1, 2])(
    'recreates a queue that is deleted without a notice to its consumer (partitions: %i)',
    async (partitions) => {
      const server = await broker()
      const exchangeName = freshName()
      const bus = createBus({ rabbitmqUrl: server.url, exchangeName, partitions })
      const notices = noticesOf(bus)
      const events = recorder(bus)
      await consume(bus)
      const queue = partitions === 1 ? `${exchangeName}.default` : `${exchangeName}.default.partition-000`
      await server.exec('rabbitmqctl', 'eval', removeRecordOf(queue))
      await until('the notice', () => notices.some(({ type }) => type === 'topologyRestored'))
      // RabbitMQ 4 closes the connection as soon as the queue is declared again.
      expect(notices.map(({ type }) => type)).toContain('eventsLost')
      const ids = Array.from({ length: 20 }, (_, index) => `Order-${index}`)
      await bus.publish(ids.map((id) => orderCreated(id)))
      await until('the events', () => events.length === ids.length)
    },
  )

  it('reports that it is not consuming while its queue has other arguments, and resumes afterwards', async () => {
    const exchangeName = freshName()
    const queue = `${exchangeName}.default`
    const logger = new RecordingLogger()
    const bus = createBus({ exchangeName, logger, reconnectDelayMs: 50, maxReconnectDelayMs: 50 })
    const notices = noticesOf(bus)
    const events = recorder(bus)
    await consume(bus)
    // The bus declares the queue too, so it may take several attempts to be first.
    const isReplaced = async () => {
      const channel = await plainChannel()
      const deleted = channel.deleteQueue(queue)
      return Promise.all([deleted, channel.assertQueue(queue, { durable: true })]).then(
        () => true,
        () => false,
      )
    }
    await until('another queue of that name', isReplaced)

    await until('the loss to be reported', () => !bus.isConnected)
    expect(await bus.health()).toMatchObject({ status: 'down', checks: { connected: { status: 'down' } } })
    const refusals = () => logger.lines.filter(({ message }) => message.startsWith('reconnecting refused'))
    await until('a refusal to be logged', () => refusals().length > 0)
    expect(String(refusals()[0]?.fields['error'])).toContain("inequivalent arg 'x-dead-letter-exchange'")

    await (await plainChannel()).deleteQueue(queue)
    await until('the reconnection', () => bus.isConnected)
    await bus.publish([orderCreated()])
    await until('the event', () => events.length === 1)
    // Without backoff, each attempt would have logged an error.
    expect(refusals().length).toBeLessThan(8)
    expect(notices.map(({ type }) => type).filter((type) => /onnect/.test(type))).toEqual([
      'connectionLost',
      'reconnected',
    ])
  })

  it('counts as connected once it stops consuming from a queue that it cannot declare', async () => {
    const exchangeName = freshName()
    const { bus, proxy } = await proxiedBus({ exchangeName, reconnectDelayMs: 50, maxReconnectDelayMs: 50 })
    await consume(bus)
    const channel = await plainChannel()
    proxy.setDown(true)
    await channel.deleteQueue(`${exchangeName}.default`)
    await channel.assertQueue(`${exchangeName}.default`, { durable: true })
    proxy.setDown(false)
    // The publisher can reconnect, the consumer cannot.
    await until('the publisher', () => bus.publish([orderCreated()]).then(() => true))
    expect(bus.isConnected).toBe(false)
    await bus.stopConsuming()
    expect(bus.isConnected).toBe(true)
    const { status, checks } = await bus.health()
    expect([status, checks.consuming.detail]).toEqual(['up', 'not started'])
  })

  it('handles the messages it held when its queue was deleted', async () => {
    const exchangeName = freshName()
    const bus = createBus({ exchangeName, concurrency: 1 })
    const gate = Promise.withResolvers<void>()
    const events: DomainEvent[] = []
    bus.subscribe(OrderCreated, async (event) => {
      events.push(event)
      await gate.promise
    })
    await consume(bus)
    await bus.publish([orderCreated('a'), orderCreated('b')])
    await until('the first', () => events.length === 1)
    const channel = await plainChannel()
    await channel.deleteQueue(`${exchangeName}.default`)
    await until('the queue', () => hasQueue(`${exchangeName}.default`))
    gate.resolve()
    await until('both', () => events.length === 2)
  })

  it('refuses only the message that is too large', async () => {
    const { url } = await broker('max_message_size = 20000')
    const bus = createBus({ rabbitmqUrl: url })
    await bus.publish([orderCreated()])
    const large = new OrderCreated({ aggregateId: 'Order-1', customerId: 'x'.repeat(30_000) })
    for (const _attempt of ['refused by the broker', 'refused by the bus']) {
      const error = await bus.publish([large]).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(PublishError)
      if (!(error instanceof PublishError)) return
      expect(error.outcomes[0]).toMatchObject({ status: 'notStored', error: expect.any(MessageRefusedError) })
      expect(error.message).toContain('20000')
    }
    await bus.publish([orderCreated()])
    // A message that needs several frames (of 128 KiB) is not too large.
    const other = createBus()
    const events = recorder(other)
    await consume(other)
    const framed = new OrderCreated({ aggregateId: 'Order-1', customerId: 'ü'.repeat(300_000) })
    await other.publish([framed])
    await until('the large event', () => events.length === 1)
    expect(JSON.stringify(events[0])).toBe(JSON.stringify(framed))
  })

  it('reports a message that a queue refused, and no other', async () => {
    const exchangeName = freshName()
    const bus = createBus({ exchangeName })
    await bus.connect()
    const channel = await plainChannel()
    const full = { arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } }
    const { queue } = await channel.assertQueue('', { exclusive: true, ...full })
    await channel.bindQueue(queue, exchangeName, '#')
    await bus.publish([orderCreated()])
    const error = await bus.publish([orderCreated()]).catch((thrown: unknown) => thrown)
    if (!(error instanceof PublishError)) throw new Error('the publish should have been rejected')
    // Another queue may have stored it.
    expect(error.outcomes).toMatchObject([{ status: 'unknown', error: expect.any(MessageRefusedError) }])
    expect(error.retryable).toBe(true)
    expect(error.message).toContain('nack')
    await channel.purgeQueue(queue)
    await bus.publish([orderCreated()])
    expect(bus.getStats().eventsPublished).toBe(2)
  })

  it('publishes the longest headers, and refuses longer ones', async () => {
    const bus = createBus()
    const id = '漢'.repeat(4096)
    const ids = { aggregateId: id, tenantId: id, actorId: id, correlationId: id, causationId: id }
    await bus.publish([new OrderCreated({ ...ids, customerId: 'c' })])
    const long = new OrderCreated({ ...ids, customerId: 'c', tenantId: `${id}t` })
    await expect(bus.publish([long])).rejects.toThrow('tenantId has 4097 characters, more than the 4096')
    await bus.publish([new OrderCreated({ ...ids, customerId: 'c' })])
  })

  it('reopens its channel after an acknowledgment timeout', async () => {
    // The broker checks once a minute by default. One in a container does not get these start arguments.
    process.env['RABBITMQ_SERVER_START_ARGS'] = '-rabbit channel_tick_interval 500'
    const { url } = await broker('consumer_timeout = 1000')
    delete process.env['RABBITMQ_SERVER_START_ARGS']
    const logger = new RecordingLogger()
    const bus = createBus({ rabbitmqUrl: url, logger })
    let runs = 0
    const done: string[] = []
    const isReopened = () => logger.lines.some(({ message }) => message.startsWith('channel closed'))
    bus.subscribe(OrderCreated, async (event) => {
      runs += 1
      if (runs === 1) await until('the timeout', isReopened, 80_000)
      done.push(event.aggregateId)
    })
    await consume(bus)
    await bus.publish([orderCreated('slow')])
    await until('the slow one', () => done.length === 1, 90_000)
    await bus.publish([orderCreated('next')])
    await until('the next one', () => done.includes('next'))
    await until('the queue to be empty', async () => (await bus.getQueueInfo()).messageCount === 0)
    // The broker redelivered the slow event; its handler had succeeded, so it was not called again.
    expect(done).toEqual(['slow', 'next'])
    expect(runs).toBe(2)
  })
})

describe('retries', () => {
  it('do not keep messages from an idle worker', async () => {
    const exchangeName = freshName()
    const options = { exchangeName, prefetchCount: 1, retryBaseDelayMs: 60_000, retryMaxDelayMs: 60_000 }
    const failing = createBus(options)
    failing.subscribe(OrderCreated, () => {
      throw new Error('expected failure')
    })
    await consume(failing)
    await failing.publish([orderCreated('bad')])
    await until('the retry to wait', () => failing.getStats().handlerErrors === 1)
    const idle = createBus(options)
    const events = recorder(idle)
    await consume(idle)
    await idle.publish(Array.from({ length: 20 }, (_, n) => orderCreated(`Order-${n}`)))
    await until('all the others', () => events.length === 20, 5000)
    expect(failing.getStats().inFlight).toBe(1)
  })

  it('stay in their group and in order, and hold back no other aggregate', async () => {
    const exchangeName = freshName()
    const healthy = createBus({ exchangeName, consumerGroup: 'healthy' })
    const seen = recorder(healthy)
    await consume(healthy)
    const bus = createBus({
      exchangeName,
      consumerGroup: 'failing',
      retryBaseDelayMs: 300,
      retryMaxDelayMs: 300,
    })
    const order: string[] = []
    let failures = 0
    bus.subscribe(OrderCreated, ({ aggregateId, customerId }) => {
      order.push(`${aggregateId}:${customerId}`)
      if (customerId === '1' && ++failures <= 2) throw new Error('not yet')
    })
    await consume(bus)
    const event = (aggregateId: string, customerId: string) => new OrderCreated({ aggregateId, customerId })
    await bus.publish([event('bad', '1'), event('bad', '2'), event('good', '3')])
    await until('all', () => order.length === 5)
    expect(order).toEqual(['bad:1', 'good:3', 'bad:1', 'bad:1', 'bad:2'])
    expect(seen).toHaveLength(3)
  })
})

it('has at most two dead letters of an event if the connection breaks between dead letter and acknowledgment', async () => {
  const exchangeName = freshName()
  const { bus, proxy } = await proxiedBus({ exchangeName, maxRetries: 0 })
  const channel = await plainChannel()
  const letters = async () => (await channel.checkQueue(`${exchangeName}.default.dlq`)).messageCount
  bus.subscribe(OrderCreated, () => {
    proxy.loseAnswers(true)
    throw new Error('expected failure')
  })
  await consume(bus)
  await createBus({ exchangeName }).publish([orderCreated()])
  await until('the dead letter that is not confirmed', async () => (await letters()) === 1)

  proxy.loseAnswers(false)

  await until('the second one', () => bus.getStats().messagesSentToDlq === 1)
  await until('an empty queue', async () => (await bus.getQueueInfo()).messageCount === 0)
  const { deadLetters } = await bus.deadLetters.list()
  expect(deadLetters.length).toBeLessThanOrEqual(2)
  expect(new Set(deadLetters.map(({ eventId }) => eventId)).size).toBe(1)
})
