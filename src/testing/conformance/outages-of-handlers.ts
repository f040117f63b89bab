import assert from 'node:assert/strict'
import { NonRetryableError } from '../../index.ts'
import { test } from './conformance-test.ts'
import { Marked, marked, Noted, noted } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

/** A dependency that is down until it is repaired. */
class Dependency {
  isDown = true

  call(): void {
    if (this.isDown) throw new RangeError('the database does not answer')
  }
}

const GUARD = { failures: 3, withinMs: 60_000, probeDelayMs: 20, maxProbeDelayMs: 100 }

async function guardedBus(scene: Scene, dependency: Dependency) {
  const guarded = new Recording<Noted>(() => dependency.call())
  const marks = new Recording<Marked>()
  const bus = await scene.consumer((it) => {
    it.subscribe(Noted, guarded.handler, { name: 'guarded', maxRetries: 1, outageGuard: GUARD })
    it.subscribe(Marked, marks.handler, { name: 'marks' })
  })
  const logged = (message: string) => scene.log.lines.filter((line) => line.message === message).length
  const paused = () => logged('handler paused, its events fail for the same reason')
  return { bus, guarded, marks, paused, resumed: () => logged('handler resumed') }
}

const events = (count: number) => Array.from({ length: count }, (_, n) => noted(`Order-${n % 8}`, n))

/** Promise 18: an outage of a dependency pauses its handler, and does not fill the dead letters. */
export const handlerOutageTests = [
  test('pauses a handler whose events fail for one reason, dead-letters none, and resumes by itself', {
    needs: ['retry', 'deadLetters', 'lanes'],
  }, async (scene) => {
    const dependency = new Dependency()
    const { bus, guarded, marks, paused, resumed } = await guardedBus(scene, dependency)
    const notices = scene.notices(bus)

    await bus.publish(events(40))
    await scene.until('the handler to pause', () => paused() === 1)
    const { consuming } = (await bus.health()).checks
    assert.deepEqual(
      [consuming.status, consuming.detail],
      ['degraded', 'paused because their events fail: guarded'],
    )
    const before = guarded.runs.length
    // More failures than all events have attempts: those of the probes do not count.
    await scene.runs(guarded, before + 8)
    await bus.publish([marked('Mark-1')])
    await scene.runs(marks, 1)
    dependency.isDown = false
    await scene.until(
      'all events',
      () => bus.getStats().eventsProcessedSuccess === 41,
      () => bus.getStats(),
    )

    assert.equal(bus.getStats().messagesSentToDlq, 0)
    assert.deepEqual([paused(), resumed()], [1, 1])
    assert.deepEqual(
      notices.flatMap((notice) => ('handlerName' in notice ? [`${notice.type} ${notice.handlerName}`] : [])),
      ['handlerPaused guarded', 'handlerResumed guarded'],
    )
    assert.equal((await bus.health()).checks.consuming.status, 'up')
    const succeeded = guarded.events.slice(-40 - 2)
    for (const [key, ofKey] of Map.groupBy(succeeded, ({ aggregateId }) => aggregateId)) {
      const numbers = [...new Set(ofKey.map(({ n }) => n))]
      assert.deepEqual(
        numbers,
        numbers.toSorted((a, b) => a - b),
        `order of ${key}`,
      )
    }
  }),

  test('does not pause a handler for errors that no retry can fix, or if more events succeed', {
    needs: ['retry', 'deadLetters', 'lanes'],
  }, async (scene) => {
    const rejects = new Recording<Noted>(({ n }) => {
      if (n < 10) throw new NonRetryableError('planned')
      if (n % 3 === 0) throw new Error('planned')
    })
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, rejects.handler, { name: 'rejects', maxRetries: 0, outageGuard: { failures: 8 } })
    })

    await bus.publish(events(10))
    await scene.until('ten dead letters', () => bus.getStats().messagesSentToDlq === 10)
    await bus.publish(Array.from({ length: 40 }, (_, n) => noted(`Order-${n % 8}`, n + 10)))
    await scene.until('all events', () => bus.getStats().inFlight === 0 && rejects.runs.length === 50)

    assert.ok(!scene.log.lines.some(({ message }) => message.startsWith('handler paused')))
  }),

  test('counts no attempt of an outage, also after a stop', {
    needs: ['retry', 'deadLetters', 'lanes', 'redelivery'],
  }, async (scene) => {
    const dependency = new Dependency()
    const { bus, guarded, paused } = await guardedBus(scene, dependency)
    await bus.publish(events(8))
    await scene.until('the handler to pause', () => paused() === 1)
    await scene.runs(guarded, 20)
    await bus.shutdown()

    const after = new Recording<Noted>()
    await scene.consumer((it) => it.subscribe(Noted, after.handler, { name: 'guarded', maxRetries: 1 }))
    await scene.runs(after, 8)

    // The attempts that failed before the handler paused count.
    assert.ok(after.runs.every(({ attempt }) => attempt <= 2))
    assert.equal(await bus.deadLetters.count().catch(() => 0), 0)
  }),

  test('counts no probe that a crash interrupts', {
    needs: ['retry', 'deadLetters', 'lanes', 'redelivery', 'consumerGroups'],
    faults: ['crash'],
  }, async (scene) => {
    const guarded = new Recording<Noted>(() => {
      if (guarded.runs.length > 3) return scene.ended
      throw new RangeError('the database does not answer')
    })
    const victim = await scene.consumer((it) => {
      it.subscribe(Noted, guarded.handler, { name: 'guarded', maxRetries: 1, outageGuard: GUARD })
    })
    const publisher = await scene.brokerBus()
    await publisher.publish(events(3))
    // Each event has failed once, and hangs in a probe.
    await scene.runs(guarded, 6)
    const heir = new Recording<Noted>()
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, heir.handler, { name: 'guarded', maxRetries: 1 })
    })

    await scene.crash(victim)

    await scene.runs(heir, 3)
    assert.ok(heir.runs.every(({ attempt }) => attempt <= 2))
    assert.equal(await bus.deadLetters.count(), 0)
  }),

  test('refuses a guard that it does not understand', {}, async (scene) => {
    const bus = await scene.bus()
    const subscribe = (outageGuard: object) => bus.subscribe(Noted, () => undefined, { outageGuard })
    assert.throws(() => subscribe({ failures: 0 }), /failures must be a positive integer/)
    assert.throws(() => subscribe({ failure: 1 }), /failure is not an option; did you mean failures\?/)
  }),
]
