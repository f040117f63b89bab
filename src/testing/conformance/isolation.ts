import assert from 'node:assert/strict'
import { HandlerTimeoutError } from '../../index.ts'
import { test } from './conformance-test.ts'
import { Noted, noted } from './events.ts'
import { Recording } from './recording.ts'

const fail = () => {
  throw new Error('planned')
}

/** Promise 3, and the retries of promise 5. */
export const isolationTests = [
  test('runs all handlers even if one fails', {}, async (scene) => {
    const first = new Recording<Noted>(fail)
    const second = new Recording<Noted>()
    const all = new Recording()
    const bus = await scene.bus({ maxRetries: 0 })
    bus.subscribe(Noted, first.handler)
    bus.subscribe(Noted, second.handler)
    bus.subscribeToAllEvents(all.handler)
    await scene.consume(bus)

    await bus.publish([noted('Order-1')])

    for (const recording of [first, second, all]) await scene.runs(recording, 1)
    await scene.until('a log line', () => scene.log.lines.some(({ message }) => message === 'handler failed'))
  }),

  test('survives any value that a handler throws', {}, async (scene) => {
    const trapped = new Proxy(new Error('proxy'), { get: fail, getPrototypeOf: fail })
    const thrown = [
      ...[new Error('sync'), 'text', undefined, null, { toString: fail }, Symbol('s')],
      ...[trapped, new Error('cause', { cause: trapped })],
      Object.defineProperty(new Error('getter'), 'message', { get: fail }),
      Object.assign(new Error('name'), { name: Symbol('s') }),
    ]
    const all = new Recording<Noted>()
    const bus = await scene.bus({ maxRetries: 0 })
    bus.subscribe(Noted, ({ n }) => {
      throw thrown[n]
    })
    bus.subscribe(Noted, ({ n }) => Promise.reject(thrown[n]))
    bus.subscribe(Noted, all.handler)
    await scene.consume(bus)

    for (const n of thrown.keys()) await bus.publish([noted('Order-1', n)])

    await scene.runs(all, thrown.length)
    assert.deepEqual(
      all.events.map(({ n }) => n),
      [...thrown.keys()],
    )
  }),

  test('runs the handlers of one event concurrently', {}, async (scene) => {
    const started = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const
    const done = new Recording<Noted>()
    const bus = await scene.bus()
    bus.subscribe(Noted, async () => {
      started[0].resolve()
      await Promise.race([started[1].promise, scene.ended])
    })
    bus.subscribe(Noted, async (event, context) => {
      started[1].resolve()
      await Promise.race([started[0].promise, scene.ended])
      done.handler(event, context)
    })
    await scene.consume(bus)

    await bus.publish([noted('Order-1')])

    await scene.runs(done, 1)
  }),

  test('aborts the signal of a handler that takes too long, and counts it as failed', {}, async (scene) => {
    const recording = new Recording<Noted>(() => scene.ended)
    const bus = await scene.bus({ handlerTimeoutMs: 30, maxRetries: 0 })
    bus.subscribe(Noted, recording.handler, { name: 'slow' })
    await scene.consume(bus)

    // In memory, the publish waits for the handler. On a broker, it does not.
    const published = bus.publish([noted('Order-1')])
    await scene.runs(recording, 1)
    const signal = recording.runs[0]?.context.signal
    await scene.within(published, 'the publish')

    await scene.until('the signal to be aborted', () => signal?.aborted === true)
    assert.ok(signal?.reason instanceof HandlerTimeoutError)
    await scene.until('a log line that names the handler', () =>
      scene.log.lines.some(
        ({ message, fields }) => message === 'handler failed' && fields['handlerName'] === 'slow',
      ),
    )
  }),

  test('runs a retry only for the handlers that have not succeeded', { needs: ['retry'] }, async (scene) => {
    const first = new Recording<Noted>()
    const second = new Recording<Noted>((_event, { attempt }) => attempt <= 2 && fail())
    const third = new Recording<Noted>()
    const all = new Recording()
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, first.handler, { name: 'first' })
      it.subscribe(Noted, second.handler, { name: 'second' })
      it.subscribe(Noted, third.handler, { name: 'third' })
      it.subscribeToAllEvents(all.handler)
    })

    await bus.publish([noted('Order-1', 0)])
    await scene.runs(second, 3)
    const later = noted('Order-1', 1)
    await bus.publish([later])

    await scene.until('a later event of the aggregate', () => all.has(later) && second.has(later))
    assert.deepEqual(
      second.events.map(({ n }) => n),
      [0, 0, 0, 1, 1, 1].slice(0, second.runs.length),
    )
    for (const recording of [first, third, all])
      assert.deepEqual(
        recording.runs.map(({ attempt }) => attempt),
        [1, 1],
      )
    if (bus.getStats().messagesSentToDlq > 0) assert.fail('nothing was to be given up')
  }),

  test('passes attempt, delivery count, group and message id to a handler', {
    needs: ['retry'],
  }, async (scene) => {
    const recording = new Recording<Noted>((_event, { attempt }) => attempt <= 2 && fail())
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler), { consumerGroup: 'g' })

    await bus.publish([noted('Order-1')])

    await scene.runs(recording, 3)
    assert.deepEqual(
      recording.runs.map(({ attempt }) => attempt),
      [1, 2, 3],
    )
    const contexts = recording.runs.map(({ context }) => context)
    assert.deepEqual(
      contexts.map(({ consumerGroup }) => consumerGroup),
      ['g', 'g', 'g'],
    )
    assert.deepEqual(
      contexts.map(({ deliveryCount }) => deliveryCount),
      [1, 1, 1],
    )
    assert.equal(new Set(contexts.map(({ messageId }) => messageId)).size, 1)
    assert.ok(typeof contexts[0]?.messageId === 'string' && contexts[0].messageId !== '')
    assert.ok(contexts.every(({ signal }) => signal instanceof AbortSignal && !signal.aborted))
  }),

  test('gives up after exactly 1 + maxRetries attempts, with growing delays', {
    needs: ['retry', 'deadLetters'],
  }, async (scene) => {
    const recording = new Recording<Noted>(fail)
    const options = { maxRetries: 3, retryBaseDelayMs: 40, retryMaxDelayMs: 100, retryJitter: 0 }
    const bus = await scene.consumer(
      (it) => it.subscribe(Noted, recording.handler, { name: 'fails' }),
      options,
    )
    const event = noted('Order-1')
    await bus.publish([event])

    await scene.until(
      'a dead letter',
      () => bus.getStats().messagesSentToDlq === 1,
      () => bus.getStats(),
    )

    assert.deepEqual(
      recording.runs.map(({ attempt }) => attempt),
      [1, 2, 3, 4],
    )
    assert.equal(await bus.deadLetters.count(), 1)
    const starts = recording.runs.map(({ startedAt }) => startedAt)
    const gaps = starts.slice(1).map((start, index) => start - (starts[index] ?? 0))
    // By this clock, timers may fire up to a millisecond early.
    const least = [40, 80, 100]
    assert.ok(
      gaps.every((gap, index) => gap >= (least[index] ?? 0) - 2),
      `delays of at least ${least} ms, saw ${gaps}`,
    )
  }),

  test('makes one attempt if there are no retries', { needs: ['retry', 'deadLetters'] }, async (scene) => {
    const recording = new Recording<Noted>(fail)
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler), { maxRetries: 0 })

    await bus.publish([noted('Order-1')])

    await scene.until(
      'a dead letter',
      () => bus.getStats().messagesSentToDlq === 1,
      () => bus.getStats(),
    )
    assert.equal(recording.runs.length, 1)
  }),

  test('retries a handler that timed out', { needs: ['retry'] }, async (scene) => {
    const recording = new Recording<Noted>((_event, { attempt }) => (attempt === 1 ? scene.ended : undefined))
    const bus = await scene.consumer((it) => it.subscribe(Noted, recording.handler), { handlerTimeoutMs: 50 })

    await bus.publish([noted('Order-1')])

    await scene.until(
      'a success',
      () => bus.getStats().eventsProcessedSuccess === 1,
      () => bus.getStats(),
    )
    assert.deepEqual(
      recording.runs.map(({ attempt }) => attempt),
      [1, 2],
    )
  }),
]
