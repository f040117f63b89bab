import assert from 'node:assert/strict'
import type { BrokerEventBus, ConsumerInfo, Topology } from '../../index.ts'
import { test } from './conformance-test.ts'
import { Marked, marked, Noted, noted, series } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

const NEEDS = ['operator', 'presence', 'consumerGroups', 'persistence'] as const
/** So that changed counters are reported soon. */
const SOON = { presenceIntervalMs: 500 }

/** Waits until the reported consumers are as wanted. */
async function consumersWhen(
  scene: Scene,
  { admin }: BrokerEventBus,
  areWanted: (consumers: readonly ConsumerInfo[]) => boolean,
): Promise<readonly ConsumerInfo[]> {
  let last: readonly ConsumerInfo[] = []
  await scene.until(
    'the consumers',
    async () => {
      last = await admin.consumers()
      return areWanted(last)
    },
    () => last,
  )
  return last
}

/** Promise 21: an operator sees who consumes and who publishes, in all processes. */
export const presenceTests = [
  test('lists the living consumers of all groups, and a stopped one no longer', {
    needs: NEEDS,
  }, async (scene) => {
    const before = Date.now()
    const all = new Recording()
    const program = { programName: 'shop', programVersion: '1.2.3' }
    const bus = await scene.consumer(
      (it) => {
        it.subscribe([Noted, Marked], () => undefined, { name: 'notes' })
        it.subscribeToAllEvents(all.handler, { name: 'all' })
      },
      { ...SOON, ...program },
    )
    const other = await scene.consumer((it) => it.subscribe(Marked, () => undefined, { name: 'marks' }), {
      consumerGroup: 'other',
    })
    const operator = await scene.brokerBus({ consumerGroup: 'observer' })
    await operator.publish(series('Order-1', 3))

    const isDone = ({ handled, inFlight }: ConsumerInfo) => handled === 3 && inFlight === 0
    const found = await consumersWhen(
      scene,
      operator,
      ([first, second]) => first !== undefined && isDone(first) && second !== undefined,
    )
    const [first] = found
    assert.ok(first !== undefined)
    const { group, pid, programName, programVersion, handlers, paused, failed, since, lastSeenAt } = first
    assert.deepEqual(
      found.map((consumer) => consumer.group),
      ['main', 'other'],
    )
    assert.deepEqual([group, pid, paused, failed], ['main', process.pid, false, 0])
    assert.deepEqual({ programName, programVersion }, program)
    assert.deepEqual(handlers, [
      { name: 'notes', eventTypes: [Marked.eventType, Noted.eventType] },
      { name: 'all', eventTypes: ['*'] },
    ])
    assert.ok(since.getTime() >= before, `since ${since.toISOString()}`)
    const age = Date.now() - lastSeenAt.getTime()
    assert.ok(Math.abs(age) < scene.waitMs, `last seen ${age} ms ago`)
    assert.equal(all.runs.length, 3, 'a report was delivered as an event')
    await scene.until('the events without a handler', () => other.getStats().eventsSkipped === 3)
    assert.equal(bus.getStats().eventsPublished, 0)
    await assert.rejects(operator.admin.consumers('mian'), { code: 'GROUP_NOT_FOUND' })

    await bus.shutdown()
    assert.deepEqual(
      (await operator.admin.consumers()).map((consumer) => consumer.group),
      ['other'],
    )
    assert.deepEqual(await operator.admin.consumers('main'), [])
    await other.stopConsuming()
    await consumersWhen(scene, operator, (consumers) => consumers.length === 0)
  }),

  test('reports who publishes what, and which handler publishes in turn', {
    needs: NEEDS,
  }, async (scene) => {
    const marks = new Recording<Marked>()
    const bus = await scene.brokerBus(SOON)
    bus.subscribe(Noted, ({ n }) => bus.publish([marked('Order-2', n)]), { name: 'marking' })
    bus.subscribe(Noted, () => Promise.resolve(), { name: 'silent' })
    bus.subscribe(Marked, marks.handler, { name: 'marks' })
    await scene.consume(bus)
    const shop = await scene.brokerBus({ ...SOON, consumerGroup: 'shop', programName: 'shop' })
    const operator = await scene.brokerBus({ consumerGroup: 'observer' })
    await shop.publish([noted('Order-1', 1), noted('Order-1', 2)])
    await scene.runs(marks, 2)

    let last: Topology | undefined
    await scene.until(
      'the producers',
      async () => {
        last = await operator.admin.topology()
        return last.producers.length === 2
      },
      () => last,
    )
    const [note, mark] = [Noted.eventType, Marked.eventType]
    assert.deepEqual(last, {
      producers: [
        { name: 'main', processes: 1, eventTypes: [mark] },
        { name: 'shop', processes: 1, eventTypes: [note] },
      ],
      events: [note, mark].toSorted(),
      groups: [{ name: 'main', consumers: 1 }],
      handlers: [
        { group: 'main', name: 'marking', eventTypes: [note] },
        { group: 'main', name: 'marks', eventTypes: [mark] },
        { group: 'main', name: 'silent', eventTypes: [note] },
      ],
      edges: [{ eventType: note, group: 'main', handler: 'marking', publishes: mark }],
    })
  }),

  test('lists a killed consumer until it has missed three reports', {
    needs: NEEDS,
    faults: ['crash'],
  }, async (scene) => {
    const bus = await scene.consumer(() => undefined, SOON)
    const mortal = await scene.consumer(() => undefined, { consumerGroup: 'mortal', ...SOON })
    const groups = (consumers: readonly ConsumerInfo[]) => consumers.map(({ group }) => group).join()
    await consumersWhen(scene, bus, (consumers) => groups(consumers) === 'main,mortal')

    await scene.crash(mortal)

    await consumersWhen(scene, bus, (consumers) => groups(consumers) === 'main')
  }),
]
