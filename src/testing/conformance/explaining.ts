import assert from 'node:assert/strict'
import type { EventBus, ExplainedGroup } from '../../index.ts'
import { test } from './conformance-test.ts'
import { ids, Marked, marked, Noted, noted } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

const fail = () => {
  throw new Error('planned')
}

const caused = ({ eventId: causationId, correlationId }: Noted, aggregateId: string) =>
  new Noted({ aggregateId, n: 0, causationId, correlationId })

/** Waits until a group is in one of these states. A broker that does not know the state has to say why. */
async function stateOf(
  scene: Scene,
  { admin }: EventBus,
  { eventId }: Noted | Marked,
  group: string,
  states: readonly ExplainedGroup['state'][],
): Promise<ExplainedGroup> {
  let last: ExplainedGroup | undefined
  await scene.until(
    `the state ${states.join(' or ')} in ${group}`,
    async () => {
      const { groups } = await admin.explain(eventId)
      last = groups.find((one) => one.group === group)
      return last !== undefined && [...states, 'unknown'].includes(last.state)
    },
    () => last,
  )
  assert.ok(last !== undefined)
  if (last.state === 'unknown') assert.match(last.remark ?? '', /\w/)
  return last
}

/** Promise 19: an operator can answer where an event is, and why. */
export const explainingTests = [
  test('explains when and where an event was published, and what it caused', {
    needs: ['operator'],
  }, async (scene) => {
    const bus = await scene.bus({ consumerGroup: 'browser' })
    await bus.connect()
    const cause = noted('Order-1')
    const first = caused(cause, 'Order-2')
    const second = caused(first, 'Order-3')
    const sibling = new Noted({ aggregateId: 'Order-4', n: 0, correlationId: cause.correlationId })
    await bus.publish([noted('Order-0'), cause, first, second, sibling])

    const found = await bus.admin.explain(cause.eventId)
    const missing = await bus.admin.explain('no such event')
    const { search } = await bus.admin.explain(cause.eventId, { maxScanned: 1 })

    assert.equal(found.published?.aggregateId, 'Order-1')
    assert.match(found.published.position, /\d/)
    assert.equal(found.search.ended, 'limit')
    assert.deepEqual(found.caused.map(({ eventId }) => eventId).toSorted(), ids([first, second]).toSorted())
    assert.equal(found.causedSearch?.ended, 'end')
    assert.ok(found.causedSearch.scanned >= 3, `read ${found.causedSearch.scanned} events`)
    assert.deepEqual(
      [missing.published, missing.caused, missing.causedSearch, missing.search.ended],
      [undefined, [], undefined, 'end'],
    )
    assert.equal(missing.search.scanned, 5)
    assert.deepEqual([search.ended, search.scanned], ['maxScanned', 1])
  }),

  test('explains how far each consumer group is with an event', {
    needs: ['operator', 'consumerGroups', 'persistence', 'deadLetters', 'retry', 'waiting'],
  }, async (scene) => {
    await scene.declareGroup('idle')
    const [done, held, bad] = [noted('Order-1', 0), noted('Order-2', 1), noted('Order-3', 2)]
    const postponed = marked('Order-4')
    const recording = new Recording<Noted>(({ n }) => (n === 1 ? scene.ended : n === 2 && fail()))
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, recording.handler, { name: 'notes', maxRetries: 0 })
      const longWaits = { fromMs: 100, order: 'giveUp' } as const
      it.subscribe(Marked, fail, { name: 'waits', retryDelaysMs: [100 * scene.waitMs], longWaits })
    })
    await bus.publish([done, held, bad, postponed])

    const settled = await stateOf(scene, bus, done, 'main', ['settled'])
    const waiting = await stateOf(scene, bus, done, 'idle', ['waiting'])
    const open = await stateOf(scene, bus, held, 'main', ['inFlight', 'unsettled'])
    await scene.until('the wait', async () => (await bus.countWaiting()) === 1)
    const retrying = await stateOf(scene, bus, postponed, 'main', ['retrying'])
    await scene.until('the dead letter', async () => (await bus.deadLetters.count()) === 1)
    const dead = await stateOf(scene, bus, bad, 'main', ['deadLetter'])
    const { groups } = await bus.admin.explain('no such event')

    assert.deepEqual([settled.deadLetters, settled.waits, settled.isReplay], [[], [], false])
    assert.equal(waiting.consumer, undefined)
    if (open.state === 'inFlight') assert.match(open.consumer ?? '', /\w/)
    assert.equal(dead.state, 'deadLetter')
    assert.deepEqual(
      dead.deadLetters.map(({ errorMessage, handlerNames }) => [errorMessage, handlerNames]),
      [['planned', ['notes']]],
    )
    if (retrying.state === 'retrying') {
      const [wait] = retrying.waits
      assert.deepEqual([wait?.handlerName, wait?.attempts], ['waits', 1])
      assert.ok((wait?.dueAt?.getTime() ?? 0) > Date.now())
    }
    assert.ok(groups.length >= 2)
    for (const { state, remark } of groups) {
      assert.equal(state, 'unknown')
      assert.match(remark ?? '', /\w/)
    }
  }),

  test('explains that a dead letter was replayed, and is handled again', {
    needs: ['operator', 'consumerGroups', 'persistence', 'deadLetters'],
  }, async (scene) => {
    let runs = 0
    const recording = new Recording<Noted>(() => {
      runs += 1
      return runs === 1 ? fail() : scene.ended
    })
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, recording.handler, { name: 'notes', maxRetries: 0 })
    })
    const event = noted('Order-1')
    await bus.publish([event])
    await scene.until('the dead letter', async () => (await bus.deadLetters.count()) === 1)
    await bus.deadLetters.replayAll({})
    await scene.runs(recording, 2)

    const replayed = await stateOf(scene, bus, event, 'main', ['inFlight', 'unsettled'])

    assert.deepEqual(replayed.deadLetters, [])
    if (replayed.state !== 'unknown') assert.equal(replayed.isReplay, true)
  }),
]
