import assert from 'node:assert/strict'
import { type DomainEvent, GenericEvent } from '../../index.ts'
import { test } from './conformance-test.ts'
import { ids, Marked, marked, Noted, noted, series } from './events.ts'
import { Recording } from './recording.ts'

/** Promise 2: at least once, to every handler of every group; and exactly once without a fault. */
export const deliveryTests = [
  test('delivers to each handler the types that it subscribed to', {}, async (scene) => {
    const onlyNoted = new Recording<Noted>()
    const both = new Recording<Noted | Marked>()
    const all = new Recording()
    const bus = await scene.bus()
    bus.subscribe(Noted, onlyNoted.handler)
    bus.subscribeAll({ subscribedTo: () => [Noted, Marked], handle: both.handler })
    bus.subscribeToAllEvents(all.handler)
    await scene.consume(bus)
    const events = [noted('Order-1'), marked('Order-1'), noted('Order-1')]

    await bus.publish(events)

    await scene.runs(all, 3)
    assert.deepEqual(both.ids, ids(events))
    assert.deepEqual(all.ids, ids(events))
    assert.deepEqual(onlyNoted.ids, ids(events.filter((event) => event instanceof Noted)))
  }),

  test('calls a handler once for each of its subscriptions', {}, async (scene) => {
    const twice = new Recording()
    const bus = await scene.bus()
    bus.subscribe(Noted, twice.handler)
    bus.subscribe(Noted, twice.handler)
    bus.subscribeToAllEvents(twice.handler)
    await scene.consume(bus)
    await bus.publish([noted('Order-1')])
    await scene.runs(twice, 3)

    assert.equal(bus.unsubscribe(Noted, twice.handler), true)
    const second = noted('Order-1')
    await bus.publish([second])
    await scene.until('two runs', () => twice.runsOf(second).length >= 2)

    assert.equal(bus.unsubscribe(Noted, twice.handler), true)
    assert.equal(bus.unsubscribe(Noted, twice.handler), false)
    const third = noted('Order-1')
    await bus.publish([third])
    await scene.until('a run', () => twice.has(third))
    assert.equal(bus.unsubscribeFromAllEvents(twice.handler), true)
    assert.equal(bus.unsubscribeFromAllEvents(twice.handler), false)
    assert.equal(twice.runs.length, 6)
  }),

  test('delivers no event to a handler that was unsubscribed', {}, async (scene) => {
    const stays = new Recording()
    const leaves = new Recording<Noted>()
    const bus = await scene.bus()
    bus.subscribeToAllEvents(stays.handler)
    using subscription = bus.subscribe(Noted, leaves.handler)
    await scene.consume(bus)
    await bus.publish([noted('Order-1')])
    await scene.runs(stays, 1)
    await scene.runs(leaves, 1)

    assert.equal(subscription.unsubscribe(), true)
    await bus.publish([noted('Order-1')])

    await scene.runs(stays, 2)
    assert.equal(leaves.runs.length, 1)
  }),

  test('respects a handler that declines an event', {}, async (scene) => {
    const even = new Recording<Noted>()
    const all = new Recording<Noted>()
    const bus = await scene.bus()
    bus.subscribe(Noted, { canHandle: ({ n }) => n % 2 === 0, handle: even.handler })
    bus.subscribe(Noted, all.handler)
    await scene.consume(bus)

    await bus.publish(series('Order-1', 5))

    await scene.runs(all, 5)
    assert.deepEqual(
      even.events.map(({ n }) => n),
      [0, 2, 4],
    )
  }),

  test('lets a handler publish, subscribe and unsubscribe', {}, async (scene) => {
    const marks = new Recording<Marked>()
    const bus = await scene.bus()
    const subscription = bus.subscribe(Noted, async ({ aggregateId, n }) => {
      bus.subscribe(Marked, marks.handler)
      subscription.unsubscribe()
      await bus.publish([marked(aggregateId, n)])
    })
    await scene.consume(bus)

    await bus.publish([noted('Order-1', 7)])

    await scene.runs(marks, 1)
    assert.deepEqual(
      marks.events.map(({ n }) => n),
      [7],
    )
  }),

  test('accepts subscriptions after connect, and after consuming started', {
    needs: ['consuming'],
  }, async (scene) => {
    const early = new Recording()
    const late = new Recording<Noted>()
    const bus = await scene.brokerBus()
    await bus.connect()
    bus.subscribe(Marked, early.handler)
    await scene.consume(bus)
    await bus.publish([marked('Order-1')])
    await scene.runs(early, 1)

    bus.subscribe(Noted, late.handler)
    const event = noted('Order-1')
    await bus.publish([event])

    await scene.runs(late, 1)
    assert.deepEqual(late.ids, [event.eventId])
  }),

  test('carries a large event', {}, async (scene) => {
    const recording = new Recording<Noted>()
    const bus = await scene.bus()
    bus.subscribe(Noted, recording.handler)
    await scene.consume(bus)
    const text = 'ä'.repeat(150_000)

    await bus.publish([new Noted({ aggregateId: 'Order-1', n: 0, text })])

    await scene.runs(recording, 1)
    assert.equal(recording.events[0]?.text, text)
  }),

  test('delivers every event to each of two groups', { needs: ['consumerGroups'] }, async (scene) => {
    const a = new Recording<Noted>()
    const b = new Recording<Noted>()
    const bus = await scene.consumer((it) => it.subscribe(Noted, a.handler), { consumerGroup: 'a' })
    await scene.consumer((it) => it.subscribe(Noted, b.handler), { consumerGroup: 'b' })
    const events = Array.from({ length: 50 }, (_, n) => noted(`Order-${n % 10}`, n))

    await bus.publish(events)

    await scene.runs(a, 50)
    await scene.runs(b, 50)
    assert.deepEqual([...a.ids].sort(), [...ids(events)].sort())
    assert.deepEqual([...b.ids].sort(), [...ids(events)].sort())
  }),

  test('shares the events among the consumers of a group', { needs: ['consumerGroups'] }, async (scene) => {
    const bothWork = Promise.withResolvers<void>()
    const hasWork = new Set<string>()
    const work = (name: string) => async () => {
      if (hasWork.add(name).size === 2) bothWork.resolve()
      await Promise.race([bothWork.promise, scene.ended])
    }
    const a = new Recording<Noted>(work('a'))
    const b = new Recording<Noted>(work('b'))
    const options = { maxInFlight: 20 }
    const bus = await scene.consumer((it) => it.subscribe(Noted, a.handler), options)
    await scene.consumer((it) => it.subscribe(Noted, b.handler), options)
    const events = Array.from({ length: 200 }, (_, n) => noted(`Order-${n}`, n))

    await bus.publish(events)

    const handled = () => [...a.ids, ...b.ids]
    await scene.until(
      'each event',
      () => handled().length >= 200,
      () => [a.runs.length, b.runs.length],
    )
    assert.deepEqual(handled().sort(), [...ids(events)].sort())
    assert.ok(a.runs.length > 0 && b.runs.length > 0)
  }),

  test('repeats nothing without a fault', {
    needs: ['consumerGroups', 'redelivery'],
  }, async (scene) => {
    const recordings = Array.from({ length: 3 }, () => new Recording<Noted>())
    const buses = await Promise.all(
      recordings.map(({ handler }) => scene.consumer((bus) => bus.subscribe(Noted, handler))),
    )
    const publisher = await scene.bus()
    const events = Array.from({ length: 300 }, (_, n) => noted(`Order-${n % 30}`, n))
    await publisher.publish(events)
    const handled = () => recordings.flatMap(({ ids: seen }) => seen)
    await scene.until(
      'each event',
      () => handled().length >= 300,
      () => handled().length,
    )

    await Promise.all(buses.map((bus) => bus.shutdown()))

    await scene.assertNothingLeft(publisher)
    assert.deepEqual(handled().sort(), [...ids(events)].sort())
  }),

  test('counts and skips a type without a subscription', { needs: ['consuming'] }, async (scene) => {
    const marks = new Recording<Marked>()
    const bus = await scene.consumer((it) => it.subscribe(Marked, marks.handler))

    await bus.publish(series('Order-1', 3))
    await scene.flush(bus, 'Order-1', marks)

    await scene.until(
      '3 skipped',
      () => bus.getStats().eventsSkipped === 3,
      () => bus.getStats(),
    )
    await scene.until(
      '1 success',
      () => bus.getStats().eventsProcessedSuccess === 1,
      () => bus.getStats(),
    )
    assert.equal(bus.getStats().eventsConsumed, 1)
  }),

  test('delivers an event of an unknown type to a wildcard handler as a GenericEvent', {
    needs: ['wire'],
  }, async (scene) => {
    const all = new Recording<DomainEvent>()
    await scene.consumer((it) => it.subscribeToAllEvents(all.handler))
    const publisher = await scene.bus()
    const event = noted('Order-1', 5)

    await publisher.publish([event])

    await scene.runs(all, 1)
    const [received] = all.events
    assert.ok(received instanceof GenericEvent)
    assert.equal(received.eventId, event.eventId)
    assert.equal(received.eventType, 'ConformanceNoted')
    assert.deepEqual({ ...received.data }, { n: 5 })
  }),

  test('counts consumed events as the sum of successes, failures and events in flight', {
    needs: ['consuming', 'deadLetters'],
  }, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const work = new Recording<Noted>(async ({ n }) => {
      await Promise.race([gate.promise, scene.ended])
      if (n >= 4) throw new Error('planned')
    })
    const bus = await scene.consumer((it) => it.subscribe(Noted, work.handler, { name: 'work' }), {
      maxRetries: 1,
    })
    const check = () => {
      const { eventsConsumed, eventsProcessedSuccess, eventsProcessedFailed, inFlight } = bus.getStats()
      assert.equal(eventsConsumed, eventsProcessedSuccess + eventsProcessedFailed + inFlight)
    }
    await bus.publish(Array.from({ length: 6 }, (_, n) => noted(`Order-${n}`, n)))
    await scene.until(
      '6 in flight',
      () => bus.getStats().inFlight === 6,
      () => bus.getStats(),
    )
    check()

    gate.resolve()
    await scene.until(
      'all settled',
      () => bus.getStats().inFlight === 0,
      () => bus.getStats(),
    )

    check()
    const { eventsProcessedSuccess, eventsProcessedFailed, ...stats } = bus.getStats()
    assert.deepEqual([eventsProcessedSuccess, eventsProcessedFailed], [4, 2])
    assert.deepEqual([stats.eventsRetried, stats.messagesSentToDlq, stats.handlerErrors], [2, 2, 4])
    assert.ok(stats.lastConsumeAt instanceof Date && stats.lastErrorAt instanceof Date)
    await bus.stopConsuming()
    check()
  }),
]
