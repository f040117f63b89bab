import assert from 'node:assert/strict'
import type { BrokerEventBus } from '../../index.ts'
import { test } from './conformance-test.ts'
import { Marked, marked, Noted, noted } from './events.ts'
import { Recording } from './recording.ts'

/**
 * No run starts before its turn, at 20 turns a second from the publish on. A busy machine only makes the starts later. A late
 * turn need not delay those after it, so each run may start up to an interval early.
 */
function assertPace({ runs }: Recording<Noted>, publishedAt: number): void {
  const starts = runs.map(({ startedAt }) => Math.floor(startedAt - publishedAt)).toSorted((a, b) => a - b)
  assert.deepEqual(
    starts.filter((ms, n) => ms < (n - 1) * 50),
    [],
    `the runs started after ${starts} ms`,
  )
}

/** Promise 18: a handler runs no more often than its policy says. */
export const limitTests = [
  test('runs a handler at most as often at the same time as its policy says', {}, async (scene) => {
    const gate = Promise.withResolvers<void>()
    let running = 0
    let most = 0
    const limited = new Recording<Noted>(async () => {
      running += 1
      most = Math.max(most, running)
      await gate.promise
      running -= 1
    })
    const marks = new Recording<Marked>()
    const bus = await scene.bus()
    bus.subscribe(Noted, limited.handler, { name: 'limited', concurrency: 2 })
    bus.subscribe(Marked, marks.handler, { name: 'marks' })
    await scene.consume(bus)

    const publishes = Array.from({ length: 6 }, (_, n) => bus.publish([noted(`Order-${n}`, n)]))
    await scene.runs(limited, 2)
    await bus.publish([marked('Order-9')])
    await scene.runs(marks, 1)
    gate.resolve()
    await scene.runs(limited, 6)
    await scene.within(Promise.all(publishes), 'the publishes')

    assert.equal(most, 2)
  }),

  test('starts the runs of a handler at most at the rate of its policy, retries included', {
    needs: ['retry'],
  }, async (scene) => {
    const limited = new Recording<Noted>(({ n }, { attempt }) => {
      if (n === 0 && attempt === 1) throw new Error('planned')
    })
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, limited.handler, { name: 'limited', ratePerSecond: 20, maxRetries: 1 })
    })

    const publishedAt = performance.now()
    await bus.publish(Array.from({ length: 6 }, (_, n) => noted(`Order-${n}`, n)))
    await scene.runs(limited, 7)

    assertPace(limited, publishedAt)
  }),

  test('starts the runs of a handler at most at the rate of the group, in all of its members together', {
    needs: ['consuming', 'consumerGroups', 'groupRate'],
  }, async (scene) => {
    const recording = new Recording<Noted>()
    const subscribe = (it: BrokerEventBus) =>
      it.subscribe(Noted, recording.handler, { name: 'limited', groupRatePerSecond: 20 })
    const members: BrokerEventBus[] = []
    for (let n = 0; n < 3; n += 1) members.push(await scene.consumer(subscribe))

    const publishedAt = performance.now()
    await members[0]?.publish(Array.from({ length: 13 }, (_, n) => noted(`Order-${n}`, n)))
    await scene.runs(recording, 13)

    assertPace(recording, publishedAt)
    assert.ok(members.every((bus) => bus.getStats().eventsProcessedFailed === 0))
  }),

  test('does not let a handler that waits for its limit take the place of others', {
    needs: ['lanes', 'consuming'],
  }, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const limited = new Recording<Noted>(() => gate.promise)
    const marks = new Recording<Marked>()
    const bus = await scene.consumer(
      (it) => {
        it.subscribe(Noted, limited.handler, { name: 'limited', concurrency: 1 })
        it.subscribe(Marked, marks.handler, { name: 'marks' })
      },
      { concurrency: 2 },
    )

    await bus.publish(Array.from({ length: 5 }, (_, n) => noted(`Order-${n}`, n)))
    await scene.runs(limited, 1)
    await bus.publish(Array.from({ length: 3 }, (_, n) => marked(`Mark-${n}`, n)))
    await scene.runs(marks, 3)

    assert.equal(limited.runs.length, 1)
    gate.resolve()
    await scene.runs(limited, 5)
  }),

  test('keeps the order of an aggregate whose handler waits for its limit, also across a stop', {
    needs: ['lanes', 'redelivery'],
  }, async (scene) => {
    const subscribe = (recording: Recording<Noted>) =>
      scene.consumer((it) => it.subscribe(Noted, recording.handler, { name: 'limited', ratePerSecond: 50 }))
    const [before, after] = [new Recording<Noted>(), new Recording<Noted>()]
    const first = await subscribe(before)
    await first.publish(Array.from({ length: 20 }, (_, n) => noted(`Order-${n % 2}`, n)))
    await scene.runs(before, 4)
    await first.shutdown()
    await subscribe(after)

    await scene.until(
      'all events',
      () => before.runs.length + after.runs.length === 20,
      () => [before.runs.length, after.runs.length],
    )
    for (const rest of [0, 1]) {
      const numbers = [...before.events, ...after.events].map(({ n }) => n).filter((n) => n % 2 === rest)
      assert.deepEqual(
        numbers,
        numbers.toSorted((a, b) => a - b),
      )
    }
    assert.ok(after.runs.every(({ attempt }) => attempt === 1))
  }),

  test('refuses a limit that it does not understand', {}, async (scene) => {
    const bus = await scene.bus()
    const subscribe = (options: object) => bus.subscribe(Noted, () => undefined, options)
    assert.throws(() => subscribe({ concurrency: 0 }), /concurrency must be a positive integer/)
    assert.throws(() => subscribe({ ratePerSecond: 0 }), /ratePerSecond must be a positive number/)
    const rate = { groupRatePerSecond: 5 }
    assert.throws(() => subscribe(rate), /needs a name|use ratePerSecond/)
  }),
]
