import assert from 'node:assert/strict'
import { brokenBus, deadLettersOf } from './broken-bus.ts'
import { test } from './conformance-test.ts'
import { Noted, noted, series } from './events.ts'
import { Recording } from './recording.ts'

/** Promise 11: replays of single dead letters, and of those that match a filter. */
export const replayedLetterTests = [
  test('replays to the group and the handler that failed, and to no others', {
    needs: ['deadLetters', 'consumerGroups'],
  }, async (scene) => {
    const { bus, fails, works, marks } = await brokenBus(scene)
    const elsewhere = new Recording()
    await scene.consumer((it) => it.subscribeToAllEvents(elsewhere.handler), { consumerGroup: 'other' })
    const event = noted('Order-1', 9)
    await bus.publish([event])
    const [letter] = await deadLettersOf(scene, bus, 1)
    fails.isFixed = true

    // The replaying bus neither consumes nor belongs to the group.
    const admin = await scene.brokerBus({ consumerGroup: 'admin' })
    assert.equal(await admin.deadLetters.replay(letter?.id ?? ''), true)

    await scene.runs(fails, 3)
    assert.deepEqual(JSON.parse(JSON.stringify(fails.events[2])), JSON.parse(JSON.stringify(event)))
    assert.equal(fails.runs[2]?.attempt, 1)
    await scene.flush(bus, 'Order-1', marks)
    await scene.until('the other group to see the mark', () => elsewhere.ids.at(-1) === marks.ids.at(-1))
    assert.equal(works.runs.length, 1)
    assert.equal(elsewhere.runs.length, 2)
    assert.equal(await bus.deadLetters.count(), 0)
    assert.equal(await admin.deadLetters.replay(letter?.id ?? ''), false)
  }),

  test('replays a dead letter once if one bus is asked several times at once', {
    needs: ['deadLetters'],
  }, async (scene) => {
    const { bus, fails, marks } = await brokenBus(scene)
    await bus.publish(series('Order-1', 3))
    const [first] = await deadLettersOf(scene, bus, 3)
    const before = fails.runs.length
    fails.isFixed = true
    const { deadLetters } = bus

    const calls = [1, 2, 3].map(() => deadLetters.replay(first?.id ?? ''))
    assert.deepEqual((await Promise.all(calls)).filter(Boolean), [true])
    const sweeps = await Promise.all([deadLetters.replayAll(), deadLetters.replayAll()])
    assert.equal(sweeps[0] + sweeps[1], 2)

    await scene.runs(fails, before + 3)
    await scene.flush(bus, 'Order-1', marks)
    assert.equal(fails.runs.length, before + 3)
    assert.equal(await deadLetters.count(), 0)
  }),

  test('replays a dead letter once if two processes do it at the same time', {
    needs: ['deadLetters', 'consumerGroups', 'replayLock'],
  }, async (scene) => {
    const { bus, fails, marks } = await brokenBus(scene)
    await bus.publish([noted('Order-1')])
    const [letter] = await deadLettersOf(scene, bus, 1)
    const before = fails.runs.length
    fails.isFixed = true
    const operators = [
      await scene.brokerBus({ consumerGroup: 'b' }),
      await scene.brokerBus({ consumerGroup: 'c' }),
    ]
    for (const { deadLetters } of operators) assert.equal(await deadLetters.count(), 1)

    const answers = await Promise.all(
      operators.map(({ deadLetters }) => deadLetters.replay(letter?.id ?? '')),
    )

    assert.deepEqual(answers.filter(Boolean), [true])
    await scene.runs(fails, before + 1)
    await scene.flush(bus, 'Order-1', marks)
    assert.equal(fails.runs.length, before + 1)
  }),

  test('replays to one of two groups that failed', {
    needs: ['deadLetters', 'consumerGroups'],
  }, async (scene) => {
    const a = await brokenBus(scene, { consumerGroup: 'a' })
    const b = await brokenBus(scene, { consumerGroup: 'b' })
    await a.bus.publish([noted('Order-1')])
    const letters = await deadLettersOf(scene, a.bus, 2)
    assert.deepEqual(letters.map(({ consumerGroup }) => consumerGroup).toSorted(), ['a', 'b'])
    a.fails.isFixed = true
    b.fails.isFixed = true

    assert.equal(await a.bus.deadLetters.replayAll({ consumerGroup: 'b' }), 1)

    await scene.runs(b.fails, 3)
    await scene.flush(a.bus, 'Order-1', a.marks)
    assert.equal(a.fails.runs.length, 2)
    const [left] = await deadLettersOf(scene, a.bus, 1)
    assert.equal(left?.consumerGroup, 'a')
  }),

  test('dead-letters a replayed message that fails again', { needs: ['deadLetters'] }, async (scene) => {
    const { bus, fails, works } = await brokenBus(scene)
    const event = noted('Order-1')
    await bus.publish([event])
    const [letter] = await deadLettersOf(scene, bus, 1)

    assert.equal(await bus.deadLetters.replay(letter?.id ?? ''), true)
    await scene.until(
      'a second dead letter',
      () => bus.getStats().messagesSentToDlq === 2,
      () => bus.getStats(),
    )

    const [again] = await deadLettersOf(scene, bus, 1)
    assert.equal(again?.eventId, event.eventId)
    assert.deepEqual(again?.handlerNames, ['fails'])
    assert.equal(again?.attempts, 2)
    assert.equal(Buffer.from(again?.body ?? []).toString(), JSON.stringify(event))
    assert.equal(fails.runs.length, 4)
    assert.equal(works.runs.length, 1)
  }),

  test('dead-letters a replayed message whose handler no longer exists', {
    needs: ['deadLetters', 'persistence'],
  }, async (scene) => {
    const { bus } = await brokenBus(scene)
    await bus.publish([noted('Order-1')])
    const [letter] = await deadLettersOf(scene, bus, 1)
    await bus.shutdown()
    const another = new Recording<Noted>()
    const heir = await scene.consumer((it) => it.subscribe(Noted, another.handler, { name: 'another' }))

    // A bus of another group does not know the handlers.
    const admin = await scene.brokerBus({ consumerGroup: 'admin' })
    assert.equal(await admin.deadLetters.replay(letter?.id ?? ''), true)
    await scene.until(
      'a dead letter',
      () => heir.getStats().messagesSentToDlq === 1,
      () => heir.getStats(),
    )

    const [again] = await deadLettersOf(scene, heir, 1)
    assert.equal(again?.reason, 'handler_not_found')
    assert.deepEqual(again?.handlerNames, ['fails'])
    assert.equal(another.runs.length, 0)
  }),

  test('replays and purges the dead letters that match a filter', {
    needs: ['deadLetters'],
  }, async (scene) => {
    const { bus, fails, marks } = await brokenBus(scene)
    await bus.publish([...series('Order-1', 2), ...series('Order-2', 2), noted('Order-3')])
    await deadLettersOf(scene, bus, 5)
    fails.isFixed = true

    assert.equal(await bus.deadLetters.purge({ aggregateId: 'Order-1', handlerName: 'fails' }), 2)
    assert.equal(await bus.deadLetters.replayAll({ aggregateId: 'Order-1' }), 0)
    assert.equal(await bus.deadLetters.replayAll({ eventType: 'ConformanceMarked' }), 0)
    assert.equal(
      await bus.deadLetters.replayAll({ aggregateId: 'Order-2', reason: 'max_retries_exceeded' }),
      2,
    )

    await scene.runs(fails, 12)
    const [left] = await deadLettersOf(scene, bus, 1)
    assert.equal(left?.aggregateId, 'Order-3')
    assert.equal(await bus.deadLetters.purge({}), 1)
    assert.equal(await bus.deadLetters.count(), 0)
    for (const key of ['Order-1', 'Order-2', 'Order-3']) await scene.flush(bus, key, marks)
    assert.deepEqual(
      fails.events.slice(10).map(({ aggregateId }) => aggregateId),
      ['Order-2', 'Order-2'],
    )
  }),
]
