import { expect, it } from 'vitest'
import { defineEvent, InMemoryEventBus } from '../../../src/index.ts'

class Counted extends defineEvent<{ readonly n: number }>()({ type: 'Counted', aggregateType: 'Count' }) {}

const counted = (n: number) => new Counted({ aggregateId: 'a', n })

async function numbers(bus: InMemoryEventBus): Promise<readonly unknown[]> {
  const found: unknown[] = []
  for await (const { event } of bus.admin.browse()) found.push(event instanceof Counted ? event.n : event)
  return found
}

it('lists no consumer group, because publish runs the handlers', async () => {
  await using bus = new InMemoryEventBus()
  expect(await bus.admin.groups()).toEqual([])
  await expect(bus.admin.group('main')).rejects.toThrow(
    'There is no consumer group main here (there are none)',
  )
  await expect(bus.admin.pause('main')).rejects.toMatchObject({ code: 'GROUP_NOT_FOUND' })
  await expect(bus.admin.resume('main')).rejects.toMatchObject({ code: 'GROUP_NOT_FOUND' })
})

it('lists itself as the only consumer, with what its handlers publish', async () => {
  await using bus = new InMemoryEventBus()
  bus.subscribe(Counted, ({ n }) => (n === 0 ? bus.publish([counted(1)]) : undefined), { name: 'counts' })
  bus.subscribe(Counted, () => Promise.resolve(), { name: 'rests' })
  await bus.publish([counted(0)])
  const [consumer, ...others] = await bus.admin.consumers()
  expect(others).toEqual([])
  expect(consumer).toMatchObject({ group: undefined, pid: process.pid, handled: 4, inFlight: 0 })
  const { producers, events, edges } = await bus.admin.topology()
  const { eventType } = Counted
  expect(producers).toMatchObject([{ processes: 1, eventTypes: [eventType] }])
  expect(events).toEqual([eventType])
  expect(edges).toMatchObject([{ eventType, handler: 'counts', publishes: eventType }])
})

it('says in one sentence what to set if it keeps no events', async () => {
  await using bus = new InMemoryEventBus()
  await expect(bus.admin.find('x')).rejects.toMatchObject({
    code: 'HISTORY_UNAVAILABLE',
    message: 'This bus keeps no events; set the option keepLastEvents to the number of events to keep.',
  })
})

it('keeps the last events, and no more', async () => {
  await using bus = new InMemoryEventBus({ keepLastEvents: 3 })
  bus.subscribe(Counted, () => undefined)
  await bus.publish([counted(0), counted(1)])
  expect(await numbers(bus)).toEqual([0, 1])
  for (let n = 2; n < 12; n += 1) await bus.publish([counted(n)])
  expect(await numbers(bus)).toEqual([9, 10, 11])
})
