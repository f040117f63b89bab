import { afterAll, expect, it, onTestFinished } from 'vitest'
import { type HandlerContext, NonRetryableError, type SubscribeOptions } from '../../src/index.ts'
import { openConnection } from '../../src/rabbitmq/client/client.ts'
import type { WithChannel } from '../../src/rabbitmq/client/connection.ts'
import { RabbitMQTopology } from '../../src/rabbitmq/client/topology.ts'
import { RabbitMQLineQueue } from '../../src/rabbitmq/consuming/line-queue.ts'
import { RabbitMQWaitingLines } from '../../src/rabbitmq/consuming/waiting-lines.ts'
import { resolveRabbitMQOptions } from '../../src/rabbitmq/options.ts'
import { RabbitMQPublisher } from '../../src/rabbitmq/publishing/publisher.ts'
import { replayTarget } from '../../src/transport/replay-headers.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { OrderCreated } from '../support/order-events.ts'
import { consume, createBus, freshName, hasQueue, noticesOf, plainChannel, until } from './scene.ts'

// The broker closes a channel that holds a message for a second. It checks once a minute by default. One in a container does
// not get these start arguments.
process.env['RABBITMQ_SERVER_START_ARGS'] = '-rabbit channel_tick_interval 500'
const broker = await launchBroker('rabbitmq', { config: ['consumer_timeout = 1000'] })
delete process.env['RABBITMQ_SERVER_START_ARGS']

afterAll(() => broker.dispose())

const KEEP = {
  name: 'bill',
  retryDelaysMs: Array.from({ length: 200 }, () => 100),
  longWaits: { fromMs: 50, order: 'keep' },
} as const satisfies SubscribeOptions
const PARK = { name: 'bill', maxRetries: 0, onDeadLetter: 'park' } as const satisfies SubscribeOptions

const orders = (count: number, from = 0) =>
  Array.from(
    { length: count },
    (_, index) => new OrderCreated({ aggregateId: 'Order-1', customerId: String(from + index) }),
  )

/** A connection that publishes for a group, and consumers of its waiting messages. */
async function group(rabbitmqUrl: string) {
  const options = resolveRabbitMQOptions({ rabbitmqUrl, exchangeName: freshName(), ordering: 'aggregate' })
  const connection = await openConnection(rabbitmqUrl, {})
  connection.on('error', () => undefined)
  onTestFinished(() => connection.close().catch(() => undefined))
  const observer = { confirmed: () => undefined, returned: () => undefined, channelLost: () => undefined }
  const publisher = new RabbitMQPublisher(options, new RabbitMQTopology(options), observer)
  await publisher.open(connection)
  const channel = await connection.createChannel()
  const withChannel: WithChannel = (work) => work(channel)
  const { queue } = options.names
  await channel.assertQueue(queue, { durable: true, autoDelete: false, arguments: {} })
  const lines = (isActive: boolean) => {
    const about = {
      partition: undefined,
      isActive: () => isActive,
      parkedPlaces: async () => new Set<string>(),
    }
    const ignored = { onReady: () => undefined, onClosed: () => undefined, onLettersGone: () => undefined }
    const made = new RabbitMQWaitingLines({
      options,
      connection,
      publisher,
      withChannel,
      ...about,
      ...ignored,
    })
    onTestFinished(() => made.close())
    return made
  }
  /** A message of the aggregate, and the published one with its place. */
  const message = (messageId: string) => {
    const fields = { deliveryTag: 1, redelivered: false, exchange: '', routingKey: 'Order.OrderCreated' }
    const properties = { messageId, headers: { aggregate_id: 'Order-1' } }
    return {
      raw: { fields, properties, content: Buffer.from(messageId) },
      key: 'Order-1',
      replayTarget: undefined,
    }
  }
  const published = async () => {
    const raw = await channel.get(queue)
    if (raw === false) return undefined
    const { replay_handlers: target = '' } = raw.properties.headers ?? {}
    return { raw, key: 'Order-1', replayTarget: replayTarget({ replay_handlers: String(target) }) }
  }
  return { connection, publisher, lines, message, published }
}

const wait = { handlerName: 'bill', attempts: 1, firstFailedAt: new Date(), delayMs: 0, keepsOrder: true }
const textOf = (found: { readonly raw: { readonly content: Buffer } } | undefined) =>
  found?.raw.content.toString()

it('continues the lines of the last consumer, and publishes no message that the last one has published', async () => {
  const { lines, message, published } = await group(broker.url)
  const first = lines(true)
  await first.add(message('a'), wait)
  expect(await first.addBehind(message('b'), 'bill', 10)).toBe(1)
  expect(await first.addBehind(message('c'), 'bill', 10)).toBe(2)
  expect(await first.addBehind(message('d'), 'bill', 3)).toBe(3)
  expect(await first.release()).toBe(undefined)
  const a = await published()
  expect([textOf(a), a?.raw.properties.headers?.['x-line-id']]).toEqual(['a', undefined])

  const second = lines(true)
  const taking = second.addBehind(message('d'), 'bill', 10)
  await first.close()
  // The copy exists after a crash, too.
  expect([await taking, await second.addBehind(message('c'), 'bill', 10)]).toEqual([3, 2])
  await second.release()
  expect(await published()).toBe(undefined)
  if (a === undefined) throw new Error('nothing was published')
  expect(second.isOver(a)).toBe(false)
  await second.passOn(a, [])
  // The same message, published a second time, is not handled.
  expect(second.isOver(a)).toBe(true)
  await second.release()
  expect(textOf(await published())).toBe('b')
})

it('leaves the lines to the active consumer of the partition, if one that stands by had taken them', async () => {
  const { lines, message, published } = await group(broker.url)
  const [crashed, standby, active] = [lines(true), lines(false), lines(true)]
  await crashed.add(message('a'), { ...wait, delayMs: 50 })
  await crashed.close()
  await standby.release()
  expect(await active.release()).toBe(undefined)

  expect(await active.addBehind(message('b'), 'bill', 10)).toBe(1)

  await until('the first message', async () => {
    await active.release()
    return textOf(await published()) === 'a'
  })
})

it('holds waiting messages for longer than the broker permits to hold one', async () => {
  const { connection, publisher } = await group(broker.url)
  const open = async (queue: string, holdMs?: number) => {
    const state = { isLost: false }
    const lost = () => {
      state.isLost = true
    }
    const held = { ...(holdMs !== undefined && { holdMs }), arrived: () => undefined, lost }
    const opened = new RabbitMQLineQueue({ queue, durable: true, connection, publisher, ...held })
    onTestFinished(() => opened.close())
    await opened.open()
    return { opened, state }
  }
  const name = freshName()
  const renewed = await open(`${name}.renewed`, 250)
  const control = await open(`${name}.control`)
  const store = ({ opened }: typeof renewed, text: string) =>
    opened.store({ kind: 'waiting', headers: {}, content: Buffer.from(text) })
  const ids = [await store(renewed, 'a'), await store(renewed, 'b'), await store(renewed, 'c')]
  await store(control, 'held')

  await until('the timeout of the broker', () => control.state.isLost)

  const contents = await Promise.all(ids.map((id) => renewed.opened.read(id)))
  expect(contents.map(({ content }) => content.toString())).toEqual(['a', 'b', 'c'])
  renewed.opened.drop(ids.slice(0, 2))
  await renewed.opened.flushed()
  expect(renewed.state.isLost).toBe(false)
})

it('continues the lines when the broker was killed while their first events were handled', async () => {
  const bus = createBus({ rabbitmqUrl: broker.url, exchangeName: freshName(), ordering: 'aggregate' })
  const done: number[] = []
  const restarted = Promise.withResolvers<void>()
  let runs = 0
  const handler = async ({ customerId }: OrderCreated) => {
    if (customerId === '0') {
      runs += 1
      if (runs === 1) throw new Error('planned')
      await restarted.promise
    }
    done.push(Number(customerId))
  }
  bus.subscribe(OrderCreated, handler, KEEP)
  await consume(bus)
  await bus.publish(orders(3))
  await until('the second attempt', () => runs === 2)
  await until('the others to wait', async () => (await bus.countWaiting()) === 2)

  await broker.kill()
  await broker.start()
  restarted.resolve()
  await bus.publish(orders(2, 3))
  await until('all events', () => done.includes(4))
  await until('no event that waits', async () => (await bus.countWaiting()) === 0)

  const firsts = done.filter((n, index) => done.indexOf(n) === index)
  expect(firsts).toEqual([0, 1, 2, 3, 4])
})

it('keeps an event whose dead letter was refused until its process stopped, although its wait was over', async () => {
  const exchangeName = freshName()
  const options = { rabbitmqUrl: broker.url, exchangeName, ordering: 'aggregate' } as const
  const ctl = (...args: string[]) => broker.exec('rabbitmqctl', '--quiet', ...args)
  const full = '{"max-length":0,"overflow":"reject-publish"}'
  await ctl('set_policy', 'full', `^${exchangeName}[.]default[.]dlq$`, full)
  const bus = createBus(options)
  const seen: string[] = []
  const handler = ({ customerId }: OrderCreated, { attempt }: HandlerContext) => {
    seen.push(`${customerId}/${attempt}`)
    if (customerId === '0') throw attempt === 1 ? new Error('planned') : new NonRetryableError('planned')
  }
  bus.subscribe(OrderCreated, handler, KEEP)
  await consume(bus)
  await bus.publish(orders(2))
  await until('the next one to follow', async () => seen.length === 2 && (await bus.countWaiting()) === 0)
  await bus.shutdown({ timeoutMs: 100 })
  expect(bus.getStats().messagesSentToDlq).toBe(0)
  await ctl('clear_policy', 'full')

  const next = createBus(options)
  next.subscribe(OrderCreated, handler, KEEP)
  await consume(next)
  await until('the dead letter', () => next.getStats().messagesSentToDlq === 1)

  expect(seen.slice(0, 2)).toEqual(['0/1', '0/2'])
  await until('the event behind it', () => seen.includes('1/1'))
  expect((await next.deadLetters.list()).deadLetters).toMatchObject([{ handlerNames: ['bill'] }])
})

it('lets the events behind a dead letter follow that was removed without the bus, and reports that', async () => {
  const exchangeName = freshName()
  const options = { exchangeName, partitions: 4 }
  const before: number[] = []
  const bus = createBus(options)
  const failing = ({ customerId }: OrderCreated) => {
    before.push(Number(customerId))
    throw new Error('planned')
  }
  bus.subscribe(OrderCreated, failing, PARK)
  await consume(bus)
  await bus.publish(orders(3))
  await until('the others to wait', async () => (await bus.countWaiting()) === 2)
  await bus.shutdown()
  const channel = await plainChannel()
  await channel.purgeQueue(`${exchangeName}.default.dlq`)

  const next = createBus(options)
  const notices = noticesOf(next)
  const seen: number[] = []
  next.subscribe(OrderCreated, ({ customerId }) => void seen.push(Number(customerId)), PARK)
  await consume(next)
  await until('the events behind it', () => seen.length === 2)

  expect([before, seen]).toEqual([[0], [1, 2]])
  expect(notices).toContainEqual(expect.objectContaining({ type: 'eventsLost', count: 1 }))
})

it('lets the events behind all dead letters follow that are purged, and leaves no queue of a deleted group', async () => {
  const exchangeName = freshName()
  const bus = createBus({ exchangeName, ordering: 'aggregate' })
  const seen: number[] = []
  const handler = ({ customerId }: OrderCreated) => {
    seen.push(Number(customerId))
    if (customerId === '0') throw new Error('planned')
  }
  bus.subscribe(OrderCreated, handler, PARK)
  await consume(bus)
  await bus.publish(orders(3))
  await until('the others to wait', async () => (await bus.countWaiting()) === 2)
  const { admin } = createBus({ exchangeName, consumerGroup: 'observer' })
  expect(await admin.groups()).toMatchObject([{ name: 'default', retriesWaiting: 2, deadLetters: 1 }])

  expect(await bus.purgeDlq()).toBe(1)
  await until('the events behind it', () => seen.length === 3)
  expect(seen).toEqual([0, 1, 2])
  await bus.shutdown()
  await admin.deleteGroup('default')
  expect(await hasQueue(`${exchangeName}.default.waiting.lines`)).toBe(false)
})
