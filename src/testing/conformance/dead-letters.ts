import assert from 'node:assert/strict'
import type { BrokerEventBus, BrokerOptions, DeadLetter } from '../../index.ts'
import { test } from './conformance-test.ts'
import { ids, Marked, Noted, noted, series } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

/** A handler that fails until it is fixed. */
class Broken extends Recording<Noted> {
  isMended = false

  constructor() {
    super(() => {
      if (!this.isMended) throw new RangeError('it is broken')
    })
  }
}

/** A bus of group `main` with a failing handler, a working one, and one for marks. */
async function brokenBus(scene: Scene, options: BrokerOptions = {}) {
  const fails = new Broken()
  const works = new Recording<Noted>()
  const marks = new Recording<Marked>()
  const bus = await scene.consumer(
    (it) => {
      it.subscribe(Noted, fails.handler, { name: 'fails' })
      it.subscribe(Noted, works.handler, { name: 'works' })
      it.subscribe(Marked, marks.handler, { name: 'marks' })
    },
    { maxRetries: 1, ...options },
  )
  return { bus, fails, works, marks }
}

async function deadLettersOf(
  scene: Scene,
  bus: BrokerEventBus,
  count: number,
): Promise<readonly DeadLetter[]> {
  await scene.until(
    `${count} dead letters`,
    async () => (await bus.deadLetters.count()) >= count,
    () => bus.getStats(),
  )
  const { deadLetters } = await bus.deadLetters.list()
  assert.equal(deadLetters.length, count)
  return deadLetters
}

const comparable = (letters: readonly DeadLetter[]) =>
  letters.map(({ id, body, reason, attempts, handlerNames, lastFailedAt }) => ({
    id,
    body: Buffer.from(body).toString('hex'),
    reason,
    attempts,
    handlerNames,
    lastFailedAt,
  }))

/** Promises 5 (the dead letter queue) and 11 (replay). */
export const deadLetterTests = [
  test('keeps the message with the reason, the source and the times of its failure', {
    needs: ['deadLetters'],
  }, async (scene) => {
    const { bus } = await brokenBus(scene, { maxRetries: 2, consumerGroup: 'g' })
    const event = new Noted({ aggregateId: 'Order-1', n: 4, text: 'ä€', tenantId: 't' })
    const before = Date.now()
    await bus.publish([event])

    const [letter] = await deadLettersOf(scene, bus, 1)

    assert.ok(letter !== undefined)
    assert.deepEqual(JSON.parse(JSON.stringify(letter.event)), JSON.parse(JSON.stringify(event)))
    assert.equal(Buffer.from(letter.body).toString(), JSON.stringify(event))
    assert.equal(letter.eventId, event.eventId)
    assert.equal(letter.eventType, 'ConformanceNoted')
    assert.equal(letter.aggregateId, 'Order-1')
    assert.equal(letter.reason, 'max_retries_exceeded')
    assert.equal(letter.errorName, 'RangeError')
    assert.equal(letter.errorMessage, 'it is broken')
    assert.deepEqual(letter.handlerNames, ['fails'])
    assert.equal(letter.consumerGroup, 'g')
    assert.equal(letter.attempts, 3)
    const [first, last] = [letter.firstFailedAt?.getTime() ?? 0, letter.lastFailedAt?.getTime() ?? 0]
    assert.ok(before <= first && first < last && last <= Date.now(), `failed from ${first} to ${last}`)
    assert.ok(letter.source !== undefined && letter.source !== '')
    assert.equal(letter.errorStack, undefined)
  }),

  test('keeps the stack of the error only with deadLetterStacks, cut', {
    needs: ['deadLetters'],
  }, async (scene) => {
    const fails = new Recording<Noted>(({ n }) => {
      const cause = new Error('the cause')
      throw Object.assign(
        new RangeError('it is broken', { cause }),
        n === 2 && { stack: 'x'.repeat(100_000) },
      )
    })
    const bus = await scene.consumer((it) => it.subscribe(Noted, fails.handler, { name: 'fails' }), {
      maxRetries: 0,
      deadLetterStacks: true,
    })
    await bus.publish([noted('Order-1', 1), noted('Order-1', 2)])

    const [first, second] = await deadLettersOf(scene, bus, 2)

    assert.match(first?.errorStack ?? '', /^RangeError: it is broken\n +at /)
    assert.match(first?.errorStack ?? '', /\ncaused by Error: the cause\n +at /)
    assert.equal(second?.errorStack, 'x'.repeat(4000))
    assert.equal(await bus.deadLetters.replay(first?.id ?? ''), true)
    await scene.runs(fails, 3)
  }),

  test('keeps one dead letter for all handlers that failed', { needs: ['deadLetters'] }, async (scene) => {
    const { bus, fails } = await brokenBus(scene)
    bus.subscribe(Noted, fails.handler, { name: 'fails too' })
    await bus.publish([noted('Order-1')])

    const [letter] = await deadLettersOf(scene, bus, 1)

    assert.deepEqual(letter?.handlerNames?.toSorted(), ['fails', 'fails too'])
    assert.equal(bus.getStats().messagesSentToDlq, 1)
  }),

  test('continues with the aggregate after a dead letter', { needs: ['deadLetters'] }, async (scene) => {
    const { bus, fails, works, marks } = await brokenBus(scene)

    await bus.publish(series('Order-1', 2))
    await scene.flush(bus, 'Order-1', marks)

    assert.deepEqual(
      fails.events.map(({ n }) => n),
      [0, 0, 1, 1],
    )
    assert.deepEqual(
      works.events.map(({ n }) => n),
      [0, 1],
    )
    await deadLettersOf(scene, bus, 2)
  }),

  test('lists dead letters repeatedly and in pages, without changing them', {
    needs: ['deadLetters'],
  }, async (scene) => {
    const { bus } = await brokenBus(scene)
    assert.deepEqual(await bus.deadLetters.list(), { deadLetters: [], cursor: undefined })
    assert.equal(await bus.deadLetters.count(), 0)
    const events = series('Order-1', 5)
    await bus.publish(events)

    const first = await deadLettersOf(scene, bus, 5)
    const second = await deadLettersOf(scene, bus, 5)
    assert.deepEqual(comparable(second), comparable(first))
    assert.deepEqual(
      first.map(({ eventId }) => eventId),
      ids(events),
    )

    const paged: DeadLetter[] = []
    let cursor: string | undefined
    do {
      const page = await bus.deadLetters.list({ limit: 2, ...(cursor !== undefined && { cursor }) })
      assert.ok(page.deadLetters.length <= 2)
      paged.push(...page.deadLetters)
      cursor = page.cursor
    } while (cursor !== undefined)
    assert.deepEqual(comparable(paged), comparable(first))
    assert.equal(await bus.deadLetters.count(), 5)
  }),

  test('finds a dead letter by its id, and returns undefined if there is none', {
    needs: ['deadLetters'],
  }, async (scene) => {
    const { bus } = await brokenBus(scene)
    await bus.publish(series('Order-1', 2))
    const [first, second] = await deadLettersOf(scene, bus, 2)
    assert.ok(first !== undefined && second !== undefined)

    assert.deepEqual(comparable([(await bus.deadLetters.get(second.id)) ?? first]), comparable([second]))
    assert.equal(await bus.deadLetters.purge(first.id), 1)

    for (const id of [first.id, 'no such id', '']) {
      assert.equal(await bus.deadLetters.get(id), undefined, `get of ${id}`)
      assert.equal(await bus.deadLetters.replay(id), false, `replay of ${id}`)
      assert.equal(await bus.deadLetters.purge(id), 0, `purge of ${id}`)
    }
    assert.deepEqual(comparable(await deadLettersOf(scene, bus, 1)), comparable([second]))
  }),

  test('gives dead letters ids of their own, also those of one event', {
    needs: ['deadLetters'],
  }, async (scene) => {
    const { bus } = await brokenBus(scene)
    const { eventId } = noted('Order-1')
    await bus.publish([noted('Order-1', 1, eventId), noted('Order-1', 2, eventId)])
    const letters = await deadLettersOf(scene, bus, 2)
    assert.equal(new Set(letters.map(({ id }) => id)).size, 2)
    const [first, second] = letters
    assert.ok(first !== undefined && second !== undefined)

    assert.deepEqual(comparable([(await bus.deadLetters.get(second.id)) ?? first]), comparable([second]))
    assert.equal(await bus.deadLetters.purge(second.id), 1)

    assert.deepEqual(comparable(await deadLettersOf(scene, bus, 1)), comparable([first]))
  }),

  test('replays to the group and the handler that failed, and to no others', {
    needs: ['deadLetters', 'consumerGroups'],
  }, async (scene) => {
    const { bus, fails, works, marks } = await brokenBus(scene)
    const elsewhere = new Recording()
    await scene.consumer((it) => it.subscribeToAllEvents(elsewhere.handler), { consumerGroup: 'other' })
    const event = noted('Order-1', 9)
    await bus.publish([event])
    const [letter] = await deadLettersOf(scene, bus, 1)
    fails.isMended = true

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

  test('replays to one of two groups that failed', {
    needs: ['deadLetters', 'consumerGroups'],
  }, async (scene) => {
    const a = await brokenBus(scene, { consumerGroup: 'a' })
    const b = await brokenBus(scene, { consumerGroup: 'b' })
    await a.bus.publish([noted('Order-1')])
    const letters = await deadLettersOf(scene, a.bus, 2)
    assert.deepEqual(letters.map(({ consumerGroup }) => consumerGroup).toSorted(), ['a', 'b'])
    a.fails.isMended = true
    b.fails.isMended = true

    assert.equal(await a.bus.deadLetters.replayAll({ consumerGroup: 'b' }), 1)

    await scene.runs(b.fails, 3)
    await scene.flush(a.bus, 'Order-1', a.marks)
    assert.equal(a.fails.runs.length, 2)
    const [left] = await deadLettersOf(scene, a.bus, 1)
    assert.equal(left?.consumerGroup, 'a')
  }),

  test('counts in the health of a group its own dead letters only', {
    needs: ['deadLetters', 'consumerGroups'],
  }, async (scene) => {
    const a = await brokenBus(scene, { consumerGroup: 'a' })
    const b = await brokenBus(scene, { consumerGroup: 'b' })
    b.fails.isMended = true
    const counts = async () => {
      const healths = await Promise.all([a.bus.health(), b.bus.health()])
      return healths.map(({ checks }) => checks.deadLetters.value)
    }
    assert.deepEqual(await counts(), [0, 0])
    await a.bus.publish([noted('Order-1'), noted('Order-2')])
    const [letter] = await deadLettersOf(scene, b.bus, 2)
    assert.deepEqual(await counts(), [2, 0])

    await a.bus.deadLetters.purge(letter?.id ?? '')

    assert.deepEqual(await counts(), [1, 0])
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
    fails.isMended = true

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

  test('logs, counts and drops failed events if the dead letter queue is off', {
    needs: ['deadLetters', 'redelivery'],
  }, async (scene) => {
    const { bus, fails, marks } = await brokenBus(scene, { enableDlq: false })
    const event = noted('Order-1')
    await bus.publish([event])
    await scene.flush(bus, 'Order-1', marks)

    assert.equal(fails.runs.length, 2)
    await scene.until(
      '2 settled',
      () => bus.getStats().inFlight === 0,
      () => bus.getStats(),
    )
    const { eventsProcessedFailed, messagesSentToDlq } = bus.getStats()
    assert.deepEqual([eventsProcessedFailed, messagesSentToDlq], [1, 0])
    assert.equal(await bus.deadLetters.count(), 0)
    assert.ok(
      scene.log.lines.some(({ level, fields }) => level === 'error' && fields['eventId'] === event.eventId),
      'no line at error level names the event',
    )
    await bus.shutdown()
    await scene.assertNothingLeft(await scene.bus())
  }),
]
