import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { BusClosedError, ConnectionError, PublishError } from '../../index.ts'
import { test } from './conformance-test.ts'
import { ids, Marked, Noted, noted, series } from './events.ts'
import { firsts, Recording } from './recording.ts'

const outage = { needs: ['outages'], faults: ['stopBroker', 'startBroker'] } as const

/** Promise 10, and promises 1 and 9 during outages. */
export const outageTests = [
  test('holds a publish until the broker is back', outage, async (scene) => {
    const recording = new Recording<Noted>()
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler), {
      publishTimeoutMs: 60_000,
    })
    await scene.stopBroker()
    let isDone = false
    const event = noted('Order-1')
    const publish = bus.publish([event]).then(() => {
      isDone = true
    })
    const notYet = bus.publish([noted('Order-2')], { background: true })
    await notYet
    assert.equal(isDone, false)

    await scene.startBroker()

    await scene.within(publish, 'the publish')
    await scene.until('the event', () => recording.has(event))
  }),

  test(
    'rejects a publish at its deadline if the broker stays unreachable, with the outcome of each event',
    outage,
    async (scene) => {
      const recording = new Recording<Noted>()
      const marks = new Recording<Marked>()
      const bus = await scene.consumer(
        (it) => {
          it.subscribe(Noted, recording.handler)
          it.subscribe(Marked, marks.handler)
        },
        { publishTimeoutMs: 300 },
      )
      await bus.publish([noted('Order-1', -1)])
      await scene.runs(recording, 1)
      await scene.makeBrokerUnreachable()
      const events = series('Order-1', 3)

      const start = performance.now()
      const error = await scene.within(
        bus.publish(events).catch((thrown: unknown) => thrown),
        'the publish to reject',
      )
      const tookMs = performance.now() - start

      assert.ok(error instanceof PublishError, `a PublishError, got ${inspect(error)}`)
      assert.ok(tookMs < 2 * scene.slackMs, `it took ${tookMs} ms`)
      assert.deepEqual(
        error.outcomes.map(({ eventId }) => eventId),
        ids(events),
      )
      assert.ok(error.outcomes.every(({ status }) => status === 'notStored' || status === 'unknown'))
      assert.ok(error.outcomes.every((outcome) => outcome.error instanceof Error))
      assert.equal(error.retryable, true)
      scene.assertNoSecret(inspect(error, { depth: 20, showHidden: true }))
      assert.equal(bus.getStats().eventsPublished, 1)

      await scene.startBroker()
      await scene.until('a publish to succeed', async () => {
        await bus.publish([noted('Order-1', 100)])
        return true
      })
      await scene.flush(bus, 'Order-1', marks)
      const absent = error.outcomes.filter(({ status }) => status === 'notStored')
      const surprises = absent.filter(({ eventId }) => recording.ids.includes(eventId))
      assert.deepEqual(surprises, [], 'what was certainly not stored was handled')
    },
  ),

  test('reports when it is unknown whether an event was stored', {
    needs: ['outages'],
    faults: ['loseConfirmations'],
  }, async (scene) => {
    const bus = await scene.brokerBus({ publishTimeoutMs: 1000 })
    await scene.declareGroup()
    await bus.connect()
    await scene.loseConfirmations(true)

    const error = await bus.publish([noted('Order-1')]).catch((thrown: unknown) => thrown)

    await scene.loseConfirmations(false)
    assert.ok(error instanceof PublishError, `a PublishError, got ${inspect(error)}`)
    assert.deepEqual(
      error.outcomes.map(({ status }) => status),
      ['unknown'],
    )
  }),

  test('logs and counts a background publish that failed', outage, async (scene) => {
    const bus = await scene.brokerBus({ publishTimeoutMs: 100 })
    await scene.declareGroup()
    await bus.connect()
    await scene.makeBrokerUnreachable()

    await bus.publish([noted('Order-1')], { background: true })

    await scene.until(
      'the failure',
      () => bus.getStats().backgroundPublishErrors === 1,
      () => bus.getStats(),
    )
    assert.equal(bus.getBackgroundTaskCount(), 0)
    assert.ok(scene.log.lines.some(({ message }) => message === 'background publish failed'))
  }),

  test('resumes consuming after an outage, and reports it', outage, async (scene) => {
    const recording = new Recording<Noted>()
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler))
    const notices = scene.notices(bus)
    const publisher = await scene.brokerBus({ publishTimeoutMs: 60_000 })
    await publisher.publish([noted('Order-1', 0)])
    await scene.runs(recording, 1)
    assert.ok(bus.isConnected)

    for (let round = 1; round <= 3; round += 1) {
      await scene.stopBroker()
      await scene.until('the loss to be seen', () => !bus.isConnected)
      assert.equal(bus.getStats().connectedAt, null)
      await scene.startBroker()
      const event = noted('Order-1', round)
      await publisher.publish([event])
      await scene.until(
        'the event',
        () => recording.has(event),
        () => recording.ids,
      )
      await scene.until(
        'the reconnection',
        () => bus.getStats().reconnections === round,
        () => bus.getStats(),
      )
      assert.ok(bus.isConnected && bus.isConsuming)
    }

    assert.deepEqual([...new Set(recording.events.map(({ n }) => n))], [0, 1, 2, 3])
    const links = notices.map(({ type }) => type).filter((type) => type.includes('onnect'))
    assert.deepEqual(links, Array.from({ length: 3 }, () => ['connectionLost', 'reconnected']).flat())
  }),

  test('loses nothing when connections are cut under load', {
    needs: ['outages'],
    faults: ['cutConnections'],
  }, async (scene) => {
    const recording = new Recording<Noted>(() => new Promise((resolve) => setImmediate(resolve)))
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler))
    const publisher = await scene.brokerBus({ publishTimeoutMs: 60_000 })
    const stored: Noted[] = []

    for (let round = 0; round < 5; round += 1) {
      const events = Array.from({ length: 40 }, (_, n) => noted(`Order-${n % 8}`, round * 40 + n))
      // A publish without an answer does not matter here.
      const publish = publisher.publish(events).then(
        () => stored.push(...events),
        () => undefined,
      )
      await scene.cutConnections()
      await scene.within(publish, 'the publish')
    }

    const missing = () => stored.filter((event) => !recording.has(event)).length
    await scene.until(
      'all that was stored',
      () => missing() === 0,
      () => `${missing()} missing`,
    )
    await scene.until(
      'a reconnection',
      () => bus.getStats().reconnections >= 1,
      () => bus.getStats(),
    )
    for (const [key, ofKey] of Map.groupBy(recording.events, ({ aggregateId }) => aggregateId)) {
      const order = new Map(firsts(ofKey).map((id, index) => [id, index]))
      const ofStored = stored.filter(({ aggregateId }) => aggregateId === key)
      const places = ofStored.map(({ eventId }) => order.get(eventId) ?? -1)
      assert.deepEqual(
        places,
        places.toSorted((a, b) => a - b),
        `order of ${key}`,
      )
    }
  }),

  test('settles after an outage the events that it finished during it', outage, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const recording = new Recording<Noted>(() => gate.promise)
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler))
    const publisher = await scene.brokerBus()
    const events = [noted('Order-1'), noted('Order-2')]
    await publisher.publish(events)
    await scene.runs(recording, 2)

    await scene.stopBroker()
    await scene.until('the loss to be seen', () => !bus.isConnected)
    gate.resolve()
    await scene.startBroker()

    await scene.until(
      'all settled',
      () => bus.getStats().inFlight === 0,
      () => bus.getStats(),
    )
    await scene.until('the reconnection', () => bus.isConnected)
    await bus.shutdown()
    const leftovers = new Recording()
    const heir = await scene.consumer((it) => it.subscribeToAllEvents(leftovers.handler))
    await scene.pings(publisher, leftovers, 1.5 * scene.idleLimitMs)
    // At worst it is redelivered, but not lost.
    assert.equal(new Set(recording.ids).size, 2)
    assert.equal(await heir.deadLetters.count(), 0)
  }),

  test('waits in the background for a broker that is not running yet', outage, async (scene) => {
    await scene.declareGroup()
    const recording = new Recording<Noted>()
    await scene.makeBrokerUnreachable()
    const bus = await scene.brokerBus()
    bus.subscribe(Noted, recording.handler)
    bus.startConsumingInBackground()
    await scene.until('a line about it', () => scene.log.lines.some(({ level }) => level === 'error'))

    await scene.startBroker()

    await scene.within(bus.whenConsuming(), 'the bus to consume')
    await bus.publish([noted('Order-1')])
    await scene.runs(recording, 1)
  }),

  test('reports a failed connection without showing a secret', outage, async (scene) => {
    await scene.makeBrokerUnreachable()
    const bus = await scene.brokerBus()

    for (const attempt of [() => bus.connect(), () => bus.startConsuming()]) {
      const error = await scene.within(
        attempt().catch((thrown: unknown) => thrown),
        'the attempt to fail',
      )
      assert.ok(error instanceof ConnectionError, `a ConnectionError, got ${inspect(error)}`)
      assert.deepEqual([error.code, error.retryable], ['CONNECTION_FAILED', true])
      scene.assertNoSecret(inspect(error, { depth: 20, showHidden: true }))
    }
    assert.equal(bus.isConnected, false)
  }),

  test('shuts down in time while it connects for the first time', outage, async (scene) => {
    await scene.makeBrokerUnreachable()
    const bus = await scene.brokerBus()
    bus.startConsumingInBackground()
    const connecting = bus.connect().catch((thrown: unknown) => thrown)
    const publishing = bus.publish([noted('Order-1')]).catch((thrown: unknown) => thrown)

    await scene.within(bus.shutdown({ timeoutMs: 500 }), 'the shutdown', 500 + scene.slackMs)

    assert.ok(
      (await scene.within(publishing, 'the publish to settle', 2 * scene.slackMs)) instanceof PublishError,
    )
    const error = await scene.within(connecting, 'connect to settle', 2 * scene.slackMs)
    assert.ok(error instanceof ConnectionError || error instanceof BusClosedError, inspect(error))
  }),

  test('shuts down in time while it reconnects', outage, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const recording = new Recording<Noted>(() => gate.promise)
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler))
    await bus.publish([noted('Order-1')])
    await scene.runs(recording, 1)
    await scene.makeBrokerUnreachable()
    await scene.until('the loss to be seen', () => !bus.isConnected)
    const publishing = bus.publish([noted('Order-2')]).catch((thrown: unknown) => thrown)
    gate.resolve()

    await scene.within(bus.shutdown({ timeoutMs: 500 }), 'the shutdown', 500 + scene.slackMs)

    assert.ok(
      (await scene.within(publishing, 'the publish to settle', 2 * scene.slackMs)) instanceof PublishError,
    )
  }),

  test('recreates missing topology, reports it, and continues', {
    needs: ['outages'],
    faults: ['loseTopology'],
  }, async (scene) => {
    const recording = new Recording<Noted>()
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler))
    const notices = scene.notices(bus)
    const publisher = await scene.brokerBus()
    await publisher.publish([noted('Order-1', 0)])
    await scene.runs(recording, 1)

    await scene.loseTopology()

    await scene.until(
      'a notice',
      () => notices.some(({ type }) => type === 'topologyRestored'),
      () => notices,
    )
    const event = noted('Order-1', 1)
    await publisher.publish([event])
    await scene.until(
      'the event',
      () => recording.has(event),
      () => recording.ids,
    )
    assert.ok(bus.isConsuming)
  }),
]
