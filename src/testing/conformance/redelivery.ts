import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { test } from './conformance-test.ts'
import { ids, Marked, Noted, noted } from './events.ts'
import { firsts, Recording } from './recording.ts'

/** Promise 8, and promise 2 in crashes. */
export const redeliveryTests = [
  test('takes over the messages of a consumer that crashed', {
    needs: ['redelivery', 'consumerGroups'],
    faults: ['crash'],
  }, async (scene) => {
    const stuck = new Recording<Noted>(() => scene.ended)
    const victim = await scene.consumer((it) => it.subscribe(Noted, stuck.handler))
    const publisher = await scene.bus()
    const events = [noted('Order-1', 0), noted('Order-1', 1), noted('Order-2', 2), noted('Order-3', 3)]
    await publisher.publish(events)
    await scene.runs(stuck, 3)
    const heir = new Recording<Noted>()
    await scene.consumer((it) => it.subscribe(Noted, heir.handler))

    await scene.crash(victim)

    await scene.until(
      'all events',
      () => new Set(heir.ids).size === 4,
      () => heir.events.map(({ n }) => n),
    )
    const ofOne = heir.events.filter(({ aggregateId }) => aggregateId === 'Order-1')
    assert.deepEqual(firsts(ofOne), ids(events.slice(0, 2)))
  }),

  test('loses nothing in a crash, and repeats nothing that was settled before it', {
    needs: ['redelivery', 'consumerGroups'],
    faults: ['crash'],
  }, async (scene) => {
    const marks = new Recording<Marked>()
    // It handles ten events of the second half, and hangs in the others.
    const before = new Recording<Noted>(async () => {
      if (before.runs.length > 110) await scene.ended
      await nextTurn()
    })
    const victim = await scene.consumer(
      (it) => {
        it.subscribe(Noted, before.handler)
        it.subscribe(Marked, marks.handler)
      },
      { concurrency: 100 },
    )
    const publisher = await scene.bus()
    const events = Array.from({ length: 200 }, (_, n) => noted(`Order-${n % 10}`, n))
    await publisher.publish(events.slice(0, 100))
    await scene.runs(before, 100)
    // Acknowledgments may be sent in batches; this is enough time for them.
    await scene.pings(publisher, marks, 300)

    await publisher.publish(events.slice(100))
    // A broker with leases gives unread events to the heir at once, and only later those that the victim held.
    await scene.until(
      'the victim to hold all other events',
      () => victim.getStats().inFlight === 90,
      () => victim.getStats(),
    )
    await scene.crash(victim)
    const after = new Recording<Noted>()
    await scene.consumer((it) => it.subscribe(Noted, after.handler))

    const all = () => new Set([...before.ids, ...after.ids])
    await scene.until(
      'all events',
      () => all().size === 200,
      () => all().size,
    )
    const settled = new Set(ids(events.slice(0, 100)))
    assert.deepEqual(
      after.ids.filter((id) => settled.has(id)),
      [],
      'events repeated although they were settled',
    )
    for (const [key, ofKey] of Map.groupBy(after.events, ({ aggregateId }) => aggregateId)) {
      const numbers = [...new Set(ofKey.map(({ n }) => n))]
      assert.deepEqual(
        numbers,
        numbers.toSorted((a, b) => a - b),
        `order of ${key}`,
      )
    }
  }),

  test('does not redeliver messages that a slow handler works on, or that wait behind it', {
    needs: ['redelivery', 'consumerGroups'],
  }, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const slow = new Recording<Noted>(() => gate.promise)
    const marks = new Recording<Marked>()
    const join = () =>
      scene.consumer((it) => {
        it.subscribe(Noted, slow.handler)
        it.subscribe(Marked, marks.handler)
      })
    const buses = [await join(), await join()]
    const publisher = await scene.bus()
    const events = [noted('Order-1', 0), noted('Order-1', 1), noted('Order-2', 2)]
    await publisher.publish(events)
    await scene.runs(slow, 2)

    // Other consumers start, and look for abandoned messages.
    buses.push(await join())
    await scene.pings(publisher, marks, Math.max(50, 3 * scene.idleLimitMs))
    gate.resolve()

    await scene.until(
      'the last event',
      () => new Set(slow.ids).size === 3,
      () => slow.ids,
    )
    await Promise.all(buses.map((bus) => bus.shutdown()))
    assert.deepEqual(slow.ids.toSorted(), ids(events).toSorted())
    await scene.assertNothingLeft(publisher)
  }),

  test('repeats no handler that had succeeded before the connections were cut, and repeats the one that had failed', {
    needs: ['redelivery', 'outages', 'retry'],
    faults: ['cutConnections'],
  }, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const succeeds = new Recording<Noted>()
    const failsOnce = new Recording<Noted>(async () => {
      const { length } = failsOnce.runs
      await gate.promise
      if (length === 1) throw new Error('planned')
    })
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, succeeds.handler, { name: 'audit' })
      it.subscribe(Noted, failsOnce.handler, { name: 'invoice' })
    })
    const publisher = await scene.bus()
    await publisher.publish([noted('Order-1')])
    await scene.runs(failsOnce, 1)

    await scene.cutConnections()
    await scene.until(
      'the reconnection',
      () => bus.isConnected && bus.getStats().reconnections >= 1,
      () => bus.getStats(),
    )
    gate.resolve()

    await scene.runs(failsOnce, 2)
    await scene.until(
      'the event to be settled',
      () => bus.getStats().inFlight === 0,
      () => bus.getStats(),
    )
    await bus.shutdown()
    assert.deepEqual([succeeds.runs.length, failsOnce.runs.length], [1, 2])
    await scene.assertNothingLeft(publisher)
  }),

  test('does not redeliver a message that waits for its retry', {
    needs: ['redelivery', 'consumerGroups', 'retry'],
  }, async (scene) => {
    const retryBaseDelayMs = Math.max(50, 2 * scene.idleLimitMs)
    const failsOnce = new Recording<Noted>((_event, { attempt }) => {
      if (attempt === 1) throw new Error('planned')
    })
    const join = () =>
      scene.consumer((it) => it.subscribe(Noted, failsOnce.handler), {
        retryBaseDelayMs,
        retryMaxDelayMs: 60_000,
      })
    const buses = [await join(), await join()]
    const publisher = await scene.bus()
    await publisher.publish([noted('Order-1'), noted('Order-2')])

    await scene.runs(failsOnce, 4)
    await Promise.all(buses.map((bus) => bus.shutdown()))

    await scene.assertNothingLeft(publisher)
    assert.deepEqual(
      failsOnce.runs.map(({ attempt }) => attempt),
      [1, 1, 2, 2],
    )
    assert.ok(failsOnce.runs.every(({ deliveryCount }) => deliveryCount === 1))
  }),
]
