import { hostname } from 'node:os'
import { context, propagation } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { describe, expect, it, onTestFinished } from 'vitest'
import { CloudEventsCodec, type Logger } from '../../src/index.ts'
import { reconnectDelay } from '../../src/rabbitmq/client/reconnect-delay.ts'
import { RabbitMQEventBus } from '../../src/rabbitmq/index.ts'
import { resolveRabbitMQOptions } from '../../src/rabbitmq/options.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import {
  consume,
  createBus,
  freshName,
  hasQueue,
  plainChannel,
  proxiedBus,
  recorder,
  until,
} from './scene.ts'

/** Takes the messages that are ready in a queue. */
async function messagesIn(channel: Awaited<ReturnType<typeof plainChannel>>, queue: string) {
  const messages = []
  for (let message = await channel.get(queue); message !== false; message = await channel.get(queue)) {
    messages.push(message)
  }
  return messages
}

it.each(['exchangeName', 'consumerGroup'])(
  'refuse a line break in %s, which the broker removes',
  (option) => {
    expect(() => new RabbitMQEventBus({ [option]: 'a\nb' })).toThrow(/must not contain line breaks/)
  },
)

describe('defaults', () => {
  it('are those of eventsource-py', () => {
    const { registry: _, codec, ...options } = resolveRabbitMQOptions({})
    expect(codec.contentType).toBe('application/json')
    expect(options).toEqual({
      rabbitmqUrl: 'amqp://guest:guest@localhost:5672/',
      exchangeName: 'events',
      exchangeType: 'topic',
      consumerGroup: 'default',
      consumerName: expect.stringMatching(new RegExp(`^${hostname()}-[0-9a-f]{8}$`)),
      prefetchCount: 10,
      maxRetries: 3,
      retryBaseDelayMs: 1000,
      retryMaxDelayMs: 60_000,
      retryJitter: 0.1,
      enableDlq: true,
      deadLetterStacks: false,
      dlqExchangeSuffix: '_dlq',
      dlqMessageTtlMs: undefined,
      dlqMaxLength: undefined,
      durable: true,
      autoDelete: false,
      routingKeyPattern: undefined,
      reconnectDelayMs: 1000,
      maxReconnectDelayMs: 60_000,
      heartbeatMs: 60_000,
      batchSize: 100,
      maxConcurrentPublishes: 10,
      shutdownTimeoutMs: 30_000,
      enableTracing: true,
      sslOptions: undefined,
      sslContext: undefined,
      verifySsl: true,
      caFile: undefined,
      certFile: undefined,
      keyFile: undefined,
      // Options that eventsource-py lacks.
      presenceIntervalMs: 10_000,
      programName: undefined,
      programVersion: undefined,
      retryDelaysMs: undefined,
      retryIf: undefined,
      discardIf: undefined,
      headersMatch: undefined,
      queueType: 'classic',
      singleActiveConsumer: false,
      partitions: 1,
      ordering: undefined,
      requireRoute: false,
      connectTimeoutMs: 10_000,
      publishTimeoutMs: 10_000,
      handlerTimeoutMs: Number.POSITIVE_INFINITY,
      concurrency: 16,
      maxInFlight: 1000,
      maxInFlightBytes: 67_108_864,
      maxBackgroundPublishes: 1000,
      tracer: undefined,
      enableMetrics: true,
      meter: undefined,
      propagateCausation: true,
      propagateBaggage: false,
      newerVersions: 'tolerate',
      unhandledEvents: 'skip',
      handoverTimeoutMs: 600_000,
      broadcast: false,
      journal: false,
      journalMaxAgeMs: undefined,
      journalMaxBytes: undefined,
      audit: undefined,
      logger: undefined,
      // Derived from the options.
      names: {
        exchange: 'events',
        queue: 'events.default',
        deadLetterExchange: 'events_dlq',
        deadLetterQueue: 'events.default.dlq',
        bindingsQueue: 'events.default.bindings',
        controlQueue: 'events.default.control',
        controlNotes: 'events.default.control.notes',
        groupsQueue: 'events_dlq.groups',
        journal: 'events.journal',
        typesExchange: 'events.default.types',
        partitionExchange: 'events.default.partitions',
        presence: 'events.presence',
        lockQueue: 'events.default.lock',
      },
      isPartitioned: false,
      endpoints: [
        {
          url: 'amqp://guest:guest@localhost:5672/?heartbeat=60',
          host: 'localhost',
          port: 5672,
          address: 'localhost:5672/',
          isTls: false,
        },
      ],
      address: 'localhost:5672/',
    })
  })

  it('suffice without any option', () => {
    expect(new RabbitMQEventBus().isConnected).toBe(false)
  })
})

it.each([
  [{ partitions: 8 }, { isPartitioned: true, singleActiveConsumer: true }],
  [
    { partitions: 8, ordering: 'none' },
    { isPartitioned: false, singleActiveConsumer: false },
  ],
  [{ ordering: 'aggregate' }, { isPartitioned: false, singleActiveConsumer: true }],
] as const)('derives from %o how the group keeps the order', (options, derived) => {
  expect(resolveRabbitMQOptions(options)).toMatchObject(derived)
})

it.each([
  [{ partitions: 8, autoDelete: true }, 'partitions needs autoDelete false'],
  [
    { singleActiveConsumer: true, ordering: 'none' },
    "singleActiveConsumer needs ordering 'aggregate', got 'none'",
  ],
] as const)('refuses %o', (options, fault) => {
  expect(() => new RabbitMQEventBus(options)).toThrow(fault)
})

it.each([
  ['amqp://broker', {}, 'amqp://broker:5672?heartbeat=60', 'broker:5672/'],
  ['amqps://u:p@broker/orders', {}, 'amqps://u:p@broker:5671/orders?heartbeat=60', 'broker:5671/orders'],
  ['amqp://broker:1/%2F', { verifySsl: false }, 'amqps://broker:1/%2F?heartbeat=60', 'broker:1/%2F'],
  ['amqp://broker/', { heartbeatMs: 5000 }, 'amqp://broker:5672/?heartbeat=5', 'broker:5672/'],
])('reads the URL %s with %o', (rabbitmqUrl, options, url, address) => {
  expect(resolveRabbitMQOptions({ rabbitmqUrl, ...options }).endpoints[0]).toMatchObject({ url, address })
})

describe('queues', () => {
  it.each(['classic', 'quorum'] as const)('are %s if configured so', async (queueType) => {
    const exchangeName = freshName()
    const bus = createBus({ exchangeName, queueType })
    const events = recorder(bus)
    await consume(bus)
    await bus.publish([orderCreated()])
    await until('the event', () => events.length === 1)
    expect((await bus.getQueueInfo()).queueType).toBe(queueType)
    const channel = await plainChannel()
    const other = channel.assertQueue(`${exchangeName}.default`, {
      arguments: {
        'x-dead-letter-exchange': `${exchangeName}_dlq`,
        'x-dead-letter-routing-key': `${exchangeName}.default`,
        ...(queueType === 'classic' ? { 'x-queue-type': 'quorum' } : {}),
      },
    })
    await expect(other).rejects.toThrow('x-queue-type')
  })

  it('of dead letters have the configured suffix and maximum length', async () => {
    const exchangeName = freshName()
    const bus = createBus({ exchangeName, dlqExchangeSuffix: '-dead', dlqMaxLength: 2, maxRetries: 0 })
    bus.subscribe(OrderCreated, () => {
      throw new Error('expected failure')
    })
    await consume(bus)
    const events = [orderCreated('a'), orderCreated('b'), orderCreated('c')]
    for (const [index, event] of events.entries()) {
      await bus.publish([event])
      await until('the dead letter', () => bus.getStats().messagesSentToDlq === index + 1)
    }
    const kept = await bus.getDlqMessages()
    expect(kept.map(({ messageId }) => messageId)).toEqual(events.slice(1).map(({ eventId }) => eventId))
    const channel = await plainChannel()
    await channel.checkExchange(`${exchangeName}-dead`)
    await expect(channel.checkExchange(`${exchangeName}_dlq`)).rejects.toThrow('NOT_FOUND')
  })

  it('of dead letters drop messages after dlqMessageTtlMs', async () => {
    const bus = createBus({ dlqMessageTtlMs: 300, maxRetries: 0 })
    bus.subscribe(OrderCreated, () => {
      throw new Error('expected failure')
    })
    await consume(bus)
    await bus.publish([orderCreated()])
    await until('the dead letter', async () => (await bus.getDlqMessageCount()) === 1)
    await until('it to be dropped', async () => (await bus.getDlqMessageCount()) === 0)
    expect(bus.getStats().messagesSentToDlq).toBe(1)
  })

  it('of dead letters are not declared if enableDlq is false', async () => {
    const exchangeName = freshName()
    await consume(createBus({ exchangeName, enableDlq: false }))
    expect(await hasQueue(`${exchangeName}.default`)).toBe(true)
    expect(await hasQueue(`${exchangeName}.default.dlq`)).toBe(false)
  })
})

describe('reconnecting', () => {
  it.each([
    // The minimum at first, then a tenth of the outage, at most the maximum.
    { outageMs: 0, random: 0, delayMs: 1000 },
    { outageMs: 0, random: 1, delayMs: 500 },
    { outageMs: 60_000, random: 0, delayMs: 6000 },
    { outageMs: 3_600_000, random: 0, delayMs: 60_000 },
    { outageMs: 3_600_000, random: 1, delayMs: 30_000 },
  ])('waits $delayMs ms after $outageMs ms of outage', ({ outageMs, random, delayMs }) => {
    const delays = { reconnectDelayMs: 1000, maxReconnectDelayMs: 60_000 }
    expect(reconnectDelay(delays, outageMs, random)).toBe(delayMs)
  })

  /** The times at which attempts to reconnect to an absent broker failed, in milliseconds. */
  async function attempts(options: object, count: number): Promise<readonly number[]> {
    const times: number[] = []
    const silent = () => undefined
    const logger: Logger = {
      debug: (message) => {
        if (message === 'reconnecting failed, trying again') times.push(performance.now())
      },
      info: silent,
      warn: silent,
      error: silent,
    }
    const { bus, proxy } = await proxiedBus({ logger, ...options })
    await bus.connect()
    proxy.setDown(true)
    await until(`${count} attempts`, () => times.length >= count)
    return times
  }

  it('waits at least about reconnectDelayMs', async () => {
    const times = await attempts({ reconnectDelayMs: 400 }, 3)
    const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0))
    for (const gap of gaps) expect(gap).toBeGreaterThanOrEqual(199)
  })

  it('never waits longer than maxReconnectDelayMs', async () => {
    // If each wait were a tenth of the outage, this many attempts would take minutes.
    await attempts({ reconnectDelayMs: 1, maxReconnectDelayMs: 5 }, 120)
  })
})

it('writes and reads messages with the given codec', async () => {
  const exchangeName = freshName()
  const bus = createBus({ exchangeName, codec: new CloudEventsCodec({ source: '/orders' }) })
  const events = recorder(bus)
  bus.subscribe(OrderCreated, () => undefined)
  await consume(bus)
  const channel = await plainChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, exchangeName, 'Order.OrderCreated')

  const event = orderCreated()
  await bus.publish([event])

  await until('the event', () => events.length === 1)
  expect(JSON.stringify(events[0])).toBe(JSON.stringify(event))
  const [message] = await messagesIn(channel, queue)
  expect(message?.properties.contentType).toBe('application/cloudevents+json')
})

it('sends the trace context if tracing is enabled', async () => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  onTestFinished(() => {
    context.disable()
    propagation.disable()
  })
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  const tracer = provider.getTracer('test')
  const exchangeName = freshName()
  const channel = await plainChannel()
  await createBus({ exchangeName }).connect()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, exchangeName, '#')

  await createBus({ exchangeName, tracer }).publish([orderCreated()])
  await createBus({ exchangeName, tracer, enableTracing: false }).publish([orderCreated()])

  const names = exporter.getFinishedSpans().map(({ name }) => name)
  expect(names).toEqual(['rabbitmq.publish OrderCreated'])
  const messages = await messagesIn(channel, queue)
  const headers = messages.map(({ properties }) => properties.headers?.['traceparent'])
  const [span] = exporter.getFinishedSpans()
  expect(headers).toEqual([expect.stringContaining(span?.spanContext().traceId ?? 'no trace'), undefined])
})
