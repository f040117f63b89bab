import { describe, expect, it } from 'vitest'
import { ConfigError, ConnectionError, defineEvent, PublishError } from '../../src/index.ts'
import { UnroutableError } from '../../src/rabbitmq/index.ts'
import { OrderCreated, orderCancelled, orderCreated, orderShipped } from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { consume, createBus, freshName, hasQueue, plainChannel, recorder, typesOf, until } from './scene.ts'

class UserRegistered extends defineEvent<{ readonly name: string }>()({
  type: 'UserRegistered',
  aggregateType: 'User',
}) {}

const userRegistered = () => new UserRegistered({ aggregateId: 'User-1', name: 'Ada' })

describe('topic exchange', () => {
  it('matches each pattern as AMQP defines', async () => {
    const exchangeName = freshName()
    const patterns = ['#', 'Order.*', '*.OrderCreated', 'Order.OrderCreated']
    const received = await Promise.all(
      patterns.map(async (routingKeyPattern, index) => {
        const bus = createBus({ exchangeName, consumerGroup: `g${index}`, routingKeyPattern })
        const events = recorder(bus)
        await consume(bus)
        return events
      }),
    )
    await createBus({ exchangeName }).publish([orderCreated(), orderShipped(), userRegistered()])

    await until('all to arrive', () => received.flat().length >= 7)
    expect(received.map(typesOf)).toEqual([
      ['OrderCreated', 'OrderShipped', 'UserRegistered'],
      ['OrderCreated', 'OrderShipped'],
      ['OrderCreated'],
      ['OrderCreated'],
    ])
  })

  it('removes a binding that an earlier version of the program made', async () => {
    const exchangeName = freshName()
    const before = await consume(createBus({ exchangeName }))
    await before.shutdown()
    const bus = createBus({ exchangeName, routingKeyPattern: 'Order.*' })
    const events = recorder(bus)
    await consume(bus)

    await bus.publish([userRegistered(), orderCreated()])

    await until('the order', () => events.length > 0)
    expect(typesOf(events)).toEqual(['OrderCreated'])
    expect(bus.getStats().publishReturns).toBe(1)
  })

  it('keeps the bindings of running consumers', async () => {
    const exchangeName = freshName()
    const old = createBus({ exchangeName })
    const events = recorder(old)
    await consume(old)
    const next = createBus({ exchangeName, routingKeyPattern: 'Order.*' })
    next.subscribeToAllEvents((event) => void events.push(event))
    await consume(next)

    await next.publish([userRegistered()])

    await until('the event', () => events.length === 1)
    expect(next.getStats().publishReturns).toBe(0)
  })
})

describe('direct exchange', () => {
  it('binds the names that an event and its aggregate type had before', async () => {
    class Purchased extends defineEvent<{ readonly customerId: string }>()({
      type: 'Purchased',
      typeAliases: ['OrderCreated'],
      aggregateType: 'Purchase',
      aggregateTypeAliases: ['Order'],
    }) {}
    const bus = createBus({ exchangeType: 'direct' })
    const events: Purchased[] = []
    bus.subscribe(Purchased, (event) => void events.push(event))
    await consume(bus)

    await bus.publish([orderCreated(), new Purchased({ aggregateId: 'Order-1', customerId: 'c' })])

    await until('both', () => events.length === 2)
    expect(events.map(({ eventType, aggregateType }) => [eventType, aggregateType])).toEqual([
      ['Purchased', 'Purchase'],
      ['Purchased', 'Purchase'],
    ])
    expect(bus.getStats().publishReturns).toBe(0)
  })

  it('binds and unbinds in step with subscriptions while it consumes', async () => {
    const bus = await consume(createBus({ exchangeType: 'direct' }))
    const events: string[] = []
    const subscription = bus.subscribe(OrderCreated, (event) => void events.push(event.eventType))
    await until('the binding', async () => {
      await bus.publish([orderCreated()])
      return events.length > 0
    })

    subscription.unsubscribe()

    await until('the unbinding', async () => {
      const before = bus.getStats().publishReturns
      await bus.publish([orderCreated()])
      return bus.getStats().publishReturns > before
    })
  })

  it('delivers only events that match the bindings, even after its queue was deleted', async () => {
    const exchangeName = freshName()
    const bus = createBus({ exchangeName, exchangeType: 'direct', routingKeyPattern: '' })
    await bus.bindEventType(OrderCreated)
    const events = recorder(bus)
    await consume(bus)
    await bus.bindRoutingKey('Order.OrderCancelled')
    const all = () => [orderShipped(), orderCreated(), orderCancelled()]
    await bus.publish(all())
    await until('two events', () => events.length === 2)

    const channel = await plainChannel()
    await channel.deleteQueue(`${exchangeName}.default`)
    await until('the queue again', () => hasQueue(`${exchangeName}.default`))
    await until('the bindings', async () => {
      await bus.publish(all())
      return events.length >= 4
    })
    expect(new Set(typesOf(events))).toEqual(new Set(['OrderCancelled', 'OrderCreated']))

    await bus.unbindEventType(OrderCreated)
    await bus.unbindRoutingKey('Order.OrderCancelled')
    const before = bus.getStats().publishReturns
    await bus.publish(all())
    expect(bus.getStats().publishReturns).toBe(before + 3)
  })
})

describe('fanout and headers exchanges', () => {
  it.each(['fanout', 'headers'] as const)('%s delivers every event to every group', async (exchangeType) => {
    const exchangeName = freshName()
    const received = await Promise.all(
      ['a', 'b'].map(async (consumerGroup) => {
        const bus = createBus({ exchangeName, exchangeType, consumerGroup })
        const events = recorder(bus)
        await consume(bus)
        return events
      }),
    )
    await createBus({ exchangeName, exchangeType }).publish([orderCreated(), userRegistered()])
    await until('both groups', () => received.flat().length === 4)
    expect(received.map((events) => events.length)).toEqual([2, 2])
  })

  it('matches headers', async () => {
    const bus = createBus({ exchangeType: 'headers', headersMatch: { aggregate_type: 'Order' } })
    const events = recorder(bus)
    await consume(bus)
    await bus.publish([orderCreated(), userRegistered()])
    expect(bus.getStats().publishReturns).toBe(1)

    await bus.bindHeaders({ 'x-match': 'any', event_type: 'UserRegistered', nothing: 1 })
    await bus.publish([userRegistered()])
    await until('both', () => events.length === 2)
    await bus.unbindHeaders({ 'x-match': 'any', event_type: 'UserRegistered', nothing: 1 })
    await bus.publish([userRegistered()])
    expect(bus.getStats().publishReturns).toBe(2)
  })
})

describe('unroutable events', () => {
  it('are counted, and logged once per routing key', async () => {
    const logger = new RecordingLogger()
    const bus = createBus({ logger })
    await bus.publish([orderCreated(), orderCreated(), orderShipped()])
    expect(bus.getStats().publishReturns).toBe(3)
    const lines = logger.lines.filter(({ message }) => message.includes('no queue is bound'))
    expect(lines.map(({ fields }) => fields['routingKey'])).toEqual([
      'Order.OrderCreated',
      'Order.OrderShipped',
    ])
  })

  it('are refused with a named error, because a queue has no history', async () => {
    // The conformance suite declares this capability as lacking: a queue has no history.
    const exchangeName = freshName()
    const bus = createBus({ exchangeName, requireRoute: true })
    const events = recorder(bus)
    await expect(bus.publish([orderCreated('before')])).rejects.toMatchObject({
      errors: [{ code: 'UNROUTABLE' }],
      outcomes: [{ status: 'notStored' }],
    })
    await consume(bus)
    await bus.publish([orderCreated('after')])
    await until('the event', () => events.length > 0)
    expect(events.map(({ aggregateId }) => aggregateId)).toEqual(['after'])
  })

  it('are the only events rejected with requireRoute', async () => {
    const exchangeName = freshName()
    const consumer = createBus({ exchangeName, routingKeyPattern: 'Order.*' })
    await consume(consumer)
    const bus = createBus({ exchangeName, requireRoute: true })
    const error = await bus.publish([orderCreated(), userRegistered()]).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(PublishError)
    if (!(error instanceof PublishError)) return
    expect(error.outcomes.map(({ status }) => status)).toEqual(['stored', 'notStored'])
    expect(error.errors[0]).toBeInstanceOf(UnroutableError)
    expect(error.errors[0]?.message).toContain('User.UserRegistered')
  })
})

describe('topology', () => {
  it('is only the exchange for a bus that only publishes', async () => {
    const exchangeName = freshName()
    const bus = createBus({ exchangeName })
    await bus.publish([orderCreated()])
    expect(await bus.getQueueInfo()).toEqual({
      name: `${exchangeName}.default`,
      messageCount: 0,
      consumerCount: 0,
      state: 'missing',
      queueType: 'classic',
      exchange: { name: exchangeName, type: 'topic', isDeclared: true },
    })
    for (const queue of ['default', 'default.dlq']) {
      expect(await hasQueue(`${exchangeName}.${queue}`)).toBe(false)
    }
  })

  it('shows how many messages are ready and how many consumers there are', async () => {
    const bus = await consume(createBus())
    expect(await bus.getQueueInfo()).toMatchObject({ state: 'running', consumerCount: 1, messageCount: 0 })
    await bus.stopConsuming()
    await bus.publish([orderCreated()])
    expect(await bus.getQueueInfo()).toMatchObject({ state: 'idle', consumerCount: 0, messageCount: 1 })
  })

  it('names the difference if an exchange exists with other arguments', async () => {
    const exchangeName = freshName()
    const channel = await plainChannel()
    await channel.assertExchange(exchangeName, 'fanout', { durable: true })
    const error = await createBus({ exchangeName })
      .connect()
      .catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error).toMatchObject({ code: 'TOPOLOGY_CONFLICT', retryable: false })
    expect(String(error)).toContain(exchangeName)
    expect(String(error)).toContain("'type'")
  })

  it('names the difference if a queue exists with other arguments, and does not retry', async () => {
    const exchangeName = freshName()
    const channel = await plainChannel()
    await channel.assertQueue(`${exchangeName}.default`, { durable: true, arguments: { 'x-max-length': 5 } })
    const logger = new RecordingLogger()
    const bus = createBus({ exchangeName, logger })
    bus.startConsumingInBackground()
    const error = await bus.whenConsuming().catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'TOPOLOGY_CONFLICT' })
    expect(String(error)).toMatch(/inequivalent arg '[\w-]+' for queue 'test-/)
    expect(logger.lines.filter(({ level }) => level === 'error')).toHaveLength(1)
  })

  it('makes exchange and queue durable and auto-deleted as configured', async () => {
    const exchangeName = freshName()
    const bus = createBus({ exchangeName, durable: false, autoDelete: true })
    await consume(bus)
    const channel = await plainChannel()
    await channel.assertExchange(exchangeName, 'topic', { durable: false, autoDelete: true })
    await bus.stopConsuming()
    expect(await hasQueue(`${exchangeName}.default`)).toBe(false)
  })
})

describe('options', () => {
  it.each([
    [{ exchangeType: 'topics' }, 'exchangeType'],
    [{ rabbitmqUrl: 'http://user:hunter2@localhost' }, 'rabbitmqUrl'],
    [{ rabbitmqUrl: [] }, 'rabbitmqUrl'],
    [{ prefetchCount: 0 }, 'prefetchCount'],
    [{ maxRetries: -1 }, 'maxRetries'],
    [{ retryJitter: 2 }, 'retryJitter'],
    [{ heartbeatMs: 1500 }, 'heartbeatMs'],
    [{ certFile: 'client.pem' }, 'keyFile'],
    [{ queueType: 'quorum', durable: false }, 'durable'],
    [{ queueType: 'quorum', autoDelete: true }, 'autoDelete'],
    [{ headersMatch: { a: 1 } }, 'headersMatch'],
    [{ exchange_name: 'events' }, 'exchangeName'],
  ])('refuses %o', (options, name) => {
    // The compiler would refuse some of these too.
    const make = () => createBus(options as never)
    expect(make).toThrow(ConfigError)
    expect(make).toThrow(name)
    expect(make).not.toThrow('hunter2')
  })
})
