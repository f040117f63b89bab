import assert from 'node:assert/strict'
import type { BrokerEventBus, DeadLetter } from '../../index.ts'
import { test } from './conformance-test.ts'
import { Marked, Noted, series } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

const fail = () => {
  throw new Error('planned')
}

/** Dead letters of the handler `gone` of the group `main`, after the bus that had this handler has stopped. */
async function orphans(scene: Scene, count: number): Promise<readonly DeadLetter[]> {
  const bus = await scene.consumer((it) => it.subscribe(Noted, fail, { name: 'gone' }), { maxRetries: 0 })
  await bus.publish(series('Order-1', count))
  await scene.until(
    'the dead letters',
    async () => (await bus.deadLetters.count()) === count,
    () => bus.getStats(),
  )
  const { deadLetters } = await bus.deadLetters.list()
  await bus.shutdown()
  return deadLetters
}

async function orphan(scene: Scene): Promise<DeadLetter> {
  const [letter] = await orphans(scene, 1)
  assert.ok(letter !== undefined)
  return letter
}

/** A bus with two handlers of the event, and one for marks. */
async function heirOf(scene: Scene, consumerGroup = 'main') {
  const [first, second] = [new Recording<Noted>(), new Recording<Noted>()]
  const marks = new Recording<Marked>()
  const bus = await scene.consumer(
    (it) => {
      it.subscribe(Noted, first.handler, { name: 'first' })
      it.subscribe(Noted, second.handler, { name: 'second' })
      it.subscribe(Marked, marks.handler, { name: 'marks' })
    },
    { consumerGroup },
  )
  return { bus, first, second, marks }
}

const countOf = ({ deadLetters }: BrokerEventBus) => deadLetters.count()
const notFound = { name: 'HandlerNotFoundError', code: 'HANDLER_NOT_FOUND' }

/** Promise 18: a dead letter can always be handled after all. */
export const replayTests = [
  test('refuses a replay that no handler here is for, and keeps the dead letter', {
    needs: ['deadLetters', 'persistence'],
  }, async (scene) => {
    const { id } = await orphan(scene)
    const { bus, first, second } = await heirOf(scene)

    const refused = { ...notFound, deadLetterIds: [id], replayed: 0 }
    await assert.rejects(bus.deadLetters.replay(id), refused)
    await assert.rejects(bus.deadLetters.replayAll(), refused)
    await assert.rejects(bus.deadLetters.replay(id, { handlers: ['third'] }), refused)
    assert.equal(await bus.deadLetters.replayAll({}, { dryRun: true }), 1)

    assert.equal(await countOf(bus), 1)
    assert.deepEqual([first.runs.length, second.runs.length], [0, 0])
  }),

  test('replays to the handlers that the call names, instead of those that failed', {
    needs: ['deadLetters', 'persistence'],
  }, async (scene) => {
    const { id, eventId } = await orphan(scene)
    const { bus, first, second, marks } = await heirOf(scene)

    assert.equal(await bus.deadLetters.replay(id, { handlers: ['second'] }), true)

    await scene.runs(second, 1)
    assert.equal(second.ids[0], eventId)
    await scene.flush(bus, 'Order-1', marks)
    assert.equal(first.runs.length, 0)
    assert.equal(await countOf(bus), 0)
  }),

  test('replays to another group if the call names one, to all of its handlers or to some', {
    needs: ['deadLetters', 'persistence', 'consumerGroups'],
  }, async (scene) => {
    const other = await heirOf(scene, 'other')
    const recordings = [other.first, other.second]
    const [letter] = await orphans(scene, 2)
    // The other group has had the events itself.
    await Promise.all(recordings.map((recording) => scene.runs(recording, 2)))
    const { bus, first } = await heirOf(scene)

    assert.equal(await bus.deadLetters.replay(letter?.id ?? '', { group: 'other' }), true)
    await Promise.all(recordings.map((recording) => scene.runs(recording, 3)))
    const destination = { group: 'other', handlers: ['first'] }
    assert.equal(await bus.deadLetters.replayAll({ handlerName: 'gone' }, destination), 1)
    await scene.runs(other.first, 4)

    await scene.flush(bus, 'Order-1', other.marks)
    assert.deepEqual([other.second.runs.length, first.runs.length], [3, 0])
    assert.equal(await countOf(bus), 0)
  }),

  test('refuses a destination that it does not understand', { needs: ['deadLetters'] }, async (scene) => {
    const { deadLetters } = await scene.brokerBus()
    const misspelled: object = { handler: ['a'] }
    await assert.rejects(
      deadLetters.replay('1', misspelled),
      /handler is not an option; did you mean handlers\?/,
    )
    await assert.rejects(deadLetters.replay('1', { handlers: [] }), /handlers must be/)
    await assert.rejects(deadLetters.replay('1', { handlers: ['(unnamed)'] }), /handlers must be/)
    await assert.rejects(deadLetters.replayAll({}, { group: '' }), /group must be/)
  }),
]
