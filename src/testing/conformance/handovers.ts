import assert from 'node:assert/strict'
import type { BrokerOptions } from '../../index.ts'
import { type ConformanceTest, test } from './conformance-test.ts'
import { Marked, marked, Noted, noted, Unheard } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

const AGGREGATES = ['Order-1', 'Order-2', 'Order-3', 'Order-4', 'Order-5', 'Order-6']
const PER_AGGREGATE = 5

/** A consumer of the group `main` with the code of the release before `Marked` got a handler. */
async function older(scene: Scene, options: BrokerOptions = {}) {
  const handled = new Recording<Noted>()
  const bus = await scene.consumer((it) => it.subscribe(Noted, handled.handler), options)
  return { bus, handled }
}

/** A consumer of the group `main` with the code of the release that handles `Marked`, too. */
async function newer(scene: Scene) {
  const marks = new Recording<Marked>()
  const bus = await scene.consumer((it) => {
    it.subscribe(Noted, () => undefined)
    it.subscribe(Marked, marks.handler)
  })
  return { bus, marks }
}

/** Promise 15: event types that not every member of a group handles. */
export const handoverTests: readonly ConformanceTest[] = [
  test('keeps events for the member of the group that handles their type, in order', {
    needs: ['consumerGroups', 'deadLetters', 'groupTypes'],
  }, async (scene) => {
    const before = await older(scene)
    const after = await newer(scene)
    // The older member gets all events first.
    await after.bus.stopConsuming()
    for (let n = 0; n < PER_AGGREGATE; n += 1)
      await after.bus.publish(AGGREGATES.map((aggregateId) => marked(aggregateId, n)))
    await scene.until(
      'a kept event',
      () => before.bus.getStats().inFlight > 0,
      () => before.bus.getStats(),
    )
    await scene.consume(after.bus)
    await before.bus.shutdown()

    await scene.runs(after.marks, AGGREGATES.length * PER_AGGREGATE)
    for (const id of AGGREGATES) {
      const order = after.marks.events.flatMap(({ aggregateId, n }) => (aggregateId === id ? [n] : []))
      assert.deepEqual([...new Set(order)], [0, 1, 2, 3, 4])
    }
    const { eventsSkipped, messagesSentToDlq } = before.bus.getStats()
    assert.deepEqual([eventsSkipped, messagesSentToDlq], [0, 0])
  }),

  test('keeps the later events of the aggregate behind an event for another member', {
    needs: ['consumerGroups', 'lanes', 'groupTypes'],
  }, async (scene) => {
    const before = await older(scene)
    const after = await newer(scene)
    await after.bus.shutdown()
    await before.bus.publish([noted('Order-1', 1), marked('Order-1', 2), noted('Order-1', 3)])
    await before.bus.publish([noted('Order-2', 4)])

    const seen = () => before.handled.events.map(({ n }) => n)
    await scene.until('the events of the other aggregate', () => seen().includes(4), seen)
    assert.deepEqual(seen().toSorted(), [1, 4])
    assert.equal(before.bus.getStats().inFlight, 2)
  }),

  test('dead-letters an event that no other member takes over in time, for a replay', {
    needs: ['consumerGroups', 'deadLetters', 'groupTypes'],
  }, async (scene) => {
    const before = await older(scene, { handoverTimeoutMs: 200 })
    const first = await newer(scene)
    await first.bus.shutdown()
    const mark = marked('Order-1', 1)
    await before.bus.publish([mark])

    await scene.until('a dead letter', async () => (await before.bus.deadLetters.count()) === 1)
    const [letter] = (await before.bus.deadLetters.list()).deadLetters
    assert.equal(letter?.reason, 'handler_not_found')
    assert.match(letter?.errorMessage ?? '', /^This consumer has no handler for ConformanceMarked\./)
    await before.bus.shutdown()
    const after = await newer(scene)
    assert.equal(await after.bus.deadLetters.replayAll(), 1)
    await scene.runs(after.marks, 1)
    assert.ok(after.marks.has(mark))
  }),

  test('keeps events for a member that handles all types', {
    needs: ['consumerGroups', 'groupTypes'],
  }, async (scene) => {
    const before = await older(scene)
    const after = await scene.consumer((it) => it.subscribeToAllEvents(() => undefined))
    await after.shutdown()
    await before.bus.publish([marked('Order-1'), marked('Order-2'), noted('Order-3', 1)])

    await scene.runs(before.handled, 1)
    await scene.until(
      'two kept events',
      () => before.bus.getStats().inFlight === 2,
      () => before.bus.getStats(),
    )
    assert.equal(before.bus.getStats().eventsSkipped, 0)
  }),

  test('skips at once what only this consumer handled, after it has unsubscribed', {
    needs: ['consuming'],
  }, async (scene) => {
    const { bus, handled } = await older(scene)
    const subscription = bus.subscribe(Marked, () => undefined)
    subscription.unsubscribe()
    await bus.publish([marked('Order-1'), noted('Order-1', 1)])

    await scene.runs(handled, 1)
    assert.equal(bus.getStats().eventsSkipped, 1)
  }),

  test('keeps nothing for other members if it is told not to', {
    needs: ['consumerGroups'],
  }, async (scene) => {
    const before = await older(scene, { handoverTimeoutMs: 0 })
    const after = await newer(scene)
    await after.bus.shutdown()
    await before.bus.publish([marked('Order-1'), noted('Order-1', 1)])

    await scene.runs(before.handled, 1)
    assert.equal(before.bus.getStats().eventsSkipped, 1)
  }),

  test('dead-letters events without a handler if it is to, for handlers that come later', {
    needs: ['consuming', 'deadLetters'],
  }, async (scene) => {
    const { bus } = await older(scene, { unhandledEvents: 'deadLetter' })
    const event = new Unheard({ aggregateId: 'Order-1', n: 1 })
    await bus.publish([event])

    await scene.until('a dead letter', async () => (await bus.deadLetters.count()) === 1)
    const [letter] = (await bus.deadLetters.list()).deadLetters
    assert.equal(letter?.reason, 'handler_not_found')
    const later = new Recording<Unheard>()
    bus.subscribe(Unheard, later.handler)
    assert.equal(await bus.deadLetters.replayAll(), 1)
    await scene.runs(later, 1)
    assert.deepEqual(later.ids, [event.eventId])
    assert.equal(bus.getStats().eventsSkipped, 0)
  }),
]
