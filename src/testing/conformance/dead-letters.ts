import assert from 'node:assert/strict'
import type { DeadLetter } from '../../index.ts'
import { brokenBus, comparable, deadLettersOf } from './broken-bus.ts'
import { test } from './conformance-test.ts'
import { ids, Noted, noted, series } from './events.ts'
import { Recording } from './recording.ts'

/** Promise 5: the dead letter queue. */
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

  test('finds no dead letter with an unknown id, and refuses a call without an id', {
    needs: ['deadLetters'],
  }, async (scene) => {
    const { bus } = await brokenBus(scene)
    await bus.publish([noted('Order-1')])
    await deadLettersOf(scene, bus, 1)

    assert.equal(await bus.deadLetters.get('unknown'), undefined)
    assert.equal(await bus.deadLetters.replay('unknown'), false)
    const { get, replay } = bus.deadLetters
    for (const call of [get, replay]) {
      const withoutId: unknown = Reflect.apply(call, bus.deadLetters, [])
      await assert.rejects(Promise.resolve(withoutId), /takes the id of a dead letter, got undefined/)
    }
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

  test('counts in the health of a group its own dead letters only', {
    needs: ['deadLetters', 'consumerGroups'],
  }, async (scene) => {
    const a = await brokenBus(scene, { consumerGroup: 'a' })
    const b = await brokenBus(scene, { consumerGroup: 'b' })
    b.fails.isFixed = true
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
