import assert from 'node:assert/strict'
import { type BrokerEventBus, DiscardError, NonRetryableError, RetryAfterError } from '../../index.ts'
import { test } from './conformance-test.ts'
import { Noted, noted } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

const fail = () => {
  throw new Error('planned')
}

/** The dead letters of a bus, once there are this many. */
async function lettersOf(scene: Scene, bus: Awaited<ReturnType<Scene['brokerBus']>>, count: number) {
  await scene.until(
    `${count} dead letters`,
    async () => (await bus.deadLetters.count()) >= count,
    () => bus.getStats(),
  )
  return (await bus.deadLetters.list()).deadLetters
}

const attemptsOf = ({ runs }: Recording<Noted>) => runs.map(({ attempt }) => attempt)

/** Promise 18: failure is handled as each handler needs it. */
export const policyTests = [
  test('gives each handler of an event the attempts of its own policy', {
    needs: ['retry', 'deadLetters'],
  }, async (scene) => {
    const [two, four, one] = [0, 1, 2].map(() => new Recording<Noted>(fail))
    const bus = await scene.consumer(
      (it) => {
        it.subscribe(Noted, two?.handler ?? fail, { name: 'two', maxRetries: 1 })
        it.subscribe(Noted, four?.handler ?? fail, { name: 'four', retryDelaysMs: [1, 20, 5] })
        it.subscribe(Noted, one?.handler ?? fail, { name: 'one' })
      },
      { maxRetries: 0 },
    )

    await bus.publish([noted('Order-1')])
    const [letter, ...others] = await lettersOf(scene, bus, 1)

    assert.deepEqual(
      [two, four, one].map((recording) => recording && attemptsOf(recording)),
      [[1, 2], [1, 2, 3, 4], [1]],
    )
    assert.deepEqual(others, [])
    assert.equal(letter?.reason, 'max_retries_exceeded')
    assert.equal(letter?.attempts, 4)
    assert.deepEqual(letter?.handlerNames?.toSorted(), ['four', 'one', 'two'])
  }),

  test('retries a handler in memory as its policy says, while the publish waits', {}, async (scene) => {
    const recording = new Recording<Noted>((_event, { attempt }) => attempt < 3 && fail())
    const bus = await scene.bus()
    bus.subscribe(Noted, recording.handler, { name: 'patient', maxRetries: 2, retryBaseDelayMs: 1 })
    await scene.consume(bus)

    await bus.publish([noted('Order-1')])
    await scene.runs(recording, 3)

    assert.deepEqual(attemptsOf(recording), [1, 2, 3])
  }),

  test('does not let the delays of one handler hold back another', { needs: ['retry'] }, async (scene) => {
    const slow = new Recording<Noted>((_event, { attempt }) => attempt === 1 && fail())
    const quick = new Recording<Noted>((_event, { attempt }) => attempt < 4 && fail())
    const delayMs = scene.waitMs * 10
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, slow.handler, { name: 'slow', retryDelaysMs: [delayMs] })
      it.subscribe(Noted, quick.handler, { name: 'quick', maxRetries: 3 })
    })

    await bus.publish([noted('Order-1'), noted('Order-2')])
    await scene.runs(quick, 8)

    assert.deepEqual(attemptsOf(slow), [1, 1])
    assert.equal(bus.getStats().messagesSentToDlq, 0)
  }),

  test('gives an event up after one attempt if no retry can help', {
    needs: ['retry', 'deadLetters'],
  }, async (scene) => {
    const refuses = new Recording<Noted>(() => {
      throw new NonRetryableError('The order has no customer.')
    })
    const named = new Recording<Noted>(({ n }) => {
      throw n === 0 ? new TypeError('planned') : new RangeError('planned')
    })
    const retryIf = (error: Error) => !(error instanceof TypeError)
    const bus = await scene.consumer(
      (it) => {
        it.subscribe(Noted, refuses.handler, { name: 'refuses' })
        it.subscribe(Noted, named.handler, { name: 'named', retryIf })
      },
      { maxRetries: 2 },
    )

    await bus.publish([noted('Order-1', 0)])
    const [rejected] = await lettersOf(scene, bus, 1)
    await bus.publish([noted('Order-1', 1)])
    const both = await lettersOf(scene, bus, 2)

    assert.equal(rejected?.reason, 'rejected')
    assert.equal(rejected?.attempts, 1)
    assert.deepEqual(attemptsOf(refuses), [1, 1])
    assert.deepEqual(attemptsOf(named), [1, 1, 2, 3])
    assert.equal(both.at(-1)?.reason, 'max_retries_exceeded')
    assert.equal((await bus.deadLetters.replayAll({ reason: 'rejected' })) > 0, true)
  }),

  test('waits as long as an error says before the next attempt', { needs: ['retry'] }, async (scene) => {
    const delayMs = 300
    const recording = new Recording<Noted>((_event, { attempt }) => {
      if (attempt === 1) throw new RetryAfterError(delayMs)
    })
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler), { maxRetries: 1 })

    await bus.publish([noted('Order-1')])
    await scene.runs(recording, 2)

    const [first, second] = recording.runs.map(({ startedAt }) => startedAt)
    // A timer may fire up to a millisecond early.
    assert.ok((second ?? 0) - (first ?? 0) >= delayMs - 1, `retried after ${(second ?? 0) - (first ?? 0)} ms`)
  }),

  test('settles an event that its handler discards, and logs and counts it', {}, async (scene) => {
    const throws = new Recording<Noted>(() => {
      throw new DiscardError('The order is closed.')
    })
    const named = new Recording<Noted>(fail)
    const bus = await scene.bus()
    bus.subscribe(Noted, throws.handler, { name: 'throws', maxRetries: 2 })
    bus.subscribe(Noted, named.handler, { name: 'named', maxRetries: 2, discardIf: () => true })
    await scene.consume(bus)

    await bus.publish([noted('Order-1')])

    const discarded = () => scene.log.lines.filter(({ message }) => message === 'event discarded')
    await scene.until('two log lines', () => discarded().length === 2)
    assert.deepEqual(
      discarded().map(({ fields }) => fields['handlerName']),
      ['throws', 'named'],
    )
    assert.equal(Reflect.get(bus.getStats(), 'eventsDiscarded'), 2)
    assert.deepEqual([attemptsOf(throws), attemptsOf(named)], [[1], [1]])
    const sentToDlq = Reflect.get(bus.getStats(), 'messagesSentToDlq') ?? 0
    assert.equal(sentToDlq, 0)
  }),

  test('retries if a predicate of the policy throws, and logs it', { needs: ['retry'] }, async (scene) => {
    const recording = new Recording<Noted>((_event, { attempt }) => attempt === 1 && fail())
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, recording.handler, { retryIf: fail, discardIf: fail })
    })

    await bus.publish([noted('Order-1')])
    await scene.runs(recording, 2)

    const messages = scene.log.lines.map(({ message }) => message)
    assert.ok(messages.includes('retryIf failed, the attempt is retried'))
    assert.ok(messages.includes('discardIf failed, the attempt is retried'))
  }),

  test('limits the duration of a handler by its own policy', {}, async (scene) => {
    const hangs = new Recording<Noted>(() => scene.ended)
    const bus = await scene.bus({ maxRetries: 0 })
    bus.subscribe(Noted, hangs.handler, { name: 'hangs', handlerTimeoutMs: 30 })
    await scene.consume(bus)

    await scene.within(bus.publish([noted('Order-1')]), 'the publish')

    await scene.until('the signal to be aborted', () => hangs.runs[0]?.context.signal.aborted === true)
  }),

  test('continues the attempts of each handler after a stop', {
    needs: ['retry', 'redelivery'],
  }, async (scene) => {
    const slow = new Recording<Noted>(fail)
    const quick = new Recording<Noted>((_event, { attempt }) => attempt < 3 && fail())
    const options = { name: 'slow', retryDelaysMs: [scene.waitMs * 10, 1, 1] }
    const first = await scene.consumer((it) => {
      it.subscribe(Noted, slow.handler, options)
      it.subscribe(Noted, quick.handler, { name: 'quick', maxRetries: 5 })
    })
    await first.publish([noted('Order-1')])
    await scene.runs(quick, 3)
    await scene.until('no attempt to run', () => first.getStats().eventsRetried === 2)
    await first.shutdown()

    const again = new Recording<Noted>((_event, { attempt }) => attempt < 3 && fail())
    const repeated = new Recording<Noted>()
    await scene.consumer((it) => {
      it.subscribe(Noted, again.handler, options)
      it.subscribe(Noted, repeated.handler, { name: 'quick', maxRetries: 5 })
    })
    await scene.runs(again, 2)

    assert.deepEqual(attemptsOf(again), [2, 3])
    assert.deepEqual(attemptsOf(repeated), [])
  }),

  test('continues the attempts of handlers that have failed a different number of times', {
    needs: ['retry', 'redelivery'],
  }, async (scene) => {
    const [slow, quick] = [new Recording<Noted>(fail), new Recording<Noted>(fail)]
    const longMs = scene.waitMs * 10
    const subscribe = (bus: BrokerEventBus, handlers: readonly [Recording<Noted>, Recording<Noted>]) => {
      bus.subscribe(Noted, handlers[0].handler, { name: 'slow', retryDelaysMs: [longMs, 1, 1] })
      bus.subscribe(Noted, handlers[1].handler, { name: 'quick', retryDelaysMs: [1, 1, 1, longMs, 1] })
    }
    const first = await scene.consumer((it) => subscribe(it, [slow, quick]))
    await first.publish([noted('Order-1')])
    await scene.runs(quick, 4)
    await first.shutdown()

    const again = [new Recording<Noted>(), new Recording<Noted>()] as const
    await scene.consumer((it) => subscribe(it, again))
    await Promise.all(again.map((recording) => scene.runs(recording, 1)))

    assert.deepEqual(again.map(attemptsOf), [[2], [5]])
  }),

  test('replays dead letters by error and by age, at a limited rate, or only counts them', {
    needs: ['deadLetters'],
  }, async (scene) => {
    let isFixed = false
    const recording = new Recording<Noted>(({ n }) => {
      if (!isFixed) throw n < 4 ? new TypeError(`planned ${n}`) : new RangeError('planned')
    })
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler), { maxRetries: 0 })
    await bus.publish(Array.from({ length: 5 }, (_, n) => noted(`Order-${n}`, n)))
    await lettersOf(scene, bus, 5)
    isFixed = true
    const { deadLetters } = bus
    const count = (filter: object) => deadLetters.replayAll(filter, { dryRun: true })
    const soon = new Date(Date.now() + 60_000)

    assert.equal(await count({ errorName: 'TypeError' }), 4)
    assert.equal(await count({ errorMessage: 'planned 2' }), 1)
    assert.equal(await count({ failedBefore: soon }), 5)
    assert.equal(await count({ failedSince: soon }), 0)
    assert.equal(recording.runs.length, 5)
    const start = performance.now()
    assert.equal(await deadLetters.replayAll({ errorName: 'TypeError' }, { ratePerSecond: 10 }), 4)
    assert.ok(performance.now() - start >= 299, 'the fourth replay is due after 300 ms')
    await scene.runs(recording, 9)
    assert.equal(await deadLetters.count(), 1)
    await assert.rejects(count({ failedBefore: 'yesterday' }), /failedBefore must be a valid Date/)
    await assert.rejects(deadLetters.list({ limit: -1 }), /limit must be a positive integer/)
  }),

  test('refuses a policy that it does not understand', {}, async (scene) => {
    const bus = await scene.bus()
    const misspelled: object = { maxRetrys: 1 }
    assert.throws(
      () => bus.subscribe(Noted, fail, misspelled),
      /maxRetrys is not an option; did you mean maxRetries\?/,
    )
    assert.throws(() => bus.subscribe(Noted, fail, { retryDelaysMs: [] }), /retryDelaysMs must be/)
    assert.throws(() => bus.subscribe(Noted, fail, { maxRetries: 1, retryDelaysMs: [1] }), /pass one of them/)
    assert.throws(() => new RetryAfterError(-1), TypeError)
  }),
]
