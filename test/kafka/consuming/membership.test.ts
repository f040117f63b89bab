import { setImmediate } from 'node:timers/promises'
import { expect } from 'vitest'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { gradualProtocols, itWithEach } from '../protocols.ts'
import { consume, createBus, freshName, noticesOf, until } from '../scene.ts'

const EVENTS = 50_000
const BATCH = 500
const AGGREGATES = 200

/** Records the events that consumers handled, and their order. */
class Book {
  readonly runs = new Map<string, number>()
  readonly firsts = new Map<string, string[]>()
  readonly byConsumer = new Map<string, number>()
  repeats = 0

  note(consumer: string, { aggregateId, eventId }: OrderCreated): void {
    this.byConsumer.set(consumer, (this.byConsumer.get(consumer) ?? 0) + 1)
    const runs = this.runs.get(eventId) ?? 0
    this.runs.set(eventId, runs + 1)
    if (runs > 0) this.repeats += 1
    else this.firsts.set(aggregateId, [...(this.firsts.get(aggregateId) ?? []), eventId])
  }
}

itWithEach(
  gradualProtocols,
  'loses nothing and keeps the order while consumers join and leave during 50,000 events (%s)',
  async (protocol) => {
    const options = { topicPrefix: freshName(), topicPartitions: 6, ...protocol }
    const book = new Book()
    const start = async (name: string) => {
      const bus = createBus({ ...options, consumerName: name })
      bus.subscribe(OrderCreated, async (event) => {
        await setImmediate()
        book.note(name, event)
      })
      return consume(bus)
    }
    const publisher = createBus(options)
    const sent = new Map<string, string[]>()
    const phase = { isOver: false }
    const publishing = (async () => {
      for (let from = 0; from < EVENTS || !phase.isOver; from += BATCH) {
        const events = Array.from({ length: BATCH }, (_, n) =>
          orderCreated(`Order-${(from + n) % AGGREGATES}`),
        )
        for (const { aggregateId, eventId } of events) {
          sent.set(aggregateId, [...(sent.get(aggregateId) ?? []), eventId])
        }
        await publisher.publish(events)
        // Publish until all consumers have joined and left, but not faster than the events are handled.
        await until('the consumers to keep up', () => from - book.runs.size < 10_000, 60_000)
      }
    })()
    const worksOn = (name: string) => {
      const before = book.byConsumer.get(name) ?? 0
      return until(
        `1,000 more events by ${name}`,
        () => (book.byConsumer.get(name) ?? 0) >= before + 1000,
        60_000,
      )
    }

    const a = await start('a')
    await worksOn('a')
    const b = await start('b')
    await worksOn('b')
    const c = await start('c')
    const notices = noticesOf(c)
    await worksOn('c')
    await b.shutdown()
    await worksOn('c')
    const d = await start('d')
    await worksOn('d')
    await a.shutdown()
    await worksOn('c')
    phase.isOver = true
    await publishing
    const total = [...sent.values()].flat().length
    await until(
      () => `${total} events, saw ${book.runs.size}`,
      () => book.runs.size >= total,
      60_000,
    )

    expect(total).toBeGreaterThanOrEqual(EVENTS)
    expect(book.firsts).toEqual(sent)
    expect(book.repeats).toBe(0)
    expect(c.getStats().rebalanceCount).toBeGreaterThanOrEqual(2)
    for (const bus of [c, d])
      expect(bus.getStats()).toMatchObject({ eventsProcessedFailed: 0, handlerErrors: 0 })
    expect(notices).toEqual([])
  },
)
