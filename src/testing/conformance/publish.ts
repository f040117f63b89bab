import assert from 'node:assert/strict'
import { BusClosedError, type DomainEvent, EventLimitError } from '../../index.ts'
import { test } from './conformance-test.ts'
import { ids, Noted, noted, series } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

/** Promise 1: publish is a receipt. Publishing during an outage is in outages.ts. */
export const publishTests = [
  test('delivers an event to its handler unchanged', {}, async (scene) => {
    const recording = new Recording<Noted>()
    const bus = await scene.bus()
    bus.subscribe(Noted, recording.handler)
    await scene.consume(bus)
    const event = new Noted({
      aggregateId: 'Order-1',
      aggregateVersion: 7,
      n: 3,
      text: 'Zoë 🎈 "quoted"\n\u2028',
      tenantId: 'tenant',
      actorId: 'actor',
      causationId: 'cause',
      occurredAt: new Date('2024-02-29T12:34:56.789Z'),
      metadata: { nested: { list: [1, 'two', null] } },
    })

    await bus.publish([event])

    await scene.runs(recording, 1)
    const [received] = recording.events
    assert.ok(received instanceof Noted)
    assert.deepEqual(plain(received), plain(event))
  }),

  test('keeps the order of the events of one call', {}, async (scene) => {
    const recording = new Recording<Noted>()
    const bus = await scene.bus()
    bus.subscribe(Noted, recording.handler)
    await scene.consume(bus)
    const events = series('Order-1', 100)

    await bus.publish(events)

    await scene.runs(recording, 100)
    assert.deepEqual(recording.ids, ids(events))
  }),

  test('refuses events that no consumer could decode, and publishes none of their call', {}, async (scene) => {
    const recording = new Recording<Noted>()
    const bus = await scene.bus()
    bus.subscribe(Noted, recording.handler)
    await scene.consume(bus)
    let deep: object = {}
    for (let level = 0; level < 62; level += 1) deep = { deep }
    const many = Array.from({ length: 30_001 }, (_, n) => n)
    const fields = Object.fromEntries(Array.from({ length: 10_001 }, (_, n) => [`field${n}`, n]))

    const withMetadata = (metadata: object) =>
      new Noted({ aggregateId: 'Order-1', n: 0, metadata: { ...metadata } })
    for (const [refused, limit] of [
      [withMetadata({ deep }), /deeper than the 64 levels/],
      [withMetadata({ many }), /more than the 30000 values/],
      [withMetadata({ fields }), /more than the 10000 fields/],
      [noted('o'.repeat(5000)), /aggregateId has 5000 characters, more than the 4096/],
    ] as const) {
      await assert.rejects(bus.publish([noted('Order-1'), refused]), (error) => {
        assert.ok(error instanceof EventLimitError)
        assert.match(error.message, limit)
        return true
      })
    }

    const event = noted('Order-1')
    await bus.publish([event])
    await scene.runs(recording, 1)
    assert.deepEqual(recording.ids, [event.eventId])
  }),

  test('delivers metadata as the event of the publisher has it, with dates as text', {}, async (scene) => {
    const recording = new Recording<Noted>()
    const bus = await scene.bus()
    bus.subscribe(Noted, recording.handler)
    await scene.consume(bus)
    const since = new Date('2025-01-02T03:04:05.678Z')
    const metadata = { since, list: [since], count: 7n, none: undefined, deep: { at: since } }
    const event = new Noted({ aggregateId: 'Order-1', n: 0, metadata })

    await bus.publish([event])

    await scene.runs(recording, 1)
    assert.deepEqual(recording.events[0]?.metadata, event.metadata)
    const text = '2025-01-02T03:04:05.678000Z'
    assert.deepEqual(event.metadata, { since: text, list: [text], count: 7, deep: { at: text } })
  }),

  test('treats an empty array as a no-op', {}, async (scene) => {
    const recording = new Recording<Noted>()
    const bus = await scene.bus()
    bus.subscribe(Noted, recording.handler)
    await scene.consume(bus)

    await bus.publish([])
    assert.equal(statsOf(bus).eventsPublished, 0)
    const event = noted('Order-1')
    await bus.publish([event])

    await scene.runs(recording, 1)
    assert.deepEqual(recording.ids, [event.eventId])
    assert.equal(statsOf(bus).eventsPublished, 1)
  }),

  test('rejects a value that is not an event, and publishes nothing of that call', {}, async (scene) => {
    const recording = new Recording<Noted>()
    const bus = await scene.bus()
    bus.subscribe(Noted, recording.handler)
    await scene.consume(bus)
    // A program without types could pass this.
    const notAnEvent = { eventType: 'ConformanceNoted' } as unknown as DomainEvent

    await assert.rejects(bus.publish([noted('Order-1', 0), notAnEvent]), TypeError)
    await bus.publish([noted('Order-1', 1)])

    await scene.runs(recording, 1)
    assert.deepEqual(
      recording.events.map(({ n }) => n),
      [1],
    )
  }),

  test('connects when it is first used', { needs: ['consuming'] }, async (scene) => {
    const recording = new Recording<Noted>()
    const consumer = await scene.brokerBus()
    consumer.subscribe(Noted, recording.handler)
    const consuming = consumer.startConsuming()
    await scene.within(consumer.whenConsuming(), 'the bus to consume')
    const publisher = await scene.bus()

    await publisher.publish([noted('Order-1')])

    await scene.runs(recording, 1)
    await consumer.stopConsuming()
    await scene.within(consuming, 'startConsuming to resolve after stopConsuming')
  }),

  test('rejects with BusClosedError after shutdown', {}, async (scene) => {
    const bus = await scene.bus()
    await bus.shutdown()

    await assert.rejects(bus.publish([noted('Order-1')]), BusClosedError)
    await assert.rejects(bus.publish([noted('Order-1')], { background: true }), BusClosedError)
  }),

  test('keeps events that are published before the first subscription', {
    needs: ['history'],
  }, async (scene) => {
    const recording = new Recording<Noted>()
    const publisher = await scene.bus()
    const events = series('Order-1', 100)
    await publisher.publish(events)

    await scene.consumer((bus) => bus.subscribe(Noted, recording.handler))

    await scene.runs(recording, 100)
    assert.deepEqual(recording.ids, ids(events))
  }),

  test('keeps events that are published while no consumer of a group runs', {
    needs: ['persistence'],
  }, async (scene) => {
    await scene.declareGroup()
    const recording = new Recording<Noted>()
    const publisher = await scene.bus()
    const events = series('Order-1', 100)
    await publisher.publish(events)

    await scene.consumer((bus) => bus.subscribe(Noted, recording.handler))

    await scene.runs(recording, 100)
    assert.deepEqual(recording.ids, ids(events))
  }),

  test('keeps the order of consecutive publishes', { needs: ['lanes'] }, async (scene) => {
    const recording = new Recording<Noted>()
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler))
    const events = series('Order-1', 50)

    for (const event of events) await bus.publish([event])

    await scene.runs(recording, 50)
    assert.deepEqual(recording.ids, ids(events))
  }),

  test('returns at once from a background publish', {}, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const recording = new Recording<Noted>(() => gate.promise)
    const bus = await scene.bus()
    bus.subscribe(Noted, recording.handler)
    await scene.consume(bus)

    await bus.publish([noted('Order-1')], { background: true })
    assert.equal(recording.runs.length, 0)
    assert.equal(bus.getBackgroundTaskCount(), 1)

    await scene.runs(recording, 1)
    gate.resolve()
    await scene.until('the background publish to end', () => bus.getBackgroundTaskCount() === 0)
  }),

  test('finishes background publishes before a shutdown ends', { needs: ['persistence'] }, async (scene) => {
    await scene.declareGroup()
    const events = series('Order-1', 50)
    const publisher = await scene.bus()

    // The bus is not connected yet, but it publishes accepted events even so.
    for (const event of events) await publisher.publish([event], { background: true })
    await publisher.shutdown()
    assert.equal(publisher.getBackgroundTaskCount(), 0)

    const recording = new Recording<Noted>()
    await scene.consumer((bus) => bus.subscribe(Noted, recording.handler))
    await scene.runs(recording, 50)
    assert.deepEqual(new Set(recording.ids), new Set(ids(events)))
  }),

  test('limits the number of background publishes in flight', {}, async (scene) => {
    const recording = new Recording<Noted>()
    const bus = await scene.bus({ maxBackgroundPublishes: 2 })
    bus.subscribe(Noted, recording.handler)
    await scene.consume(bus)

    const publishes = series('Order-1', 20).map((event) => bus.publish([event], { background: true }))
    assert.ok(bus.getBackgroundTaskCount() <= 2)
    await scene.within(Promise.all(publishes), 'the publishes')

    await scene.runs(recording, 20)
    await scene.until('the background publishes to end', () => bus.getBackgroundTaskCount() === 0)
  }),

  test(
    'loses nothing between 50 publishers and many competing consumers',
    {
      needs: ['consumerGroups'],
    },
    loseNothingInACrowd,
  ),

  test('counts published events, and records the time of the last one', {
    needs: ['consuming'],
  }, async (scene) => {
    await scene.declareGroup()
    const bus = await scene.brokerBus()
    assert.equal(bus.getStats().lastPublishAt, null)

    await bus.publish(series('Order-1', 3))
    await bus.publish([noted('Order-2')])

    const stats = bus.getStats()
    assert.equal(stats.eventsPublished, 4)
    assert.ok(stats.lastPublishAt instanceof Date && stats.connectedAt instanceof Date)
  }),
]

async function loseNothingInACrowd(scene: Scene): Promise<void> {
  const recordings = Array.from({ length: scene.competitors }, () => new Recording<Noted>())
  await Promise.all(
    recordings.map((recording) =>
      scene.consumer((bus) => bus.subscribe(Noted, recording.handler), { maxInFlight: 20 }),
    ),
  )
  const publishers = await Promise.all(Array.from({ length: 50 }, () => scene.bus()))
  const published = publishers.map((_, index) => series(`Order-${index}`, 20))

  await Promise.all(
    publishers.map(async (publisher, index) => {
      for (const event of published[index] ?? []) await publisher.publish([event])
    }),
  )

  const expected = published.flatMap(ids).sort()
  const handled = () => recordings.flatMap(({ ids: seen }) => seen)
  await scene.until(
    'all events',
    () => handled().length >= expected.length,
    () => handled().length,
  )
  assert.deepEqual(handled().sort(), expected)
}

function statsOf(bus: object): { readonly eventsPublished: number } {
  assert.ok('getStats' in bus && typeof bus.getStats === 'function')
  return bus.getStats()
}

/** The fields of an event, with dates as text, so that their class does not matter. */
function plain(event: DomainEvent): unknown {
  return JSON.parse(JSON.stringify(event))
}
