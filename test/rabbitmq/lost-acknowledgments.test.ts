import { expect, it } from 'vitest'
import { orderCreated } from '../support/order-events.ts'
import { consume, createBus, freshName, proxiedBus, recorder, until } from './scene.ts'

it.each([
  { of: 'a queue', options: {} },
  { of: 'partitions', options: { partitions: 2 } },
])(
  'handles no event of $of again if its acknowledgment was lost with the connection',
  async ({ options }) => {
    const group = { exchangeName: freshName(), ...options }
    const { bus, proxy } = await proxiedBus(group)
    const seen = recorder(bus)
    await consume(bus)
    const events = Array.from({ length: 10 }, (_, n) => orderCreated(`a${n}`))
    proxy.silence('requests')
    await createBus(group).publish(events)
    await until('all events', () => seen.length === 10)

    proxy.silence(undefined)
    proxy.cut()

    await until('another connection', () => bus.getStats().reconnections > 0)
    const last = orderCreated('last')
    await createBus(group).publish([last])
    await until('a later event', () => seen.some(({ eventId }) => eventId === last.eventId))
    const left = createBus(group)
    // Another partition may be passed on later than that of the last event.
    await until('the events that come again', async () => (await left.getQueueInfo()).messageCount === 0)
    await bus.shutdown()
    // The broker has returned what it did not count as acknowledged.
    expect((await left.getQueueInfo()).messageCount).toBe(0)
    expect(seen.map(({ eventId }) => eventId).toSorted()).toEqual(
      [...events, last].map(({ eventId }) => eventId).toSorted(),
    )
  },
)
