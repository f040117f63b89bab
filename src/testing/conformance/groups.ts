import assert from 'node:assert/strict'
import type { BrokerEventBus, GroupInfo } from '../../index.ts'
import { test } from './conformance-test.ts'
import { Marked, marked, Noted, noted, series } from './events.ts'
import { GaugeReader } from './gauge-reader.ts'
import { Recording } from './recording.ts'
import type { Scene, SceneOptions } from './scene.ts'

const fail = () => {
  throw new Error('planned')
}

/** A group that has handled an event, and that nobody consumes for any more. */
async function formerGroup(
  scene: Scene,
  consumerGroup = 'idle',
  options: SceneOptions = {},
): Promise<undefined> {
  const marks = new Recording<Marked>()
  const subscribe = (bus: BrokerEventBus) => bus.subscribe(Marked, marks.handler, { name: 'marks' })
  const bus = await scene.consumer(subscribe, { consumerGroup, ...options })
  await scene.flush(bus, 'Order-0', marks)
  await bus.shutdown()
}

/** Waits until a group is in a state. The broker may learn it after the handlers have run. */
async function groupWhen(
  scene: Scene,
  { admin }: BrokerEventBus,
  name: string,
  isSo: (group: GroupInfo) => boolean,
): Promise<GroupInfo> {
  let last: GroupInfo | undefined
  await scene.until(
    `the state of the group ${name}`,
    async () => {
      last = (await admin.groups()).find((group) => group.name === name)
      return last !== undefined && isSo(last)
    },
    () => last,
  )
  assert.ok(last !== undefined)
  return last
}

const NEEDS = ['operator', 'consumerGroups', 'persistence'] as const

/** Promise 19: an operator sees all groups, from any process. */
export const groupTests = [
  test('lists every consumer group with its lag, also one that no process consumes for', {
    needs: NEEDS,
  }, async (scene) => {
    await formerGroup(scene)
    const recording = new Recording<Noted>()
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler, { name: 'notes' }))
    const observer = await scene.brokerBus({ consumerGroup: 'observer' })
    await bus.publish(series('Order-1', 5))
    await scene.runs(recording, 5)

    const idle = await groupWhen(scene, observer, 'idle', ({ lag, members }) => lag === 5 && members === 0)
    await groupWhen(scene, observer, 'main', ({ members }) => members === 1)
    await bus.shutdown()
    await groupWhen(scene, observer, 'main', ({ lag, members }) => lag === 0 && members === 0)
    const groups = await observer.admin.groups()

    assert.deepEqual(
      groups.map(({ name }) => name),
      ['idle', 'main'],
    )
    assert.deepEqual([idle.inFlight ?? 0, idle.retriesWaiting, idle.deadLetters], [0, 0, 0])
  }),

  test('reports every consumer group as metrics, also one that no process consumes for', {
    needs: NEEDS,
  }, async (scene) => {
    await formerGroup(scene)
    const observer = await scene.brokerBus({ consumerGroup: 'observer' })
    await observer.publish(series('Order-1', 3))
    const gauges = new GaugeReader()

    const end = await observer.admin.observe({ meter: gauges.meter })
    let last = await gauges.read('idle')
    await scene.until(
      'the lag of the group',
      async () => {
        last = await gauges.read('idle')
        return last.get('eventspine.group.lag') === 3
      },
      () => last,
    )
    end()

    assert.equal(last.get('eventspine.group.members'), 0)
    assert.equal(last.get('eventspine.group.dead_letters'), 0)
    assert.equal(last.get('eventspine.group.retries_waiting'), 0)
    const age = last.get('eventspine.group.oldest_unsettled') ?? 0
    assert.ok(age >= 0 && age < scene.waitMs / 1000, `an age of ${age} s`)
    assert.equal((await gauges.read('idle')).size, 0)
  }),

  test('distinguishes a misspelt consumer group from an idle one', { needs: NEEDS }, async (scene) => {
    await formerGroup(scene)
    const { admin } = await scene.brokerBus({ consumerGroup: 'observer' })

    assert.equal((await admin.group('idle')).name, 'idle')
    await assert.rejects(admin.group('idel'), {
      name: 'GroupNotFoundError',
      code: 'GROUP_NOT_FOUND',
      message: 'There is no consumer group idel here; did you mean idle?',
    })
  }),

  test('reports what a consumer holds, and since when', { needs: NEEDS }, async (scene) => {
    const recording = new Recording<Noted>(() => scene.ended)
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler, { name: 'hangs' }))
    const before = Date.now()
    await bus.publish([noted('Order-1')])
    await scene.runs(recording, 1)

    const { lag = 0, inFlight, oldestUnsettledAt, members } = await bus.admin.group('main')

    assert.equal(members, 1)
    if (inFlight !== undefined) assert.equal(lag + inFlight, 1)
    if (oldestUnsettledAt === undefined) return
    const after = oldestUnsettledAt.getTime() - before
    assert.ok(Math.abs(after) < scene.waitMs, `published ${after} ms after the call`)
  }),

  test('counts the dead letters and the waiting retries of each consumer group', {
    needs: [...NEEDS, 'deadLetters', 'retry', 'waiting'],
  }, async (scene) => {
    const longWaits = { fromMs: 100, order: 'giveUp' } as const
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, fail, { name: 'gives up', maxRetries: 0 })
      it.subscribe(Marked, fail, { name: 'waits', retryDelaysMs: [100 * scene.waitMs], longWaits })
    })
    const other = new Recording<Noted>()
    const healthy = await scene.consumer((it) => it.subscribe(Noted, other.handler, { name: 'other' }), {
      consumerGroup: 'other',
    })
    await bus.publish([...series('Order-1', 2), marked('Order-2')])
    await scene.runs(other, 2)

    await groupWhen(scene, healthy, 'main', (group) => group.deadLetters === 2 && group.retriesWaiting === 1)
    const { deadLetters, retriesWaiting } = await groupWhen(scene, healthy, 'other', ({ lag }) => lag === 0)

    assert.deepEqual([deadLetters, retriesWaiting], [0, 0])
  }),

  test('deletes a consumer group that nobody consumes for, and no other', { needs: NEEDS }, async (scene) => {
    await formerGroup(scene)
    const { bus, recording } = await scene.recordingBus()
    const { admin } = await scene.brokerBus({ consumerGroup: 'observer' })

    await assert.rejects(admin.deleteGroup('main'), { name: 'GroupInUseError', code: 'GROUP_IN_USE' })
    await bus.publish([noted('Order-1')])
    await groupWhen(scene, bus, 'idle', ({ lag }) => lag === 1)
    const deleted = await admin.deleteGroup('idle', { by: 'an operator', why: 'nobody needs it' })

    assert.equal(deleted.lag, 1)
    await assert.rejects(admin.deleteGroup('idle'), { code: 'GROUP_NOT_FOUND' })
    const line = scene.log.lines.find(({ message }) => message === 'operator change done')
    const { action, by, why, count } = line?.fields ?? {}
    assert.deepEqual([action, by, why, count], ['groups.delete', 'an operator', 'nobody needs it', 1])
    await bus.publish([noted('Order-1', 1)])
    await scene.runs(recording, 2)
  }),

  test('reports the load of each partition', { needs: [...NEEDS, 'sharedOrder'] }, async (scene) => {
    await formerGroup(scene, 'idle', { partitions: 4 })
    const observer = await scene.brokerBus({ consumerGroup: 'observer', partitions: 4 })
    await observer.publish(Array.from({ length: 20 }, (_, n) => noted(`Order-${n}`)))

    const { lag, partitions } = await groupWhen(scene, observer, 'idle', (group) => group.lag === 20)

    if (partitions.length === 0) return
    assert.deepEqual(
      partitions.map(({ partition }) => partition),
      [0, 1, 2, 3],
    )
    assert.equal(
      partitions.reduce((sum, partition) => sum + (partition.lag ?? 0), 0),
      lag,
    )
    assert.ok(partitions.every(({ consumer }) => consumer === undefined))
    assert.ok(partitions.filter((partition) => (partition.lag ?? 0) > 0).length > 1)
  }),
]
