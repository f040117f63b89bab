import assert from 'node:assert/strict'
import { type BrokerEventBus, type LongWaitOptions, NonRetryableError } from '../../index.ts'
import { test } from './conformance-test.ts'
import { Marked, Noted, noted } from './events.ts'
import { OrderedWorkers, overtaking, type WorkerRun } from './ordered-workers.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

const WAIT_MS = 300
const ANY_ORDER: LongWaitOptions = { fromMs: 100, order: 'giveUp' }

const fail = () => {
  throw new Error('planned')
}

/** So many waits that it does not matter how many are over before a consumer stops. */
const many = (waitMs: number) => Array.from({ length: 200 }, () => waitMs)

const attemptsOf = ({ runs }: Recording<Noted>) => runs.map(({ attempt }) => attempt)

const numbersOf = ({ events }: Recording<Noted>) => events.map(({ n }) => n)

const IN_ORDER = {
  name: 'ordered',
  retryDelaysMs: many(150),
  longWaits: { fromMs: 100, order: 'keep' },
} as const

/** A group that shares messages among consumers in any order may be unable to see what waits. */
const KEEPING_ORDER = { ordering: 'aggregate' } as const

function waiting(scene: Scene, bus: BrokerEventBus, count: number): Promise<unknown> {
  return scene.until(
    `${count} waiting events`,
    async () => (await bus.countWaiting()) === count,
    () => bus.getStats(),
  )
}

/** The age of the oldest waiting event, as health shows it. */
async function oldestMs(bus: BrokerEventBus): Promise<number | undefined> {
  return (await bus.health()).checks.oldestWaitingMs.value
}

/** Waits until an event has been kept. It may have come back by then. */
function postponed(scene: Scene, bus: BrokerEventBus): Promise<unknown> {
  return scene.until(
    'an event that waits',
    () => bus.getStats().eventsPostponed > 0,
    () => bus.getStats(),
  )
}

/** Promise 18: a long wait holds no place, and outlives the process. */
export const waitTests = [
  test('holds no place during a long wait', { needs: ['retry', 'waiting'] }, async (scene) => {
    const recording = new Recording<Noted>(({ n }) => n < 3 && fail())
    const longMs = scene.waitMs * 100
    const startedAt = Date.now()
    const bus = await scene.consumer(
      (it) => {
        const policy = { retryDelaysMs: [longMs], longWaits: ANY_ORDER }
        it.subscribe(Noted, recording.handler, { name: 'waits', ...policy })
      },
      { maxInFlight: 1 },
    )

    await bus.publish(Array.from({ length: 5 }, (_, n) => noted('Order-1', n)))
    await scene.runs(recording, 5)
    await scene.until('no event in flight', () => bus.getStats().inFlight === 0)

    await waiting(scene, bus, 3)
    const ageMs = (await oldestMs(bus)) ?? 0
    assert.ok(ageMs > 0 && ageMs <= Date.now() - startedAt, `the oldest event waits for ${ageMs} ms`)
    assert.deepEqual(
      recording.events.map(({ n }) => n),
      [0, 1, 2, 3, 4],
    )
    const { eventsPostponed, eventsConsumed, eventsProcessedSuccess, messagesSentToDlq } = bus.getStats()
    assert.deepEqual(
      { eventsPostponed, eventsConsumed, eventsProcessedSuccess, messagesSentToDlq },
      { eventsPostponed: 3, eventsConsumed: 2, eventsProcessedSuccess: 2, messagesSentToDlq: 0 },
    )
  }),

  test('continues the attempts of the handler that waited, and runs no other', {
    needs: ['retry', 'waiting', 'deadLetters'],
  }, async (scene) => {
    const patient = new Recording<Noted>((_event, { attempt }) => attempt < 3 && fail())
    const hopeless = new Recording<Noted>(fail)
    const other = new Recording<Noted>()
    const bus = await scene.consumer((it) => {
      const policy = { retryDelaysMs: [WAIT_MS, WAIT_MS], longWaits: ANY_ORDER }
      it.subscribe(Noted, patient.handler, { name: 'patient', ...policy })
      it.subscribe(Noted, hopeless.handler, { name: 'hopeless', ...policy, retryDelaysMs: [WAIT_MS] })
      it.subscribe(Noted, other.handler, { name: 'other' })
    })
    const startedAt = new Date()

    const event = noted('Order-1')
    await bus.publish([event])
    await scene.runs(patient, 3)
    await scene.until('a dead letter', async () => (await bus.deadLetters.count()) === 1)

    assert.deepEqual([attemptsOf(patient), attemptsOf(hopeless), attemptsOf(other)], [[1, 2, 3], [1, 2], [1]])
    for (const { runs } of [patient, hopeless]) {
      const starts = runs.map((run) => run.startedAt)
      // A timer may fire up to a millisecond early.
      for (const [index, at] of starts.entries()) {
        assert.ok(index === 0 || at - (starts[index - 1] ?? 0) >= WAIT_MS - 1, `retried at ${starts}`)
      }
    }
    const [letter] = (await bus.deadLetters.list()).deadLetters
    assert.equal(letter?.eventId, event.eventId)
    assert.equal(letter.attempts, 2)
    assert.deepEqual(letter.handlerNames, ['hopeless'])
    assert.equal(letter.reason, 'max_retries_exceeded')
    const { firstFailedAt, lastFailedAt } = letter
    assert.ok(firstFailedAt !== undefined && lastFailedAt !== undefined && firstFailedAt >= startedAt)
    assert.ok(lastFailedAt.getTime() - firstFailedAt.getTime() >= WAIT_MS - 1)
    await waiting(scene, bus, 0)
    await scene.until('no oldest waiting event', async () => (await oldestMs(bus)) === 0)
    await scene.until('no event in flight', () => bus.getStats().inFlight === 0)
  }),

  test('continues a long wait after a stop', { needs: ['retry', 'waiting', 'redelivery'] }, async (scene) => {
    const options = { name: 'waits', retryDelaysMs: many(4 * WAIT_MS), longWaits: ANY_ORDER }
    const before = new Recording<Noted>(fail)
    const first = await scene.consumer((it) => it.subscribe(Noted, before.handler, options))
    const event = noted('Order-1')
    await first.publish([event])
    await postponed(scene, first)
    await first.shutdown()
    const after = new Recording<Noted>()

    await scene.consumer((it) => it.subscribe(Noted, after.handler, options))
    await scene.runs(after, 1)

    const attempts = before.runs.length
    assert.deepEqual([attemptsOf(before).at(-1), attemptsOf(after)], [attempts, [attempts + 1]])
    assert.equal(after.events[0]?.eventId, event.eventId)
    const waitedMs = (after.runs[0]?.startedAt ?? 0) - (before.runs.at(-1)?.startedAt ?? 0)
    assert.ok(waitedMs >= 4 * WAIT_MS - 1, `waited ${waitedMs} ms`)
  }),

  test('keeps a long wait apart from the other handlers of an event, also after a crash', {
    needs: ['retry', 'waiting', 'redelivery', 'consumerGroups'],
    faults: ['crash'],
  }, async (scene) => {
    const subscribe = (it: BrokerEventBus, waits: Recording<Noted>, retries: Recording<Noted>) => {
      const policy = { retryDelaysMs: many(WAIT_MS), longWaits: ANY_ORDER }
      it.subscribe(Noted, waits.handler, { name: 'waits', ...policy })
      it.subscribe(Noted, retries.handler, { name: 'retries', retryDelaysMs: [scene.waitMs * 100, 1] })
    }
    const [first, failing] = [new Recording<Noted>(fail), new Recording<Noted>(fail)]
    const victim = await scene.consumer((it) => subscribe(it, first, failing))
    await victim.publish([noted('Order-1')])
    await postponed(scene, victim)
    await scene.crash(victim)
    const [waits, retries] = [new Recording<Noted>(), new Recording<Noted>()]

    const heir = await scene.consumer((it) => subscribe(it, waits, retries))
    await Promise.all([scene.runs(waits, 1), scene.runs(retries, 1)])
    await waiting(scene, heir, 0)
    await scene.until('no event in flight', () => heir.getStats().inFlight === 0)

    assert.deepEqual([attemptsOf(first)[0], attemptsOf(failing)], [1, [1]])
    // The crashed consumer may have held the event after its wait, which may count as an attempt.
    assert.ok(attemptsOf(waits).every((attempt) => attempt >= 2))
    assert.deepEqual(attemptsOf(retries), [2])
    assert.equal(await heir.deadLetters.count(), 0)
  }),

  test('keeps as a dead letter an event whose handler is gone when its wait is over', {
    needs: ['retry', 'waiting', 'redelivery', 'deadLetters'],
  }, async (scene) => {
    const first = await scene.consumer((it) => {
      it.subscribe(Noted, fail, { name: 'former', retryDelaysMs: many(WAIT_MS), longWaits: ANY_ORDER })
    })
    await first.publish([noted('Order-1')])
    await postponed(scene, first)
    await first.shutdown()

    const subscribe = (it: BrokerEventBus) => it.subscribe(Marked, () => undefined)
    const bus = await scene.consumer(subscribe, { handoverTimeoutMs: 0 })
    await scene.until('a dead letter', async () => (await bus.deadLetters.count()) === 1)

    const [letter] = (await bus.deadLetters.list()).deadLetters
    assert.equal(letter?.reason, 'handler_not_found')
    assert.deepEqual(letter.handlerNames, ['former'])
  }),

  test('keeps the order of an aggregate behind a long wait, for the handler that waits', {
    needs: ['retry', 'waiting', 'orderedWaits', 'lanes'],
  }, async (scene) => {
    let isFixed = false
    const recording = new Recording<Noted>(({ n }) => n === 0 && !isFixed && fail())
    const other = new Recording<Noted>()
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, recording.handler, IN_ORDER)
      it.subscribe(Noted, other.handler, { name: 'other' })
    }, KEEPING_ORDER)

    await bus.publish(Array.from({ length: 4 }, (_, n) => noted('Order-1', n)))
    await bus.publish([noted('Order-2', 10)])
    await scene.runs(other, 5)
    await bus.publish([noted('Order-1', 4)])
    await scene.runs(other, 6)
    await scene.until('the other aggregate', () => numbersOf(recording).includes(10))
    assert.deepEqual(new Set(numbersOf(recording)), new Set([0, 10]))
    isFixed = true
    await scene.until('the last event', () => numbersOf(recording).includes(4))
    await waiting(scene, bus, 0)
    await bus.publish([noted('Order-1', 5)])
    await scene.until('an event after the wait', () => numbersOf(recording).includes(5))

    const ofOne = numbersOf(recording).filter((n) => n !== 10)
    assert.deepEqual(ofOne.slice(ofOne.indexOf(1) - 1), [0, 1, 2, 3, 4, 5])
    assert.equal(other.runs.length, 7)
  }),

  test('keeps the order behind a long wait in the next process, and continues after a dead letter', {
    needs: ['retry', 'waiting', 'orderedWaits', 'lanes', 'redelivery', 'deadLetters'],
  }, async (scene) => {
    const before = new Recording<Noted>(fail)
    const other = new Recording<Noted>()
    const first = await scene.consumer((it) => {
      it.subscribe(Noted, before.handler, IN_ORDER)
      it.subscribe(Noted, other.handler, { name: 'other' })
    }, KEEPING_ORDER)
    await first.publish([noted('Order-1', 0), noted('Order-1', 1)])
    await scene.runs(other, 2)
    await first.shutdown()
    const after = new Recording<Noted>(({ n }) => {
      if (n === 0) throw new NonRetryableError('planned')
    })
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, after.handler, IN_ORDER)
      it.subscribe(Noted, other.handler, { name: 'other' })
    }, KEEPING_ORDER)

    await bus.publish([noted('Order-1', 2)])
    await scene.runs(after, 3)

    assert.deepEqual(new Set(numbersOf(before)), new Set([0]))
    assert.deepEqual(numbersOf(after), [0, 1, 2])
    assert.deepEqual(attemptsOf(after), [before.runs.length + 1, 1, 1])
    await scene.until('a dead letter', async () => (await bus.deadLetters.count()) === 1)
    await waiting(scene, bus, 0)
  }),

  test('keeps the order behind long waits across workers that come, crash and stop', {
    needs: ['retry', 'waiting', 'orderedWaits', 'sharedOrder', 'consumerGroups'],
    faults: ['crash'],
  }, async (scene) => {
    const workers = await OrderedWorkers.start(scene, 12)
    const failed = new Set<string>()
    const failures = new Set<WorkerRun>()
    let isFailing = false
    const subscribe = (bus: BrokerEventBus, handler: (event: Noted) => unknown) => {
      const failing = async (event: Noted) => {
        const before = workers.runs.length
        const handling = handler(event)
        const run = workers.runs[before]
        const id = `${event.aggregateId} ${event.n}`
        const fails = isFailing && event.n % 4 === 0 && !failed.has(id)
        if (fails) failed.add(id)
        // A worker that has crashed records no run.
        if (fails && run !== undefined) failures.add(run)
        await handling
        if (fails) fail()
      }
      bus.subscribe(Noted, failing, IN_ORDER)
    }
    const has = (name: string) => () => workers.runs.some(({ worker }) => worker === name)
    const first = await workers.worker('first', subscribe)
    await workers.publishUntil('the first worker to handle events', has('first'))
    const second = await workers.worker('second', subscribe)
    await workers.publishUntil('the second worker to share', has('second'))
    await workers.worker('third', subscribe)
    await workers.publishUntil('the third worker to share', has('third'))
    await workers.allHandled()

    isFailing = true
    await workers.publish()
    await scene.until(
      'an event that waits',
      () => failed.size > 0,
      () => failed.size,
    )
    await workers.crash('first', first)
    await workers.publish()
    await second.shutdown()
    await workers.publish()

    await workers.allHandled()
    assert.deepEqual(overtaking(workers.runs, failures), [])
  }),

  test('refuses long waits that it cannot keep', { needs: ['retry'] }, async (scene) => {
    const bus = await scene.bus()
    const longWaits: LongWaitOptions = { order: 'giveUp' }
    const misspelled: object = { longWaits: { order: 'sometimes' } }

    assert.throws(() => bus.subscribe(Noted, fail, { longWaits }), /longWaits needs a name/)
    assert.throws(() => bus.subscribe(Noted, fail, { name: 'a', ...misspelled }), /order must be one of/)
    assert.throws(() => bus.subscribe(Noted, fail, { name: 'a', longWaits: {} as LongWaitOptions }), /order/)
  }),
]
