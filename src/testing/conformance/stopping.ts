import assert from 'node:assert/strict'
import { ShutdownError } from '../../index.ts'
import { test } from './conformance-test.ts'
import { ids, Noted, noted, series } from './events.ts'
import { Recording } from './recording.ts'
import { timed } from './scene.ts'

/** Promise 9: a stop loses nothing, regardless of its handlers. */
export const stoppingTests = [
  test('lets running handlers finish, and settles their events', { needs: ['redelivery'] }, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const { bus, recording } = await scene.recordingBus(() => gate.promise)
    const publisher = await scene.bus()
    await publisher.publish([noted('Order-1'), noted('Order-2')])
    await scene.runs(recording, 2)

    const shutdown = bus.shutdown()
    assert.ok(recording.runs.every(({ context }) => !context.signal.aborted))
    gate.resolve()
    await scene.within(shutdown, 'the shutdown')

    assert.equal(bus.getStats().eventsProcessedSuccess, 2)
    await scene.assertNothingLeft(publisher)
  }),

  test('leaves events that it has not started to other consumers', {
    needs: ['redelivery'],
  }, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const { bus, recording } = await scene.recordingBus(() => gate.promise)
    const publisher = await scene.bus()
    const events = series('Order-1', 8)
    await publisher.publish(events)
    await scene.until(
      '8 in flight',
      () => bus.getStats().inFlight === 8,
      () => bus.getStats(),
    )

    const stop = bus.stopConsuming()
    gate.resolve()
    await scene.within(stop, 'the stop')
    const { eventsConsumed, eventsProcessedSuccess, inFlight } = bus.getStats()
    assert.deepEqual([eventsConsumed, eventsProcessedSuccess, inFlight], [1, 1, 0])

    const heir = await scene.recordingBus()
    await scene.runs(heir.recording, 7)
    assert.deepEqual([...recording.ids, ...heir.recording.ids], ids(events))
    assert.deepEqual(
      heir.recording.runs.map(({ attempt }) => attempt),
      ids(events.slice(1)).map(() => 1),
      'attempts of events that were not started before',
    )
  }),

  test('stops in time even if a handler hangs, and leaves its event to other consumers', {
    needs: ['redelivery', 'deadLetters'],
  }, async (scene) => {
    const { bus, recording } = await scene.recordingBus(() => scene.ended)
    const publisher = await scene.brokerBus()
    await publisher.publish([noted('Order-1')])
    await scene.runs(recording, 1)

    const tookMs = await timed(() => bus.shutdown({ timeoutMs: 300 }))

    assert.ok(tookMs < 300 + scene.slackMs, `it took ${tookMs} ms`)
    const signal = recording.runs[0]?.context.signal
    assert.ok(signal?.aborted === true && signal.reason instanceof ShutdownError)
    const heir = await scene.recordingBus()
    await scene.runs(heir.recording, 1)
    assert.deepEqual(heir.recording.ids, recording.ids)
    assert.equal(await publisher.deadLetters.count(), 0)
  }),

  test('never dead-letters an event because consumers stopped while they handled it', {
    needs: ['redelivery', 'deadLetters'],
  }, async (scene) => {
    await scene.declareGroup()
    const publisher = await scene.brokerBus()
    await publisher.publish([noted('Order-1')])
    for (let life = 0; life < 5; life += 1) {
      const { bus, recording } = await scene.recordingBus(() => scene.ended)
      await scene.runs(recording, 1)
      // A quarter of it is for giving messages back to the broker, which takes several round trips.
      await bus.shutdown({ timeoutMs: 400 })
    }

    const { recording } = await scene.recordingBus()

    await scene.runs(recording, 1)
    assert.equal(await publisher.deadLetters.count(), 0)
  }),

  test('does not count a handler as failed if it stopped because of the shutdown', {
    needs: ['redelivery', 'deadLetters'],
  }, async (scene) => {
    const recording = new Recording<Noted>(async (_event, { context }) => {
      const aborted = Promise.withResolvers<never>()
      context.signal.addEventListener('abort', () => aborted.reject(context.signal.reason))
      await aborted.promise
    })
    const options = { maxRetries: 0 }
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler), options)
    const publisher = await scene.brokerBus()
    await publisher.publish([noted('Order-1')])
    await scene.runs(recording, 1)

    await bus.shutdown({ timeoutMs: 300 })

    const heir = new Recording<Noted>()
    await scene.consumer((it) => it.subscribe(Noted, heir.handler))
    await scene.runs(heir, 1)
    assert.equal(await publisher.deadLetters.count(), 0)
  }),

  test('does not wait for a retry on stop, and leaves the event to other consumers', {
    needs: ['redelivery', 'deadLetters', 'retry'],
  }, async (scene) => {
    const recording = new Recording<Noted>(() => {
      throw new Error('planned')
    })
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler), {
      retryBaseDelayMs: 60_000,
      retryMaxDelayMs: 60_000,
    })
    const publisher = await scene.brokerBus()
    await publisher.publish([noted('Order-1')])
    await scene.runs(recording, 1)

    const tookMs = await timed(() => bus.shutdown())

    assert.ok(tookMs < 2 * scene.slackMs, `it took ${tookMs} ms`)
    const heir = await scene.recordingBus()
    await scene.runs(heir.recording, 1)
    assert.equal(await publisher.deadLetters.count(), 0)
  }),

  test('counts failed attempts even if a stop interrupts the wait for the next one', {
    needs: ['redelivery', 'deadLetters', 'retry'],
  }, async (scene) => {
    const recording = new Recording<Noted>(() => {
      throw new Error('planned')
    })
    const publisher = await scene.brokerBus()
    await scene.declareGroup()
    await publisher.publish([noted('Order-1')])
    for (let life = 1; life <= 3; life += 1) {
      const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler), {
        maxRetries: 2,
        retryBaseDelayMs: 60_000,
        retryMaxDelayMs: 60_000,
      })
      await scene.runs(recording, life)
      if (life < 3) await bus.shutdown()
    }

    await scene.until(
      'a dead letter',
      async () => (await publisher.deadLetters.count()) === 1,
      () => recording.runs.map(({ attempt }) => attempt),
    )
    assert.deepEqual(
      recording.runs.map(({ attempt }) => attempt),
      [1, 2, 3],
    )
  }),

  test('shortens a running stop when it is shut down', { needs: ['consuming'] }, async (scene) => {
    const { bus, recording } = await scene.recordingBus(() => scene.ended)
    await bus.publish([noted('Order-1')])
    await scene.runs(recording, 1)

    const stopping = bus.stopConsuming({ timeoutMs: 60_000 })
    const tookMs = await timed(() => bus.shutdown({ timeoutMs: 300 }))

    assert.ok(tookMs < 300 + scene.slackMs, `it took ${tookMs} ms`)
    await scene.within(stopping, 'the stop', 300 + scene.slackMs)
    assert.equal(recording.runs[0]?.context.signal.aborted, true)
  }),
]
