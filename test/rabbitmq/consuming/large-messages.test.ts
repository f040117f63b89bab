import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineEvent } from '../../../src/index.ts'
import type { RabbitMQEventBusOptions } from '../../../src/rabbitmq/index.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { consume, createBus, freshName, plainChannel, until } from '../scene.ts'

class Noted extends defineEvent({
  type: 'Noted',
  aggregateType: 'Note',
  schema: z.object({ n: z.number().int(), text: z.string() }),
}) {}

const BYTES = 100_000
const COUNT = 60
const AGGREGATES = 6

function notes(bytes: number, aggregates = AGGREGATES, count = COUNT): readonly InstanceType<typeof Noted>[] {
  const text = 'x'.repeat(bytes)
  return Array.from({ length: count }, (_, n) => new Noted({ aggregateId: `a${n % aggregates}`, n, text }))
}

/** A queue with a backlog of large events, and a bus that may hold four of them. */
async function backlog(given: RabbitMQEventBusOptions = {}) {
  const options = {
    exchangeName: freshName(),
    consumerGroup: 'g',
    concurrency: 50,
    maxInFlightBytes: 4 * BYTES,
    maxRetries: 0,
    ...given,
  }
  const declaring = createBus(options)
  declaring.subscribe(Noted, () => Promise.reject(new Error('not yet')), { name: 'h' })
  await consume(declaring)
  await declaring.shutdown()
  const publisher = createBus(options)
  await publisher.publish(notes(BYTES))
  const channel = await plainChannel()
  const ready = async () => (await channel.checkQueue(`${options.exchangeName}.g`)).messageCount
  return { options, ready }
}

/** A bus whose handlers wait until the gate opens. */
function gated(options: RabbitMQEventBusOptions) {
  const gate = Promise.withResolvers<void>()
  const runs: { readonly n: number; readonly aggregateId: string; readonly delivery: number }[] = []
  const bus = createBus(options)
  bus.subscribe(
    Noted,
    async ({ n, aggregateId }, { deliveryCount }) => {
      runs.push({ n, aggregateId, delivery: deliveryCount })
      await gate.promise
    },
    { name: 'h' },
  )
  return { bus, runs, open: () => gate.resolve() }
}

const inOrder = Array.from({ length: AGGREGATES }, (_, lane) =>
  Array.from({ length: COUNT / AGGREGATES }, (_, index) => index * AGGREGATES + lane),
)

function expectEachOnceInOrder(runs: ReturnType<typeof gated>['runs']): void {
  const lanes = Map.groupBy(runs, ({ aggregateId }) => aggregateId)
  expect(inOrder.map((_, lane) => lanes.get(`a${lane}`)?.map(({ n }) => n))).toEqual(inOrder)
  expect(new Set(runs.map(({ delivery }) => delivery))).toEqual(new Set([1]))
}

it('leaves messages beyond maxInFlightBytes in the queue, and handles each once, in order, as its first attempt', async () => {
  const { options, ready } = await backlog()
  const { bus, runs, open } = gated(options)
  await consume(bus)

  await until('all but five messages in the queue', async () => (await ready()) >= COUNT - 5)
  expect(bus.getStats().inFlight).toBeLessThanOrEqual(5)
  open()

  await until('all events', () => runs.length >= COUNT)
  expectEachOnceInOrder(runs)
  expect(await bus.deadLetters.count()).toBe(0)
})

it('holds at most one message per MiB of maxInFlightBytes with singleActiveConsumer, and logs so once', async () => {
  const logger = new RecordingLogger()
  const options = { exchangeName: freshName(), concurrency: 50, maxInFlightBytes: 4_194_304 }
  const { bus, runs, open } = gated({ ...options, singleActiveConsumer: true, logger })
  await consume(bus)

  await createBus(options).publish(notes(1))

  await until('four runs', () => runs.length === 4)
  expect(bus.getStats().inFlight).toBe(4)
  expect(logger.lines.filter(({ message }) => message.startsWith('prefetch limited'))).toMatchObject([
    { level: 'warn', fields: { prefetch: 4, prefetchCount: 50, maxInFlightBytes: 4_194_304 } },
  ])
  open()
  await until('all events', () => runs.length >= COUNT)
  expectEachOnceInOrder(runs)
})

describe.each([{ queueType: 'quorum' }, { autoDelete: true }] as const)('with %o', (given) => {
  it('holds the configured number of small messages once it has seen that they are small', async () => {
    const options = { exchangeName: freshName(), concurrency: 50, maxInFlightBytes: 4_194_304, ...given }
    const gate = Promise.withResolvers<void>()
    const bus = createBus(options)
    const order: number[] = []
    let running = 0
    let most = 0
    bus.subscribe(
      Noted,
      async ({ n }) => {
        order.push(n)
        running += 1
        most = Math.max(most, running)
        // The consumer gets more only after it has seen as many messages as it may hold.
        if (n >= 8) await gate.promise
        running -= 1
      },
      { name: 'h' },
    )
    await consume(bus)

    await createBus(options).publish(notes(1, COUNT))

    await until('fifty runs at once', () => running === 50)
    gate.resolve()
    await until('all events', () => order.length >= COUNT)
    expect(order).toEqual(Array.from({ length: COUNT }, (_, n) => n))
    expect(most).toBe(50)
    expect((await bus.getQueueInfo()).consumerCount).toBe(1)
  })

  it('holds few large messages once it has seen that they are large', async () => {
    const options = { exchangeName: freshName(), concurrency: 50, maxInFlightBytes: 4_194_304, ...given }
    const first = Promise.withResolvers<void>()
    const second = Promise.withResolvers<void>()
    const bus = createBus(options)
    const runs: { readonly n: number; readonly delivery: number }[] = []
    bus.subscribe(
      Noted,
      async ({ n }, { deliveryCount }) => {
        runs.push({ n, delivery: deliveryCount })
        if (n < 4) await first.promise
        else if (n >= 8) await second.promise
      },
      { name: 'h' },
    )
    await consume(bus)
    const ready = async () => (await bus.getQueueInfo()).messageCount

    await createBus(options).publish(notes(1_900_000, 14, 14))

    // Two fit, and four arrive before their size is known.
    await until('the first messages', async () => (await ready()) <= 14 - 4)
    first.resolve()
    await until('the ninth event', () => runs.length >= 9)
    // One more fits, and another one may have arrived for a consumer that was replaced.
    expect(await ready()).toBeGreaterThanOrEqual(14 - 9 - 2)
    second.resolve()
    await until('all events', () => runs.length === 14)
    expect(runs).toEqual(Array.from({ length: 14 }, (_, n) => ({ n, delivery: 1 })))
  })
})

it('counts no attempt of messages that a stop catches before they were returned', async () => {
  const { options, ready } = await backlog()
  const first = gated(options)
  await consume(first.bus)
  await until('the first runs', () => first.runs.length > 0)
  await first.bus.shutdown({ timeoutMs: 1 })
  await until('all messages in the queue', async () => (await ready()) === COUNT)

  const second = gated(options)
  second.open()
  await consume(second.bus)

  await until('all events', () => second.runs.length >= COUNT)
  expect(await second.bus.deadLetters.count()).toBe(0)
  expect(second.runs).toHaveLength(COUNT)
})
