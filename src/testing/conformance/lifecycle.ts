import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { BusClosedError, type EventBus, HandlerDeadlockError, InMemoryEventBus } from '../../index.ts'
import { test } from './conformance-test.ts'
import { ids, Noted, noted, series } from './events.ts'
import { Recording } from './recording.ts'
import { type Scene, timed } from './scene.ts'

/** Publishes an event to a bus whose handler makes a call, and waits until that call has settled. */
async function calledByHandler(
  scene: Scene,
  bus: EventBus,
  call: () => Promise<unknown>,
): Promise<PromiseSettledResult<unknown>> {
  const settled = Promise.withResolvers<PromiseSettledResult<unknown>>()
  bus.subscribe(Noted, async () => {
    const [result] = await Promise.allSettled([call()])
    settled.resolve(result)
  })
  await scene.consume(bus)
  await scene.within(bus.publish([noted('Order-1')]), 'the publish')
  return scene.within(settled.promise, 'the call inside the handler')
}

/** Promise 9: everything that starts can be stopped at any moment, without losing an event. */
export const lifecycleTests = [
  test('shuts down quickly when idle, also twice and concurrently', {}, async (scene) => {
    const bus = await scene.bus()
    bus.subscribe(Noted, () => undefined)
    await scene.consume(bus)

    const tookMs = await timed(() =>
      scene.within(Promise.all([bus.shutdown(), bus.shutdown({ timeoutMs: 5000 })]), 'the shutdown'),
    )
    await bus.shutdown()

    assert.ok(tookMs < 2 * scene.slackMs, `it took ${tookMs} ms`)
    assert.ok(bus.isShutdown && !bus.isConsuming && !bus.isConnected)
  }),

  test('shuts down inside its own handler, without waiting for it', {}, async (scene) => {
    const bus = await scene.bus()
    const outcome = await calledByHandler(scene, bus, () => bus.shutdown())

    const tookMs = await timed(() => scene.within(bus.shutdown(), 'the shutdown'))

    assert.equal(outcome.status, 'fulfilled')
    assert.ok(tookMs < 4 * scene.slackMs, `it took ${tookMs} ms`)
  }),

  test('settles the event whose handler shuts the bus down', { needs: ['consuming'] }, async (scene) => {
    const bus = await scene.brokerBus()
    await calledByHandler(scene, bus, () => bus.shutdown())
    await scene.within(bus.shutdown(), 'the shutdown')

    await scene.assertNothingLeft(await scene.bus())
  }),

  test('shuts down inside a handler of another bus that its own handler waits for', {}, async (scene) => {
    const bus = await scene.bus()
    const other = new InMemoryEventBus({ logger: scene.log })
    other.subscribe(Noted, () => bus.shutdown())
    const outcome = await calledByHandler(scene, bus, async () => {
      await Promise.resolve()
      await other.publish([noted('Order-2')])
    })

    await scene.within(bus.shutdown(), 'the shutdown')

    assert.equal(outcome.status, 'fulfilled')
  }),

  test('refuses to wait for the end of consuming inside its own handler', {}, async (scene) => {
    const bus = await scene.bus()

    const outcome = await calledByHandler(scene, bus, () => bus.startConsuming())

    assert.ok(outcome.status === 'rejected' && outcome.reason instanceof HandlerDeadlockError)
  }),

  test('stops consuming inside its own handler, and consumes again after it', {
    needs: ['consuming'],
  }, async (scene) => {
    const bus = await scene.bus()
    const outcome = await calledByHandler(scene, bus, async () => {
      await bus.stopConsuming()
      await assert.rejects(bus.whenConsuming(), HandlerDeadlockError)
      bus.startConsumingInBackground()
    })

    await scene.within(bus.whenConsuming(), 'the bus to consume again')

    assert.equal(outcome.status, 'fulfilled')
  }),

  test('shuts down with `await using`', {}, async (scene) => {
    const made = await scene.bus()
    {
      await using bus = made
      await bus.publish([])
    }
    assert.ok(made.isShutdown)
  }),

  test('can be shut down before its first use', {}, async (scene) => {
    const bus = await scene.bus()
    await bus.stopConsuming()
    await bus.shutdown()
    await assert.rejects(bus.connect(), BusClosedError)
    await assert.rejects(bus.startConsuming(), BusClosedError)
    assert.throws(() => bus.startConsumingInBackground(), BusClosedError)
  }),

  test('resolves startConsuming on stopConsuming and on shutdown', {}, async (scene) => {
    const bus = await scene.bus()
    const states: string[] = []
    const consume = () => bus.startConsuming().then(() => states.push('ended'))
    const first = consume()
    await scene.within(bus.whenConsuming(), 'the bus to consume')
    assert.ok(bus.isConsuming)
    assert.deepEqual(states, [])

    await bus.stopConsuming()
    await scene.within(first, 'startConsuming to end')
    const second = consume()
    await scene.within(bus.whenConsuming(), 'the bus to consume again')
    await bus.shutdown()
    await scene.within(second, 'startConsuming to end')
    assert.deepEqual(states, ['ended', 'ended'])
  }),

  test('rejects whenConsuming when it is shut down', { needs: ['consuming'] }, async (scene) => {
    const bus = await scene.brokerBus()
    const waiting = bus.whenConsuming()
    waiting.catch(() => undefined)

    await bus.shutdown()

    await assert.rejects(scene.within(waiting, 'whenConsuming to reject'), BusClosedError)
    await assert.rejects(bus.whenConsuming(), BusClosedError)
  }),

  test('handles each event once if it is started twice', { needs: ['consuming'] }, async (scene) => {
    const { bus, recording } = await scene.recordingBus()
    bus.startConsumingInBackground()
    const consuming = bus.startConsuming()
    const events = series('Order-1', 20)

    await bus.publish(events)

    await scene.runs(recording, 20)
    await bus.stopConsuming()
    await scene.within(consuming, 'startConsuming to end')
    assert.deepEqual(recording.ids, ids(events))
  }),

  test('can be stopped while it starts, and started while it stops', {
    needs: ['consuming'],
  }, async (scene) => {
    const recording = new Recording<Noted>()
    const bus = await scene.brokerBus()
    bus.subscribe(Noted, recording.handler)
    for (let round = 0; round < 5; round += 1) {
      bus.startConsumingInBackground()
      await scene.within(bus.stopConsuming(), 'the stop')
      bus.startConsumingInBackground()
      const stopping = bus.stopConsuming()
      bus.startConsumingInBackground()
      await scene.within(stopping, 'the stop')
    }

    await scene.within(bus.whenConsuming(), 'the bus to consume')
    const event = noted('Order-1')
    await bus.publish([event])
    await scene.runs(recording, 1)
    assert.deepEqual(recording.ids, [event.eventId])
  }),

  test('loses and repeats nothing across stops and starts', { needs: ['persistence'] }, async (scene) => {
    const { bus, recording } = await scene.recordingBus()
    const publisher = await scene.bus()
    const events = series('Order-1', 60)

    for (let start = 0; start < 60; start += 10) {
      await publisher.publish(events.slice(start, start + 5))
      await scene.within(bus.stopConsuming(), 'the stop')
      await publisher.publish(events.slice(start + 5, start + 10))
      await scene.consume(bus)
    }

    await scene.runs(recording, 60)
    assert.deepEqual(recording.ids, ids(events))
  }),

  test('receives nothing after stopConsuming has resolved', { needs: ['persistence'] }, async (scene) => {
    const { bus, recording } = await scene.recordingBus()
    const publisher = await scene.bus()
    await publisher.publish([noted('Order-1')])
    await scene.runs(recording, 1)

    await scene.within(bus.stopConsuming(), 'the stop')
    assert.equal(bus.isConsuming, false)
    const events = series('Order-1', 10)
    await publisher.publish(events)

    const heir = await scene.recordingBus()
    await scene.runs(heir.recording, 10)
    assert.deepEqual(heir.recording.ids, ids(events))
    assert.equal(recording.runs.length, 1)
  }),

  test('can be shut down from inside a handler', { needs: ['consuming'] }, async (scene) => {
    const ended = new Recording<Noted>()
    const bus = await scene.consumer((it) =>
      it.subscribe(Noted, async (event, context) => {
        await it.shutdown({ timeoutMs: 300 })
        ended.handler(event, context)
      }),
    )

    await bus.publish([noted('Order-1')])

    await scene.runs(ended, 1)
    await scene.within(bus.shutdown(), 'the shutdown')
  }),

  test('shows no secret in util.inspect', {}, async (scene) => {
    const bus = await scene.bus()
    await scene.consume(bus)
    scene.assertNoSecret(inspect(bus, { depth: 20, showHidden: true }))
    scene.assertNoSecret(JSON.stringify(bus) ?? '')
    if ('getStats' in bus && typeof bus.getStats === 'function') {
      scene.assertNoSecret(inspect(bus.getStats(), { depth: 20 }))
    }
  }),
]
