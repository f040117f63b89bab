import { inspect } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type DomainEvent, MessageRefusedError, PublishError } from '../../src/index.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
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

describe('while it runs', () => {
  it.each([
    { batchSize: 1, maxConcurrentPublishes: 1, sent: 1 },
    { batchSize: 3, maxConcurrentPublishes: 2, sent: 6 },
  ])(
    'has at most $sent messages unconfirmed, and tells them from those not sent',
    async ({ sent, ...options }) => {
      const { bus, proxy } = await proxiedBus({ publishTimeoutMs: 300, ...options })
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

  it('publishes after a cut what came during it; only what was on its way is unknown', async () => {
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

  it('takes no more messages than prefetchCount, and no more than maxInFlight', async () => {
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

  it('declares an exchange again that was deleted, and binds its queue to it', async () => {
    const exchangeName = freshName()
    const bus = createBus({ exchangeName })
    const notices = noticesOf(bus)
    const events = recorder(bus)
    await consume(bus)
    const channel = await plainChannel()
    await channel.deleteExchange(exchangeName)

    // The broker closes the publisher's channel over it; which of the messages on their way it had is not known.
    const error = await bus.publish([orderCreated('early')]).catch((thrown: unknown) => thrown)
    if (!(error instanceof PublishError)) throw new Error('it was to reject')
    expect(error.outcomes).toMatchObject([{ status: 'unknown', error: { code: 'CONNECTION_FAILED' } }])
    expect(error.message).toContain(`no exchange '${exchangeName}'`)
    // The channel and the exchange are there again at once, the binding at the consumer's next look.
    await bus.publish([orderCreated('unbound')])
    expect(bus.getStats().publishReturns).toBe(1)
    await until('the event', async () => {
      await bus.publish([orderCreated()])
      return events.length > 0
    })
    expect(notices.filter(({ type }) => type === 'connectionLost')).toEqual([])
  })

  it('declares a queue again that was deleted, and reports what was lost', async () => {
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

  it('says that it is not consuming while its queue stands there otherwise, and goes on when that ends', async () => {
    const exchangeName = freshName()
    const queue = `${exchangeName}.default`
    const logger = new RecordingLogger()
    const bus = createBus({ exchangeName, logger, reconnectDelayMs: 50, maxReconnectDelayMs: 50 })
    const notices = noticesOf(bus)
    const events = recorder(bus)
    await consume(bus)
    // The bus declares it again, so that it may take more than one attempt to be there first.
    const isReplaced = async () => {
      const channel = await plainChannel()
      const deleted = channel.deleteQueue(queue)
      return Promise.all([deleted, channel.assertQueue(queue, { durable: true })]).then(
        () => true,
        () => false,
      )
    }
    await until('another queue of that name', isReplaced)

    await until('the loss to show', () => !bus.isConnected)
    expect(await bus.health()).toMatchObject({ status: 'down', checks: { connected: { status: 'down' } } })
    const complaints = () => logger.lines.filter(({ message }) => message.startsWith('reconnecting refused'))
    await until('a complaint', () => complaints().length > 0)
    expect(String(complaints()[0]?.fields['error'])).toContain("inequivalent arg 'x-dead-letter-exchange'")

    await (await plainChannel()).deleteQueue(queue)
    await until('the return', () => bus.isConnected)
    await bus.publish([orderCreated()])
    await until('the event', () => events.length === 1)
    // A storm would have complained at each attempt.
    expect(complaints().length).toBeLessThan(8)
    expect(notices.map(({ type }) => type).filter((type) => /onnect/.test(type))).toEqual([
      'connectionLost',
      'reconnected',
    ])
  })

  it('counts as connected again when it stops consuming from a queue that it cannot have', async () => {
    const exchangeName = freshName()
    const { bus, proxy } = await proxiedBus({ exchangeName, reconnectDelayMs: 50, maxReconnectDelayMs: 50 })
    await consume(bus)
    const channel = await plainChannel()
    proxy.setDown(true)
    await channel.deleteQueue(`${exchangeName}.default`)
    await channel.assertQueue(`${exchangeName}.default`, { durable: true })
    proxy.setDown(false)
    // The publisher comes back, the consumer cannot.
    await until('the publisher', () => bus.publish([orderCreated()]).then(() => true))
    expect(bus.isConnected).toBe(false)
    await bus.stopConsuming()
    expect(bus.isConnected).toBe(true)
    const { status, checks } = await bus.health()
    expect([status, checks.consuming.detail]).toEqual(['up', 'not asked to consume'])
  })

  it('handles what it held when its queue was deleted', async () => {
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

  it('refuses a message that is too large, and nothing else', async () => {
    const { url } = await broker('max_message_size = 20000')
    const bus = createBus({ rabbitmqUrl: url })
    await bus.publish([orderCreated()])
    const large = new OrderCreated({ aggregateId: 'Order-1', customerId: 'x'.repeat(30_000) })
    for (const _attempt of ['found out by the broker', 'known by now']) {
      const error = await bus.publish([large]).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(PublishError)
      if (!(error instanceof PublishError)) return
      expect(error.outcomes[0]).toMatchObject({ status: 'notStored', error: expect.any(MessageRefusedError) })
      expect(error.message).toContain('20000')
    }
    await bus.publish([orderCreated()])
    // What needs more than one frame (128 KiB), but is allowed.
    const other = createBus()
    const events = recorder(other)
    await consume(other)
    const framed = new OrderCreated({ aggregateId: 'Order-1', customerId: 'ü'.repeat(300_000) })
    await other.publish([framed])
    await until('the large event', () => events.length === 1)
    expect(JSON.stringify(events[0])).toBe(JSON.stringify(framed))
  })

  it('tells of a message that a queue refused, and of no other', async () => {
    const exchangeName = freshName()
    const bus = createBus({ exchangeName })
    await bus.connect()
    const channel = await plainChannel()
    const full = { arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } }
    const { queue } = await channel.assertQueue('', { exclusive: true, ...full })
    await channel.bindQueue(queue, exchangeName, '#')
    await bus.publish([orderCreated()])
    const error = await bus.publish([orderCreated()]).catch((thrown: unknown) => thrown)
    if (!(error instanceof PublishError)) throw new Error('it was to reject')
    // Another queue may have it.
    expect(error.outcomes).toMatchObject([{ status: 'unknown', error: expect.any(MessageRefusedError) }])
    expect(error.message).toContain('nack')
    await channel.purgeQueue(queue)
    await bus.publish([orderCreated()])
    expect(bus.getStats().eventsPublished).toBe(2)
  })

  it('refuses names that AMQP cannot hold', async () => {
    const bus = createBus()
    const event = new OrderCreated({ aggregateId: 'a'.repeat(10_000), customerId: 'c' })
    await bus.publish([event])
    const long = new OrderCreated({ aggregateId: 'a', customerId: 'c', tenantId: 't'.repeat(70_000) })
    await expect(bus.publish([long])).rejects.toMatchObject({ outcomes: [{ status: 'notStored' }] })
    await bus.publish([event])
  })

  it('opens its channel again when an acknowledgment took too long', async () => {
    // It looks once a minute by itself, or as often as its start arguments say, which a container does not see.
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
    // The broker delivered the slow one again; its handler had succeeded, so it was not called again.
    expect(done).toEqual(['slow', 'next'])
    expect(runs).toBe(2)
  }, 120_000)
})

describe('retries', () => {
  it('keep no message from a worker that is idle', async () => {
    const exchangeName = freshName()
    const options = { exchangeName, prefetchCount: 1, retryBaseDelayMs: 60_000, retryMaxDelayMs: 60_000 }
    const failing = createBus(options)
    failing.subscribe(OrderCreated, () => {
      throw new Error('as told')
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

  it('stay in the group, in order, and hold back nobody else', async () => {
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

it('gives a queue with a single active consumer to one of its consumers, and to the next with what that one left', async () => {
  const options = { exchangeName: freshName(), singleActiveConsumer: true }
  const never = Promise.withResolvers<void>()
  const active = createBus(options)
  const begun: string[] = []
  active.subscribe(OrderCreated, async ({ eventId }) => {
    begun.push(eventId)
    await never.promise
  })
  await consume(active)
  const standby = createBus(options)
  const seen = recorder(standby)
  await consume(standby)
  const events = Array.from({ length: 30 }, () => orderCreated('Order-1'))

  await active.publish(events)
  await until('the first event', () => begun.length === 1)
  await active.shutdown({ timeoutMs: 400 })

  await until('all events', () => seen.length === 30)
  expect(seen.map(({ eventId }) => eventId)).toEqual(events.map(({ eventId }) => eventId))
})

it('has two dead letters of an event at worst where it breaks between dead letter and acknowledgment', async () => {
  const exchangeName = freshName()
  const { bus, proxy } = await proxiedBus({ exchangeName, maxRetries: 0 })
  const channel = await plainChannel()
  const letters = async () => (await channel.checkQueue(`${exchangeName}.default.dlq`)).messageCount
  bus.subscribe(OrderCreated, () => {
    proxy.loseAnswers(true)
    throw new Error('as told')
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
