import { expect, it } from 'vitest'
import { z } from 'zod'
import { defineEvent } from '../../../src/index.ts'
import type { RabbitMQEventBusOptions } from '../../../src/rabbitmq/index.ts'
import { consume, createBus, freshName, plainChannel, until } from '../scene.ts'

class Noted extends defineEvent({
  type: 'Noted',
  aggregateType: 'Note',
  schema: z.object({ n: z.number().int(), text: z.string() }),
}) {}

const BYTES = 100_000
const COUNT = 60
const AGGREGATES = 6

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
  const text = 'x'.repeat(BYTES)
  const events = Array.from(
    { length: COUNT },
    (_, n) => new Noted({ aggregateId: `a${n % AGGREGATES}`, n, text }),
  )
  await publisher.publish(events)
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

it.each([{ queueType: 'quorum' }, { singleActiveConsumer: true }, { autoDelete: true }] as const)(
  'holds at most one message per MiB of maxInFlightBytes (%o)',
  async (given) => {
    const options = { exchangeName: freshName(), concurrency: 50, maxInFlightBytes: 4_194_304, ...given }
    const { bus, runs, open } = gated(options)
    await consume(bus)
    const events = Array.from(
      { length: COUNT },
      (_, n) => new Noted({ aggregateId: `a${n % AGGREGATES}`, n, text: 'x' }),
    )

    await createBus(options).publish(events)

    await until('four runs', () => runs.length === 4)
    expect(bus.getStats().inFlight).toBe(4)
    open()
    await until('all events', () => runs.length >= COUNT)
    expectEachOnceInOrder(runs)
  },
)

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
