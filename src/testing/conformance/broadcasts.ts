import assert from 'node:assert/strict'
import type { BrokerOptions } from '../../index.ts'
import { type ConformanceTest, test } from './conformance-test.ts'
import { ids, Noted, noted, series } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

const AGGREGATES = ['Order-1', 'Order-2', 'Order-3']

/** A running instance that broadcasts, and what it handles. */
async function instance(scene: Scene, options: BrokerOptions = {}, then?: (event: Noted) => unknown) {
  const handled = new Recording<Noted>(then)
  const bus = await scene.consumer((it) => it.subscribe(Noted, handled.handler), {
    broadcast: true,
    ...options,
  })
  return { bus, handled }
}

/** Every running instance gets every event, if it asks for that. */
export const broadcastTests: readonly ConformanceTest[] = [
  test('delivers every event to every running instance, in order, and once to their group', {
    needs: ['consuming', 'consumerGroups', 'broadcast'],
  }, async (scene) => {
    const instances = await Promise.all([instance(scene), instance(scene), instance(scene)])
    const group = await scene.recordingBus()
    const events = AGGREGATES.flatMap((aggregateId) => series(aggregateId, 5))
    await group.bus.publish(events)

    for (const { handled } of [...instances, { handled: group.recording }]) {
      await scene.runs(handled, events.length)
      for (const id of AGGREGATES) {
        const order = handled.events.flatMap(({ aggregateId, n }) => (aggregateId === id ? [n] : []))
        assert.deepEqual(order, [0, 1, 2, 3, 4])
      }
    }
    assert.ok(instances.every(({ handled }) => handled.runs.length === events.length))
  }),

  test('delivers to an instance only events that are published while it runs', {
    needs: ['consuming', 'consumerGroups', 'broadcast'],
  }, async (scene) => {
    const publisher = await scene.bus()
    await scene.declareGroup()
    await publisher.publish([noted('Order-1', 1)])
    const { bus, handled } = await instance(scene)
    await publisher.publish([noted('Order-1', 2)])
    await scene.runs(handled, 1)
    await bus.stopConsuming()
    await publisher.publish([noted('Order-1', 3)])
    await scene.consume(bus)
    await publisher.publish([noted('Order-1', 4)])

    await scene.runs(handled, 2)
    assert.deepEqual(
      handled.events.map(({ n }) => n),
      [2, 4],
    )
  }),

  test('retries an event for the instance whose handler failed, and drops it after the last attempt', {
    needs: ['consuming', 'consumerGroups', 'deadLetters', 'broadcast'],
  }, async (scene) => {
    const failing = await instance(scene, { maxRetries: 1 }, (event) => {
      if (event.n === 1) throw new Error('no')
    })
    const other = await instance(scene)
    const events = [noted('Order-1', 1), noted('Order-1', 2)]
    await other.bus.publish(events)

    await scene.runs(failing.handled, 3)
    await scene.runs(other.handled, 2)
    assert.deepEqual(
      failing.handled.events.map(({ n }) => n),
      [1, 1, 2],
    )
    assert.deepEqual(other.handled.ids, ids(events))
    assert.equal(await other.bus.deadLetters.count(), 0)
  }),

  test('delivers every event to the other instances after one has crashed', {
    needs: ['consuming', 'consumerGroups', 'broadcast'],
    faults: ['crash'],
  }, async (scene) => {
    const [victim, other] = await Promise.all([instance(scene), instance(scene)])
    const publisher = await scene.bus()
    await scene.crash(victim.bus)
    const next = await instance(scene)
    const events = AGGREGATES.map((aggregateId) => noted(aggregateId))
    await publisher.publish(events)

    for (const { handled } of [other, next]) {
      await scene.runs(handled, events.length)
      assert.deepEqual(new Set(handled.ids), new Set(ids(events)))
    }
  }),

  test('delivers every event to an instance whose connection was lost for a moment', {
    needs: ['consuming', 'consumerGroups', 'outages', 'broadcast'],
    faults: ['cutConnections'],
  }, async (scene) => {
    const { bus, handled } = await instance(scene)
    const first = noted('Order-1', 1)
    await bus.publish([first])
    await scene.runs(handled, 1)
    await scene.cutConnections()
    const later = AGGREGATES.map((aggregateId) => noted(aggregateId, 2))
    // A publish whose confirmation was lost rejects. It may have stored the events.
    await scene.until('the events to be published', () =>
      bus.publish(later).then(
        () => true,
        () => false,
      ),
    )

    await scene.until(
      'all events',
      () => later.every((event) => handled.has(event)),
      () => handled.ids,
    )
  }),
]
