// The examples of eventsource-py's API page, written for this library.
import { expect, inject, it } from 'vitest'
import { RABBITMQ_AVAILABLE, RabbitMQEventBus } from '../../src/rabbitmq/index.ts'
import {
  OrderCancelled,
  OrderCreated,
  OrderShipped,
  orderCancelled,
  orderCreated,
  orderShipped,
} from '../support/order-events.ts'
import { freshName, until } from './scene.ts'

const rabbitmqUrl = inject('rabbitmqUrl')

it('Usage: subscribe, subscribeAll, connect, consume, publish, statistics, shutdown', async () => {
  const bus = new RabbitMQEventBus({
    rabbitmqUrl,
    exchangeName: freshName(),
    exchangeType: 'topic',
    consumerGroup: 'my-service',
    prefetchCount: 10,
    enableDlq: true,
  })
  const seen: string[] = []
  const orderHandler = {
    handle: (event: InstanceType<typeof OrderCreated>) => void seen.push(`handler ${event.eventType}`),
  }
  const orderProjection = {
    subscribedTo: () => [OrderCreated, OrderShipped],
    handle: async (event: { eventType: string }) => void seen.push(`projection ${event.eventType}`),
  }
  bus.subscribe(OrderCreated, orderHandler)
  bus.subscribeAll(orderProjection)

  await bus.connect()
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  await bus.publish([orderCreated(), orderShipped()])

  await until('both events', () => bus.getStats().eventsProcessedSuccess === 2)
  expect(seen.toSorted()).toEqual([
    'handler OrderCreated',
    'projection OrderCreated',
    'projection OrderShipped',
  ])
  expect(bus.getStats()).toMatchObject({ eventsPublished: 2, eventsConsumed: 2, publishConfirms: 2 })
  await bus.shutdown({ timeoutMs: 30_000 })
  expect(bus.isConnected).toBe(false)
})

it('Work Queue Pattern: two workers share the tasks of a direct exchange', async () => {
  const exchangeName = freshName()
  const createWorkerOptions = (workerId: string) => ({
    rabbitmqUrl,
    exchangeName,
    exchangeType: 'direct' as const,
    consumerGroup: 'task-processors',
    consumerName: `worker-${workerId}`,
    prefetchCount: 1,
  })
  await using worker1 = new RabbitMQEventBus(createWorkerOptions('1'))
  await using worker2 = new RabbitMQEventBus(createWorkerOptions('2'))
  const done: string[] = []
  const busy = new Set<RabbitMQEventBus>()
  for (const worker of [worker1, worker2]) {
    worker.subscribe(OrderCreated, async ({ aggregateId }) => {
      busy.add(worker)
      await until('the other worker to have a task too', () => busy.size === 2)
      done.push(aggregateId)
    })
    await worker.connect()
    worker.startConsumingInBackground()
    await worker.whenConsuming()
  }
  expect((await worker1.getQueueInfo()).name).toBe(`${exchangeName}.task-processors`)

  // Shares only the exchange with the workers.
  await using publisher = new RabbitMQEventBus({ rabbitmqUrl, exchangeName, exchangeType: 'direct' })
  const tasks = [1, 2, 3, 4, 5, 6].map((n) => `Task-${n}`)
  await publisher.publish(tasks.map(orderCreated))

  await until('six tasks', () => done.length >= 6)
  expect(done.toSorted()).toEqual(tasks)
  expect(publisher.getStats()).toMatchObject({ publishReturns: 0, publishConfirms: 6 })
})

it('Custom Routing Key Binding: only events that match the binding arrive', async () => {
  const exchangeName = freshName()
  await using bus = new RabbitMQEventBus({
    rabbitmqUrl,
    exchangeName,
    exchangeType: 'direct',
    routingKeyPattern: '',
  })
  const seen: string[] = []
  bus.subscribeToAllEvents((event) => void seen.push(event.eventType))
  await bus.connect()
  await bus.bindEventType(OrderCreated)
  await bus.bindRoutingKey('Order.OrderCancelled')
  bus.startConsumingInBackground()
  await bus.whenConsuming()

  await bus.publish([orderCreated(), orderShipped(), orderCancelled()])

  await until('two events', () => seen.length === 2)
  expect(seen.toSorted()).toEqual([OrderCancelled.eventType, OrderCreated.eventType])
  expect(bus.getStats().publishReturns).toBe(1)
})

it('Fanout Exchange: every bound queue gets every event', async () => {
  const options = { rabbitmqUrl, exchangeName: freshName(), exchangeType: 'fanout' as const }
  await using mailer = new RabbitMQEventBus({ ...options, consumerGroup: 'mailer' })
  await using billing = new RabbitMQEventBus({ ...options, consumerGroup: 'billing' })
  const seen: string[] = []
  for (const [name, bus] of Object.entries({ mailer, billing })) {
    bus.subscribe(OrderCreated, () => void seen.push(name))
    bus.startConsumingInBackground()
    await bus.whenConsuming()
  }
  await mailer.publish([orderCreated()])
  await until('both', () => seen.length === 2)
  expect(seen.toSorted()).toEqual(['billing', 'mailer'])
})

it('Context Manager: startConsuming blocks until the bus is disposed', async () => {
  const handled = Promise.withResolvers<string>()
  let consuming: Promise<void>
  {
    await using bus = new RabbitMQEventBus({ rabbitmqUrl, exchangeName: freshName() })
    bus.subscribe(OrderCreated, ({ aggregateId }) => handled.resolve(aggregateId))
    consuming = bus.startConsuming()
    await bus.whenConsuming()
    await bus.publish([orderCreated('Order-7')])
    expect(await handled.promise).toBe('Order-7')
  }
  await consuming
})

it('Availability Check: the client is installed', () => {
  expect(RABBITMQ_AVAILABLE).toBe(true)
})
