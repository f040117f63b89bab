import assert from 'node:assert/strict'
import type { BrokerEventBus } from '../../index.ts'
import { test } from './conformance-test.ts'
import { Noted, noted } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

/** A handler that always fails. */
const failing = () =>
  new Recording<Noted>(() => {
    throw new Error('planned')
  })

/** Waits for a dead letter. @returns it; there must be only one. */
async function deadLetterOf(scene: Scene, bus: BrokerEventBus) {
  await scene.until('a dead letter', async () => (await bus.deadLetters.count()) === 1)
  const [letter] = (await bus.deadLetters.list()).deadLetters
  assert.ok(letter !== undefined)
  return letter
}

/** Runs a release that fails to handle an event, and stops it before the second attempt. @param failed - the failing handler. */
async function stopBetweenAttempts(
  scene: Scene,
  subscribe: (bus: BrokerEventBus) => void,
  failed: Recording<Noted>,
): Promise<void> {
  const bus = await scene.consumer(subscribe, { retryBaseDelayMs: 60_000, retryMaxDelayMs: 60_000 })
  await bus.publish([noted('Order-1')])
  await scene.runs(failed, 1)
  await scene.until('a first attempt', () => bus.getStats().handlerErrors === 1)
  await bus.shutdown()
}

/** Promise 13: the success or failure of a handler is recorded under its name, across releases. */
export const identityTests = [
  test('runs the failed handler even if a release adds a handler before it', {
    needs: ['redelivery', 'retry'],
  }, async (scene) => {
    const failed = failing()
    await stopBetweenAttempts(
      scene,
      (it) => {
        it.subscribe(Noted, () => undefined, { name: 'audit' })
        it.subscribe(Noted, failed.handler, { name: 'invoice' })
      },
      failed,
    )

    const [newsletter, audit, invoice] = [
      new Recording<Noted>(),
      new Recording<Noted>(),
      new Recording<Noted>(),
    ]
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, newsletter.handler, { name: 'newsletter' })
      it.subscribe(Noted, audit.handler, { name: 'audit' })
      it.subscribe(Noted, invoice.handler, { name: 'invoice' })
    })

    await scene.runs(invoice, 1)
    await bus.shutdown()
    assert.deepEqual([audit.runs.length, newsletter.runs.length, invoice.runs.length], [0, 1, 1])
  }),

  test('does not skip a handler without a name because another one had succeeded', {
    needs: ['redelivery', 'retry'],
  }, async (scene) => {
    const failed = failing()
    await stopBetweenAttempts(
      scene,
      (it) => {
        it.subscribe(Noted, () => undefined)
        it.subscribe(Noted, failed.handler)
      },
      failed,
    )

    const runs = [new Recording<Noted>(), new Recording<Noted>(), new Recording<Noted>()]
    await scene.consumer((it) => {
      for (const { handler } of runs) it.subscribe(Noted, handler)
    })

    for (const each of runs) await scene.runs(each, 1)
  }),

  test('finds a renamed handler by its alias', { needs: ['redelivery', 'retry'] }, async (scene) => {
    const failed = failing()
    await stopBetweenAttempts(
      scene,
      (it) => {
        it.subscribe(Noted, () => undefined, { name: 'audit' })
        it.subscribe(Noted, failed.handler, { name: 'invoice' })
      },
      failed,
    )

    const [audit, invoice] = [new Recording<Noted>(), new Recording<Noted>()]
    const bus = await scene.consumer((it) => {
      it.subscribe(Noted, audit.handler, { name: 'auditing', aliases: ['log', 'audit'] })
      it.subscribe(Noted, invoice.handler, { name: 'billing', aliases: ['invoice'] })
    })

    await scene.runs(invoice, 1)
    await bus.shutdown()
    assert.equal(audit.runs.length, 0)
  }),

  test('dead-letters an event whose failed handler no longer exists', {
    needs: ['redelivery', 'retry', 'deadLetters'],
  }, async (scene) => {
    const failed = failing()
    await stopBetweenAttempts(
      scene,
      (it) => {
        it.subscribe(Noted, () => undefined, { name: 'audit' })
        it.subscribe(Noted, failed.handler, { name: 'invoice' })
      },
      failed,
    )

    const audit = new Recording<Noted>()
    const bus = await scene.consumer((it) => it.subscribe(Noted, audit.handler, { name: 'audit' }))

    const letter = await deadLetterOf(scene, bus)
    assert.equal(letter.reason, 'handler_not_found')
    assert.deepEqual(letter.settledHandlers, ['audit'])
    assert.equal(audit.runs.length, 0)
  }),

  test('replays to the handler with the name, and keeps the dead letter if no handler has it', {
    needs: ['deadLetters', 'retry'],
  }, async (scene) => {
    const first = await scene.consumer(
      (it) => {
        it.subscribe(Noted, () => undefined, { name: 'audit' })
        it.subscribe(Noted, failing().handler, { name: 'invoice' })
        it.subscribe(Noted, failing().handler, { name: 'shipping' })
      },
      { maxRetries: 0 },
    )
    await first.publish([noted('Order-1')])
    const letter = await deadLetterOf(scene, first)
    assert.deepEqual([...(letter.handlerNames ?? [])].sort(), ['invoice', 'shipping'])
    await first.shutdown()

    const [newsletter, audit, invoice] = [
      new Recording<Noted>(),
      new Recording<Noted>(),
      new Recording<Noted>(),
    ]
    const second = await scene.consumer((it) => {
      it.subscribe(Noted, newsletter.handler, { name: 'newsletter' })
      it.subscribe(Noted, audit.handler, { name: 'audit' })
      it.subscribe(Noted, invoice.handler, { name: 'billing', aliases: ['invoice'] })
    })
    await second.deadLetters.replay(letter.id)

    await scene.runs(invoice, 1)
    const kept = await deadLetterOf(scene, second)
    assert.deepEqual([kept.reason, kept.handlerNames], ['handler_not_found', ['shipping']])
    assert.deepEqual([newsletter.runs.length, audit.runs.length], [0, 0])
    await second.shutdown()
  }),

  test('replays to a handler that has a name since, and to none that is recorded as succeeded', {
    needs: ['deadLetters', 'retry'],
  }, async (scene) => {
    const first = await scene.consumer(
      (it) => {
        it.subscribe(Noted, () => undefined, { name: 'audit' })
        it.subscribe(Noted, failing().handler)
      },
      { maxRetries: 0 },
    )
    await first.publish([noted('Order-1')])
    const letter = await deadLetterOf(scene, first)
    await first.shutdown()

    const [audit, invoice] = [new Recording<Noted>(), new Recording<Noted>()]
    const second = await scene.consumer((it) => {
      it.subscribe(Noted, audit.handler, { name: 'audit' })
      it.subscribe(Noted, invoice.handler, { name: 'invoice' })
    })
    await second.deadLetters.replay(letter.id)

    await scene.runs(invoice, 1)
    await scene.until('no dead letter', async () => (await second.deadLetters.count()) === 0)
    await second.shutdown()
    assert.equal(audit.runs.length, 0)
  }),
]
