import assert from 'node:assert/strict'
import { type AuditEntry, type BrokerEventBus, NonRetryableError } from '../../index.ts'
import { test } from './conformance-test.ts'
import { Marked, marked, Noted, noted, series } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

const NEEDS = ['operator', 'control', 'consumerGroups', 'persistence'] as const

/** So many retries that it does not matter how many are over before the pause. */
const MANY_RETRIES = Array.from({ length: 500 }, () => 100)

/** Waits until a consumer has noticed that its group is paused. */
async function pausedWith(scene: Scene, bus: BrokerEventBus, detail: string): Promise<void> {
  let last: unknown
  await scene.until(
    'a paused consumer',
    async () => {
      const { consuming } = (await bus.health()).checks
      last = consuming
      return consuming.status === 'degraded' && consuming.detail?.startsWith(detail)
    },
    () => last,
  )
}

/** A consumer of another group, which shows that events are delivered meanwhile. */
async function bystander(scene: Scene, consumerGroup = 'other'): Promise<Recording<Noted>> {
  const recording = new Recording<Noted>()
  await scene.consumer((bus) => bus.subscribe(Noted, recording.handler, { name: 'bystander' }), {
    consumerGroup,
  })
  return recording
}

/** A bus of another group, and the marks that it handles. */
async function outsider(scene: Scene) {
  const marks = new Recording<Marked>()
  const publisher = await scene.consumer((it) => it.subscribe(Marked, marks.handler, { name: 'marks' }), {
    consumerGroup: 'outside',
  })
  return { publisher, marks }
}

/** Waits until an event of an aggregate was handled. */
function handled(scene: Scene, recording: Recording<Noted>, aggregate: string): Promise<unknown> {
  const isThere = () => recording.events.some(({ aggregateId }) => aggregateId === aggregate)
  return scene.until(`an event of ${aggregate}`, isThere)
}

/** Promise 20: an operator pauses a group in all processes, and the pause outlives them. */
export const pauseTests = [
  test('pauses a consumer group in all processes, also in those that start later, until it is resumed', {
    needs: NEEDS,
  }, async (scene) => {
    const events = new Recording<Noted>()
    const subscribe = (bus: BrokerEventBus) => bus.subscribe(Noted, events.handler, { name: 'notes' })
    const former = [await scene.consumer(subscribe), await scene.consumer(subscribe)]
    const others = await bystander(scene)
    const entries: AuditEntry[] = []
    const operator = await scene.brokerBus({
      consumerGroup: 'observer',
      audit: (entry) => void entries.push(entry),
    })
    const { admin } = operator
    await operator.publish(series('Order-1', 5))
    await scene.runs(events, 5)

    await assert.rejects(admin.pause('mian'), { code: 'GROUP_NOT_FOUND' })
    assert.equal(await admin.resume('main'), false)
    const { at } = await admin.pause('main', { by: 'ada', why: 'OPS-12' })
    const detail = `paused by ada since ${at.toISOString()}: OPS-12`
    for (const bus of former) await pausedWith(scene, bus, detail)
    await operator.publish(series('Order-2', 20))
    await scene.runs(others, 25)
    assert.equal(events.runs.length, 5, 'a paused consumer handled an event')

    await Promise.all(former.map((bus) => bus.shutdown()))
    const later = await scene.brokerBus()
    const notices = scene.notices(later)
    subscribe(later)
    await scene.consume(later)
    await pausedWith(scene, later, detail)
    const third = await bystander(scene, 'third')
    await operator.publish([noted('Order-3')])
    await handled(scene, others, 'Order-3')
    await handled(scene, third, 'Order-3')
    assert.equal(events.runs.length, 5, 'a consumer that started during the pause handled an event')
    assert.deepEqual((await admin.group('main')).paused, { at, by: 'ada', why: 'OPS-12' })
    assert.equal((await admin.group('other')).paused, undefined)
    await assert.rejects(admin.deleteGroup('main'), { code: 'GROUP_IN_USE' })

    assert.equal(await admin.resume('main', { by: 'ben' }), true)
    await scene.runs(events, 26)
    await scene.until(
      'a consumer that is up',
      async () => (await later.health()).checks.consuming.status === 'up',
    )
    const second = events.events.filter(({ aggregateId }) => aggregateId === 'Order-2')
    assert.deepEqual(
      second.map(({ n }) => n),
      Array.from({ length: 20 }, (_, n) => n),
    )
    assert.equal(events.runs.length, 26)
    assert.deepEqual(
      notices.map(({ type }) => type).filter((type) => type.startsWith('group')),
      ['groupPaused', 'groupResumed'],
    )
    assert.deepEqual(
      entries.map(({ action, state, by, why }) => [action, state, by, why]),
      [
        ['groups.pause', 'started', 'ada', 'OPS-12'],
        ['groups.pause', 'done', 'ada', 'OPS-12'],
        ['groups.resume', 'started', 'ben', undefined],
        ['groups.resume', 'done', 'ben', undefined],
      ],
    )
  }),

  test('lets running handlers end when a consumer group is paused, and starts no further attempt', {
    needs: [...NEEDS, 'retry', 'deadLetters'],
  }, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const slow = new Recording<Noted>(({ n }) => (n === 0 ? gate.promise : undefined))
    let isFixed = false
    const failing = new Recording<Marked>(() => {
      if (!isFixed) throw new Error('planned')
    })
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, slow.handler, { name: 'slow' })
      it.subscribe(Marked, failing.handler, { name: 'failing', retryDelaysMs: MANY_RETRIES })
    })
    await bus.publish([...series('Order-1', 3), marked('Order-2')])
    await scene.runs(slow, 1)
    await scene.runs(failing, 1)

    await bus.admin.pause('main', { by: 'ada' })
    await pausedWith(scene, bus, 'paused by ada')
    // An attempt that was being recorded when the pause was noticed still runs.
    const most = failing.runs.length + 1
    const others = await bystander(scene)
    gate.resolve()
    await scene.until(
      'the running handler to end',
      () => bus.getStats().eventsProcessedSuccess === 1,
      () => bus.getStats(),
    )
    await bus.publish([noted('Order-3')])
    await handled(scene, others, 'Order-3')
    const attempts = failing.runs.length
    assert.equal(slow.runs.length, 1)
    assert.ok(attempts <= most, `${attempts} attempts, and at most ${most} before the pause`)

    isFixed = true
    await bus.admin.resume('main')
    await scene.runs(slow, 4)
    await scene.until('the end of the retries', () => bus.getStats().eventsProcessedSuccess === 5)
    assert.deepEqual(
      slow.events.filter(({ aggregateId }) => aggregateId === 'Order-1').map(({ n }) => n),
      [0, 1, 2],
    )
    assert.equal(failing.runs.length, attempts + 1)
    assert.equal(failing.runs.at(-1)?.attempt, attempts + 1)
    assert.equal(await bus.deadLetters.count(), 0)
  }),

  test('waits until no handler of a paused consumer group runs', {
    needs: [...NEEDS, 'presence'],
  }, async (scene) => {
    const gate = Promise.withResolvers<void>()
    const slow = new Recording<Noted>(() => gate.promise)
    const join = () => scene.consumer((it) => it.subscribe(Noted, slow.handler, { name: 'slow' }))
    const buses = [await join(), await join()]
    const operator = await scene.brokerBus({ consumerGroup: 'observer' })
    await operator.publish([noted('Order-1')])
    await scene.runs(slow, 1)

    await assert.rejects(operator.admin.pause('main', { by: 'ada', waitMs: 1 }), {
      code: 'GROUP_STILL_RUNNING',
      message:
        /^The consumer group main is paused, but handlers still run, or may run, after 1 ms: .*process \d+/,
    })
    for (const bus of buses) await pausedWith(scene, bus, 'paused by ada')
    await assert.rejects(operator.admin.pause('main', { by: 'ben', waitMs: 1500 }), {
      message: /handles 1 event, the oldest for \d+ s, as it reported \d+ s ago\. The pause stays/,
    })
    const waiting = operator.admin.pause('main', { by: 'cleo', waitMs: scene.waitMs })
    gate.resolve()
    assert.equal((await waiting).by, 'cleo')
    const running = (await operator.admin.consumers()).map((consumer) => consumer.running)
    assert.deepEqual([...new Set(running)].filter(Boolean), [])
    assert.equal(slow.runs.length, 1)

    await operator.publish([noted('Order-2')])
    await operator.admin.resume('main')
    await scene.runs(slow, 2)
  }),

  test('keeps replays and events whose long wait is over for a paused consumer group', {
    needs: [...NEEDS, 'retry', 'deadLetters', 'waiting'],
  }, async (scene) => {
    let isFixed = false
    const rejected = new Recording<Noted>(() => {
      if (!isFixed) throw new NonRetryableError('planned')
    })
    const waiting = new Recording<Noted>(() => {
      if (!isFixed) throw new Error('planned')
    })
    const bus = await scene.consumer((it) => {
      const longWaits = { fromMs: 100, order: 'giveUp' } as const
      it.subscribe(Noted, rejected.handler, { name: 'rejected' })
      it.subscribe(Noted, waiting.handler, { name: 'waiting', retryDelaysMs: MANY_RETRIES, longWaits })
    })
    const { publisher, marks } = await outsider(scene)
    await bus.publish([noted('Order-1')])
    await scene.until('a dead letter', async () => (await bus.deadLetters.count()) === 1)
    await scene.runs(waiting, 2)

    await bus.admin.pause('main', { by: 'ada' })
    await pausedWith(scene, bus, 'paused by ada')
    // An attempt that was being recorded when the pause was noticed still runs.
    await scene.pings(publisher, marks, 50)
    const attempts = waiting.runs.length
    const [letter] = (await publisher.deadLetters.list()).deadLetters
    assert.equal(await publisher.deadLetters.replay(letter?.id ?? ''), true)
    await scene.pings(publisher, marks, 500)
    assert.deepEqual([rejected.runs.length, waiting.runs.length], [1, attempts])

    isFixed = true
    await bus.admin.resume('main')
    await scene.runs(rejected, 2)
    await scene.runs(waiting, attempts + 1)
    assert.deepEqual(waiting.runs.at(-1)?.attempt, attempts + 1)
  }),

  test('hands nothing that a consumer held when it crashed to the others of a paused group', {
    needs: [...NEEDS, 'redelivery'],
    faults: ['crash'],
  }, async (scene) => {
    const stuck = new Recording<Noted>(() => scene.ended)
    const victim = await scene.consumer((it) => it.subscribe(Noted, stuck.handler, { name: 'notes' }))
    const { publisher, marks } = await outsider(scene)
    await publisher.publish(series('Order-1', 3))
    await scene.runs(stuck, 1)
    await publisher.admin.pause('main', { by: 'ada' })
    await pausedWith(scene, victim, 'paused by ada')

    const heir = new Recording<Noted>()
    const later = await scene.consumer((it) => it.subscribe(Noted, heir.handler, { name: 'notes' }))
    await pausedWith(scene, later, 'paused by ada')
    await scene.crash(victim)
    await scene.pings(publisher, marks, Math.max(500, 1.5 * scene.idleLimitMs))
    assert.deepEqual(heir.runs, [])

    await publisher.admin.resume('main')
    await scene.runs(heir, 3)
    assert.deepEqual([...new Set(heir.events.map(({ n }) => n))], [0, 1, 2])
  }),
]
