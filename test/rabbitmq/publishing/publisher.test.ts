import { expect, it, onTestFinished } from 'vitest'
import { PublishError } from '../../../src/index.ts'
import { launchBroker } from '../../brokers/launch-broker.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { consume, createBus, freshName, noticesOf, until } from '../scene.ts'

const EVENTS = 20_000
const BATCH = 100

it('loses no confirmed event when the broker restarts during 20,000 publishes and their consumption', async () => {
  const broker = await launchBroker('rabbitmq')
  onTestFinished(() => broker.dispose())
  const options = { rabbitmqUrl: broker.url, exchangeName: freshName(), prefetchCount: 200 }
  const handled = new Map<string, number>()
  const consumer = createBus(options)
  const order = new Map<string, string[]>()
  consumer.subscribe(OrderCreated, ({ eventId, aggregateId }) => {
    if (!handled.has(eventId)) order.set(aggregateId, [...(order.get(aggregateId) ?? []), eventId])
    handled.set(eventId, (handled.get(eventId) ?? 0) + 1)
  })
  const notices = noticesOf(consumer)
  await consume(consumer)
  const publisher = createBus({ ...options, publishTimeoutMs: 30_000 })

  const confirmed = new Map<string, string>()
  const counts = { unknown: 0, notStored: 0 }
  let restart: Promise<void> | undefined
  for (let sent = 0; sent < EVENTS; sent += BATCH) {
    if (sent === EVENTS / 2) restart = broker.restart()
    const events = Array.from({ length: BATCH }, (_, index) => orderCreated(`Order-${(sent + index) % 10}`))
    const outcomes = await publisher.publish(events).then(
      () => events.map(({ eventId }) => ({ eventId, status: 'stored' as const })),
      (error: unknown) => {
        if (!(error instanceof PublishError)) throw error
        return error.outcomes
      },
    )
    for (const [index, { eventId, status }] of outcomes.entries()) {
      if (status === 'stored') confirmed.set(eventId, events[index]?.aggregateId ?? '')
      else counts[status] += 1
    }
  }
  await restart

  const missing = () => [...confirmed.keys()].filter((id) => !handled.has(id)).length
  await until('all confirmed events to be handled', () => missing() === 0, 60_000)
  const twice = [...handled.values()].filter((runs) => runs > 1).length
  console.log(
    `confirmed ${confirmed.size}, unknown ${counts.unknown}, not stored ${counts.notStored}, handled twice ${twice}`,
  )
  expect(counts.unknown).toBeLessThanOrEqual(BATCH)
  expect(twice).toBeLessThanOrEqual(options.prefetchCount)
  expect(notices.map(({ type }) => type)).toEqual(['connectionLost', 'reconnected'])
  expect(consumer.getStats()).toMatchObject({ reconnections: 1, eventsProcessedFailed: 0 })
  for (const [aggregateId, ids] of order) {
    const sent = [...confirmed].filter(([, id]) => id === aggregateId).map(([eventId]) => eventId)
    expect(ids.filter((id) => confirmed.has(id))).toEqual(sent)
  }
})
