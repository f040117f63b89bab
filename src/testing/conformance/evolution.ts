import assert from 'node:assert/strict'
import { defineEvent, firstVersion, JsonCodec } from '../../index.ts'
import { type ConformanceTest, test } from './conformance-test.ts'
import { noted } from './events.ts'
import { Recording } from './recording.ts'
import { Before, During } from './rolled-events.ts'

/** The class of a later release: the same type as `Noted`, with a payload of version 3. */
class Renamed extends defineEvent<{ readonly count: number; readonly unit: string }>()({
  type: 'ConformanceNoted',
  aggregateType: 'Note',
  upcasts: firstVersion<{ n: number }>()
    .to(2, ({ n }) => ({ count: n }))
    .to(3, (v2) => ({ ...v2, unit: 'piece' })),
}) {}

/** The class of a release that renamed the event and its aggregate. */
class Moved extends defineEvent<{ readonly n: number }>()({
  type: 'ConformanceMoved',
  typeAliases: ['ConformanceNoted', 'conformance.noted'],
  aggregateType: 'MovedNote',
  aggregateTypeAliases: ['Note'],
}) {}

const codec = new JsonCodec()

/** An event of this version, as its producer writes it. */
function written(version: number, payload: Readonly<Record<string, unknown>>) {
  const { key, headers, body } = codec.encode(noted('Order-1', 7))
  const { n: _n, ...envelope } = JSON.parse(String(body))
  return { key, headers, body: JSON.stringify({ ...envelope, event_version: version, ...payload }) }
}

const ofVersion = {
  1: written(1, { n: 7 }),
  2: written(2, { count: 7 }),
  3: written(3, { count: 7, unit: 'piece' }),
  4: written(4, { count: 7, unit: 'piece', color: 'red' }),
}

/** Promise 15: events of earlier and later releases. */
export const evolutionTests: readonly ConformanceTest[] = [
  test('passes events of all versions to a handler as instances of the current class', {
    needs: ['wire'],
    faults: ['publishRaw'],
  }, async (scene) => {
    const handled = new Recording<Renamed>()
    const bus = await scene.consumer((it) => it.subscribe(Renamed, handled.handler))
    for (const message of Object.values(ofVersion)) await scene.publishRaw(message)

    await scene.runs(handled, 4)
    const seen = handled.events.map(({ count, unit, eventVersion }) => [count, unit, eventVersion])
    assert.deepEqual(seen.toSorted(), [
      [7, 'piece', 3],
      [7, 'piece', 3],
      [7, 'piece', 3],
      [7, 'piece', 4],
    ])
    assert.ok(handled.events.every((event) => event instanceof Renamed))
    assert.equal(bus.getStats().messagesSentToDlq, 0)
  }),

  test('hands events with former names to the handlers of the current class', {
    needs: ['wire'],
    faults: ['publishRaw'],
  }, async (scene) => {
    const handled = new Recording<Moved>()
    const bus = await scene.consumer((it) => it.subscribe(Moved, handled.handler))
    await bus.publish([noted('Order-1', 1), new Moved({ aggregateId: 'Order-1', n: 2 })])
    const { key, headers, body } = written(1, { n: 3 })
    await scene.publishRaw({
      key,
      headers: { ...headers, event_type: 'conformance.noted' },
      body: body.replace('"ConformanceNoted"', '"conformance.noted"'),
    })

    await scene.runs(handled, 3)
    const seen = handled.events.map(({ n, eventType, aggregateType }) => [n, eventType, aggregateType])
    assert.deepEqual(
      seen.toSorted(),
      [1, 2, 3].map((n) => [n, 'ConformanceMoved', 'MovedNote']),
    )
    const { eventsSkipped, messagesSentToDlq } = bus.getStats()
    assert.deepEqual([eventsSkipped, messagesSentToDlq], [0, 0])
  }),

  test('passes an event with a former name on as it came', {
    needs: ['wire'],
    faults: ['publishRaw'],
  }, async (scene) => {
    const first = new Recording<Moved>()
    const bodies: string[] = []
    const bus = await scene.consumer((it) =>
      it.subscribe(Moved, async (event, context) => {
        bodies.push(String(codec.encode(event).body))
        await first.handler(event, context)
        if (first.events.length === 1) await it.publish([event])
      }),
    )
    await scene.publishRaw(written(1, { n: 7 }))

    await scene.runs(first, 2)
    assert.deepEqual(
      new Set(bodies.map((body) => JSON.parse(body).event_type)),
      new Set(['ConformanceNoted']),
    )
    assert.equal(bus.getStats().messagesSentToDlq, 0)
  }),

  test('writes events in an earlier version for consumers of both releases', {
    needs: ['wire', 'consumerGroups'],
  }, async (scene) => {
    const [before, after] = [new Recording<Before>(), new Recording<During>()]
    const old = await scene.consumer((it) => it.subscribe(Before, before.handler), {
      consumerGroup: 'before',
    })
    const bus = await scene.consumer((it) => it.subscribe(During, after.handler), { consumerGroup: 'after' })
    await bus.publish([new During({ aggregateId: 'Order-1', count: 7 })])

    await scene.runs(before, 1)
    await scene.runs(after, 1)
    assert.deepEqual(
      before.events.map(({ n, eventVersion }) => [n, eventVersion]),
      [[7, 1]],
    )
    assert.deepEqual(
      after.events.map(({ count, eventVersion }) => [count, eventVersion]),
      [[7, 2]],
    )
    assert.deepEqual(
      [old, bus].map((it) => it.getStats().messagesSentToDlq),
      [0, 0],
    )
  }),

  test('shows a dead letter of an earlier version as the current class, with the body as it was written', {
    needs: ['wire', 'deadLetters'],
    faults: ['publishRaw'],
  }, async (scene) => {
    const bus = await scene.consumer(
      (it) =>
        it.subscribe(Renamed, () => {
          throw new Error('no')
        }),
      { maxRetries: 0 },
    )
    await scene.publishRaw(ofVersion[1])

    await scene.until(
      'a dead letter',
      () => bus.getStats().messagesSentToDlq === 1,
      () => bus.getStats(),
    )
    const [letter] = (await bus.deadLetters.list()).deadLetters
    assert.ok(letter?.event instanceof Renamed)
    assert.deepEqual([letter.event.count, letter.event.unit], [7, 'piece'])
    assert.equal(Buffer.from(letter.body).toString(), ofVersion[1].body)
  }),

  test('dead-letters an event of a newer version at once with both versions, if it is to refuse it', {
    needs: ['wire', 'deadLetters'],
    faults: ['publishRaw'],
  }, async (scene) => {
    const handled = new Recording<Renamed>()
    const bus = await scene.consumer((it) => it.subscribe(Renamed, handled.handler), {
      newerVersions: 'refuse',
    })
    await scene.publishRaw(ofVersion[4])
    await scene.publishRaw(ofVersion[3])

    await scene.runs(handled, 1)
    await scene.until(
      'a dead letter',
      () => bus.getStats().messagesSentToDlq === 1,
      () => bus.getStats(),
    )
    const [letter] = (await bus.deadLetters.list()).deadLetters
    assert.equal(letter?.reason, 'deserialization_error')
    for (const version of ['ConformanceNoted of version 4', 'version 3'])
      assert.ok(letter?.errorMessage?.includes(version), letter?.errorMessage)
  }),
]
