import assert from 'node:assert/strict'
import { type BrokerEventBus, JsonCodec, type SubscribeOptions } from '../../index.ts'
import { test } from './conformance-test.ts'
import { Noted, noted, series } from './events.ts'
import { OrderedWorkers, overtaking, type WorkerRun } from './ordered-workers.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

const IN_ORDER = { name: 'ordered', maxRetries: 0, onDeadLetter: 'park' } as const satisfies SubscribeOptions

/** The events that fail once, by aggregate. */
const FAILING: ReadonlyMap<string, readonly number[]> = new Map([
  ['Order-0', [1, 4]],
  ['Order-3', [0, 3, 7]],
  ['Order-5', [2, 9]],
])

/** Interval between two rounds of events, in milliseconds. */
const ROUND_MS = 100

/** A group that shares messages among consumers in any order may be unable to see what waits. */
const KEEPING_ORDER = { ordering: 'aggregate' } as const

const codec = new JsonCodec()

const numbersOf = ({ events }: Recording<Noted>) => events.map(({ n }) => n)

/** A handler that fails for these numbers, which the test may change. */
function failingFor(...numbers: readonly number[]) {
  const bad = new Set(numbers)
  const recording = new Recording<Noted>(({ n }) => {
    if (bad.has(n)) throw new Error('planned')
  })
  return { bad, recording }
}

function waiting(scene: Scene, bus: BrokerEventBus, count: number): Promise<unknown> {
  return scene.until(
    `${count} waiting events`,
    async () => (await bus.countWaiting()) === count,
    () => bus.getStats(),
  )
}

/** Waits until there are this many dead letters. @returns them, oldest first. */
async function letters(scene: Scene, bus: BrokerEventBus, count: number) {
  await scene.until(`${count} dead letters`, async () => (await bus.deadLetters.count()) === count)
  return (await bus.deadLetters.list()).deadLetters
}

function handled(scene: Scene, recording: Recording<Noted>, expected: readonly number[]): Promise<unknown> {
  return scene.until(
    `the events ${expected.join(', ')}`,
    () => numbersOf(recording).length >= expected.length,
    () => numbersOf(recording),
  )
}

const NEEDS = ['parking', 'lanes', 'deadLetters'] as const

/** Promise 14: on request, the order of an aggregate continues beyond a dead letter. */
export const parkingTests = [
  test('keeps the later events of an aggregate behind a dead letter, for the handler that parks', {
    needs: NEEDS,
  }, async (scene) => {
    const { bad, recording } = failingFor(0, 3)
    const other = new Recording<Noted>(({ n }) => {
      if (n === 0) throw new Error('planned')
    })
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, recording.handler, IN_ORDER)
      it.subscribe(Noted, other.handler, { name: 'other', maxRetries: 0 })
    }, KEEPING_ORDER)

    await bus.publish(series('Order-1', 5))
    await bus.publish([noted('Order-2', 10)])
    await scene.runs(other, 6)
    const [letter] = await letters(scene, bus, 1)
    await waiting(scene, bus, 4)
    await scene.until('the other aggregate', () => numbersOf(recording).includes(10))
    assert.deepEqual(new Set(numbersOf(recording)), new Set([0, 10]))
    assert.deepEqual(letter?.handlerNames?.toSorted(), ['ordered', 'other'])
    assert.deepEqual(letter?.parkedFor, ['ordered'])

    // The replay releases the events in order, until one fails again.
    bad.delete(0)
    assert.equal(await bus.deadLetters.replay(letter?.id ?? '', { handlers: ['ordered'] }), true)
    const [second] = await letters(scene, bus, 1)
    await scene.until('the second failure', () => numbersOf(recording).includes(3))
    await waiting(scene, bus, 1)
    assert.equal(numbersOf(recording).includes(4), false)
    assert.notEqual(second?.id, letter?.id)

    bad.delete(3)
    assert.equal(await bus.deadLetters.replayAll(), 1)
    await scene.until('the last event', () => numbersOf(recording).includes(4))
    await waiting(scene, bus, 0)
    await bus.publish([noted('Order-1', 5)])
    await scene.until('an event after the release', () => numbersOf(recording).includes(5))

    assert.deepEqual(
      numbersOf(recording).filter((n) => n !== 10),
      [0, 0, 1, 2, 3, 3, 4, 5],
    )
    assert.equal(await bus.deadLetters.count(), 0)
  }),

  test('keeps them for the next process, behind each failed replay, and releases them when the dead letter is purged', {
    needs: [...NEEDS, 'redelivery'],
  }, async (scene) => {
    const [before, seen] = [failingFor(0).recording, new Recording<Noted>()]
    const first = await scene.consumer((it) => {
      it.subscribe(Noted, before.handler, IN_ORDER)
      it.subscribe(Noted, seen.handler, { name: 'other' })
    }, KEEPING_ORDER)
    await first.publish(series('Order-1', 2))
    const [letter] = await letters(scene, first, 1)
    await waiting(scene, first, 1)
    await first.shutdown()
    const after = failingFor(0).recording
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, after.handler, IN_ORDER)
      it.subscribe(Noted, seen.handler, { name: 'other' })
    }, KEEPING_ORDER)

    await bus.publish([noted('Order-1', 2)])
    await waiting(scene, bus, 2)
    await bus.deadLetters.replay(letter?.id ?? '')
    await handled(scene, after, [0])
    const [again] = await letters(scene, bus, 1)
    assert.deepEqual(again?.parkedFor, ['ordered'])
    await bus.publish([noted('Order-1', 3)])
    await waiting(scene, bus, 3)
    assert.deepEqual(numbersOf(after), [0])

    assert.equal(await bus.deadLetters.purge(again?.id ?? ''), 1)
    await handled(scene, after, [0, 1, 2, 3])
    assert.deepEqual(numbersOf(after), [0, 1, 2, 3])
    await waiting(scene, bus, 0)
  }),

  test('keeps the order between several dead letters of an aggregate, whichever is replayed first', {
    needs: [...NEEDS, 'wire'],
    faults: ['publishRaw'],
  }, async (scene) => {
    const { bad, recording } = failingFor(0)
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler, IN_ORDER), KEEPING_ORDER)
    const poison = codec.encode(noted('Order-1', 1))
    const body = String(poison.body).replace('"n":1', '"n":"one"')
    await bus.publish([noted('Order-1', 0)])
    const [failed] = await letters(scene, bus, 1)
    await scene.publishRaw({ key: poison.key, headers: poison.headers, body })
    const undecodable = (await letters(scene, bus, 2)).find(({ id }) => id !== failed?.id)
    assert.deepEqual(undecodable?.parkedFor, ['ordered'])
    await bus.publish([noted('Order-1', 2)])
    await waiting(scene, bus, 1)

    // A dead letter that cannot be decoded is one again after its replay. Its place stays the second.
    assert.equal(await bus.deadLetters.replay(undecodable?.id ?? ''), true)
    await scene.until('the dead letter again', async () => {
      const { deadLetters } = await bus.deadLetters.list()
      return deadLetters.some(({ id, event }) => event === undefined && id !== undecodable?.id)
    })
    bad.clear()
    assert.equal(await bus.deadLetters.replay(failed?.id ?? ''), true)
    await handled(scene, recording, [0, 0])
    const [last] = await letters(scene, bus, 1)
    await bus.publish([noted('Order-1', 3)])
    await waiting(scene, bus, 2)
    assert.deepEqual(numbersOf(recording), [0, 0])

    assert.equal(await bus.deadLetters.purge(last?.id ?? ''), 1)
    await handled(scene, recording, [0, 0, 2, 3])
    assert.deepEqual(numbersOf(recording), [0, 0, 2, 3])
  }),

  test('parks an aggregate for each of several handlers', { needs: NEEDS }, async (scene) => {
    const [one, two] = [failingFor(0), failingFor(0, 1)]
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, one.recording.handler, { ...IN_ORDER, name: 'one' })
      it.subscribe(Noted, two.recording.handler, { ...IN_ORDER, name: 'two' })
    }, KEEPING_ORDER)
    await bus.publish(series('Order-1', 3))
    const [letter] = await letters(scene, bus, 1)
    assert.deepEqual(letter?.parkedFor?.toSorted(), ['one', 'two'])
    await waiting(scene, bus, 4)

    one.bad.clear()
    await bus.deadLetters.replay(letter?.id ?? '')
    await handled(scene, one.recording, [0, 0, 1, 2])
    const [stillFailed] = await letters(scene, bus, 1)
    await waiting(scene, bus, 2)
    assert.deepEqual(stillFailed?.parkedFor, ['two'])
    assert.deepEqual(
      [numbersOf(one.recording), numbersOf(two.recording)],
      [
        [0, 0, 1, 2],
        [0, 0],
      ],
    )

    two.bad.clear()
    await bus.deadLetters.replayAll()
    await handled(scene, two.recording, [0, 0, 0, 1, 2])
    assert.deepEqual(numbersOf(two.recording), [0, 0, 0, 1, 2])
    assert.equal(one.recording.runs.length, 4)
    await waiting(scene, bus, 0)
  }),

  test('makes the events beyond maxBehind dead letters at the end of the line, and reports that', {
    needs: NEEDS,
  }, async (scene) => {
    const { bad, recording } = failingFor(0)
    const bus = await scene.brokerBus(KEEPING_ORDER)
    const notices = scene.notices(bus)
    bus.subscribe(Noted, recording.handler, { ...IN_ORDER, maxBehind: 3 })
    await scene.consume(bus)

    await bus.publish(series('Order-1', 6))
    const kept = await letters(scene, bus, 3)
    await waiting(scene, bus, 3)
    assert.deepEqual(
      kept.map(({ errorName, reason, parkedFor }) => [errorName, reason, parkedFor]).slice(1),
      [1, 2].map(() => ['WaitingLineFullError', 'rejected', ['ordered']]),
    )
    const lines = notices.flatMap((notice) => (notice.type === 'waitingLineLong' ? [notice] : []))
    const line = { type: 'waitingLineLong', handlerName: 'ordered', aggregateId: 'Order-1', limit: 3 }
    assert.deepEqual(lines, [
      { ...line, count: 2, isFull: false },
      { ...line, count: 3, isFull: true },
    ])
    const { consuming } = (await bus.health()).checks
    assert.equal(consuming.status, 'degraded')
    assert.match(consuming.detail ?? '', /many events of 1 aggregates wait behind another one: ordered/)

    bad.clear()
    assert.equal(await bus.deadLetters.replayAll(), 3)
    await handled(scene, recording, [0, 0, 1, 2, 3, 4, 5])
    assert.deepEqual(numbersOf(recording), [0, 0, 1, 2, 3, 4, 5])
    await bus.publish([noted('Order-1', 6)])
    await scene.until('an event after the release', () => numbersOf(recording).includes(6))
    assert.equal((await bus.health()).checks.consuming.status, 'up')
  }),

  test('keeps the order beyond dead letters across workers that come, crash and stop', {
    needs: [...NEEDS, 'sharedOrder', 'consumerGroups'],
    faults: ['crash'],
  }, async (scene) => {
    const workers = await OrderedWorkers.start(scene, 8)
    const failed = new Map<string, WorkerRun>()
    const subscribe = (bus: BrokerEventBus, handler: (event: Noted) => unknown) => {
      const failing = async (event: Noted) => {
        const before = workers.runs.length
        const handling = handler(event)
        const run = workers.runs[before]
        const { aggregateId, n } = event
        const fails = FAILING.get(aggregateId)?.includes(n) === true && !failed.has(`${aggregateId} ${n}`)
        // A worker that has crashed records no run.
        if (fails && run !== undefined) failed.set(`${aggregateId} ${n}`, run)
        await handling
        if (fails) throw new Error('planned')
      }
      bus.subscribe(Noted, failing, IN_ORDER)
    }
    const operator = await scene.brokerBus({ consumerGroup: 'shared', partitions: 8 })
    let publishedAt = 0
    // Few rounds: the events of a line are delivered one after the other.
    const untilWorking = (name: string) =>
      scene.until(`the worker ${name}`, async () => {
        await operator.deadLetters.replayAll()
        if (performance.now() - publishedAt > ROUND_MS) {
          await workers.publish(1)
          publishedAt = performance.now()
        }
        return workers.runs.some(({ worker }) => worker === name)
      })
    const first = await workers.worker('first', subscribe)
    await untilWorking('first')
    const second = await workers.worker('second', subscribe)
    await untilWorking('second')
    await workers.crash('first', first)
    await workers.publish()
    await workers.worker('third', subscribe)
    await second.shutdown()
    await workers.publish()

    await scene.until('all events', async () => {
      await operator.deadLetters.replayAll()
      return workers.isDone()
    })
    assert.deepEqual(overtaking(workers.runs, new Set(failed.values())), [])
  }),

  test('refuses to park without a name, without dead letters, and with waits that give the order up', {
    needs: ['retry'],
  }, async (scene) => {
    const bus = await scene.bus()
    const { name, ...unnamed } = IN_ORDER
    const misspelled: object = { onDeadLetter: 'wait' }
    const fail = () => undefined

    assert.throws(() => bus.subscribe(Noted, fail, unnamed), /onDeadLetter 'park' needs a name/)
    assert.throws(() => bus.subscribe(Noted, fail, { name, ...misspelled }), /onDeadLetter must be one of/)
    assert.throws(
      () => bus.subscribe(Noted, fail, { ...IN_ORDER, longWaits: { order: 'giveUp' } }),
      /set order to 'keep', or omit longWaits/,
    )
    assert.throws(() => bus.subscribe(Noted, fail, { name, maxBehind: 3 }), /maxBehind needs onDeadLetter/)
    const withoutDlq = await scene.bus({ enableDlq: false })
    assert.throws(() => withoutDlq.subscribe(Noted, fail, IN_ORDER), /onDeadLetter/)
  }),
]
