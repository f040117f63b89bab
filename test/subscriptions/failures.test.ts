import { trace } from '@opentelemetry/api'
import { describe, expect, it } from 'vitest'
import {
  ConfigError,
  type HandlerContext,
  HandlerTimeoutError,
  handlerFor,
  SubscriptionFailedError,
} from '../../src/index.ts'
import { waitFor } from '../support/wait-for.ts'
import { append, Noted, numbers, quick, SubscriptionScene } from './subscription-scene.ts'

/** Fails on one number the given number of times. */
function failing(bad: number, times: number) {
  const handled: number[] = []
  const attempts: number[] = []
  const handle = ({ n }: Noted, { attempt }: HandlerContext) => {
    if (n === bad) {
      attempts.push(attempt)
      if (attempts.length <= times) throw new Error('as told')
    }
    handled.push(n)
  }
  return { name: 'failing', handle, handled, attempts }
}

async function sceneWith(events: number) {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, events)
  const manager = scene.manager()
  return { scene, manager }
}

describe('a handler that fails', () => {
  it('is retried according to the policy, and later events wait for it', async () => {
    const { manager } = await sceneWith(5)
    const projection = failing(2, 2)
    manager.subscribe(projection, quick)
    manager.start()
    await manager.whenCaughtUp('failing')

    expect(projection.attempts).toEqual([1, 2, 3])
    expect(projection.handled).toEqual(numbers(0, 5))
    expect(await manager.health()).toMatchObject({
      status: 'up',
      subscriptions: { failing: { handlerErrors: 2 } },
    })
  })

  it.each([
    ['a promise', async () => false],
    ['an object', () => ({})],
    ['undefined', () => undefined],
  ])(
    'because its canHandle returns %s stops the subscription: the event is not skipped',
    async (_what, canHandle) => {
      const { scene, manager } = await sceneWith(2)
      const handled: number[] = []
      // As plain JavaScript might.
      const handler = {
        handle: ({ n }: Noted) => void handled.push(n),
        canHandle: canHandle as () => boolean,
      }
      manager.subscribe({ name: 'asks', handlers: [handlerFor(Noted, handler)] }, { ...quick, maxRetries: 0 })
      manager.start()

      const error = await manager.whenCaughtUp('asks').catch((thrown: unknown) => thrown)

      expect(error).toBeInstanceOf(SubscriptionFailedError)
      expect(String((error as Error).cause)).toContain('must return a boolean')
      expect(handled).toEqual([])
      expect((await scene.checkpoints.load('asks'))?.position ?? 0).toBe(0)
    },
  )

  it('stops the subscription before its event, with an error, after the last retry', async () => {
    const { scene, manager } = await sceneWith(5)
    const projection = failing(2, 100)
    manager.subscribe(projection, { ...quick, maxRetries: 2 })
    manager.start()

    const error = await manager.whenCaughtUp('failing').catch((thrown: unknown) => thrown)

    expect(error).toBeInstanceOf(SubscriptionFailedError)
    expect(error).toMatchObject({ code: 'SUBSCRIPTION_FAILED', subscription: 'failing', position: 3 })
    expect(projection.attempts).toEqual([1, 2, 3])
    expect(projection.handled).toEqual([0, 1])
    expect(await manager.health()).toMatchObject({
      status: 'down',
      subscriptions: { failing: { status: 'down', state: 'failed', position: 2, lagPositions: 3 } },
    })
    expect((await manager.status())['failing']?.lastError).toMatchObject({
      position: 3,
      name: 'SubscriptionFailedError',
    })
    expect(scene.messages('error')).toEqual(['subscription stopped by an error'])
    await waitFor(async () => (await scene.checkpoints.load('failing'))?.position === 2)
    await expect(manager.whenProcessed(5)).rejects.toBe(error)
  })

  it('continues at the failed event when it is started again', async () => {
    const { manager } = await sceneWith(5)
    const projection = failing(2, 1)
    manager.subscribe(projection, { ...quick, maxRetries: 0 })
    manager.start()
    await expect(manager.whenCaughtUp('failing')).rejects.toThrow(
      'Fix the handler and start the subscription again',
    )

    manager.start()
    await manager.whenCaughtUp('failing')
    expect(projection.handled).toEqual(numbers(0, 5))
    expect(await manager.health()).toMatchObject({ status: 'up' })
  })

  it('does not stop the other subscriptions', async () => {
    const { manager } = await sceneWith(5)
    const good = failing(-1, 0)
    manager.subscribe(failing(2, 100), { ...quick, maxRetries: 0 })
    manager.subscribe(good, { name: 'good' })
    manager.start()

    await manager.whenCaughtUp('good')
    await waitFor(async () => (await manager.health()).status === 'down')
    expect(good.handled).toEqual(numbers(0, 5))
  })

  it('is parked with its error if onFailure is deadLetter, and the subscription continues', async () => {
    const { scene, manager } = await sceneWith(5)
    const projection = failing(2, 100)
    manager.subscribe(projection, { ...quick, maxRetries: 1, onFailure: 'deadLetter' })
    manager.start()
    await manager.whenCaughtUp('failing')

    expect(projection.handled).toEqual([0, 1, 3, 4])
    const [parked, ...others] = await scene.deadLetters.list({ subscription: 'failing' })
    expect(others).toEqual([])
    expect(parked).toMatchObject({
      position: 3,
      attempts: 2,
      errorMessage: 'as told',
      handlerNames: ['failing'],
    })
    expect(parked?.event).toMatchObject({ n: 2 })
    expect(await manager.health()).toMatchObject({
      status: 'up',
      subscriptions: { failing: { eventsDeadLettered: 1, eventsHandled: 4, position: 5 } },
    })
    expect(scene.messages('error')).toEqual(['event dead-lettered'])
    expect(await scene.deadLetters.remove('failing', 3)).toBe(true)
    expect(await scene.deadLetters.remove('failing', 3)).toBe(false)
    expect(await scene.deadLetters.list()).toEqual([])
  })

  it('is not passed before its dead letter is stored', async () => {
    const { scene, manager } = await sceneWith(3)
    const add = scene.deadLetters.add.bind(scene.deadLetters)
    let refusals = 2
    scene.deadLetters.add = async (parked) => {
      expect((await manager.status())['failing']?.position).toBe(1)
      refusals -= 1
      if (refusals >= 0) throw new Error('disk full')
      return add(parked)
    }
    const projection = failing(1, 100)
    manager.subscribe(projection, { ...quick, maxRetries: 0, onFailure: 'deadLetter' })
    manager.start()
    await manager.whenCaughtUp('failing')

    expect(projection.attempts).toHaveLength(1)
    expect(await scene.deadLetters.list()).toHaveLength(1)
    expect((await manager.status())['failing']?.problems).toEqual([])
  })

  it('runs again alone, without the handlers that succeeded', async () => {
    const { manager } = await sceneWith(1)
    const calls: string[] = []
    const flaky = (_event: Noted, { attempt }: HandlerContext) => {
      calls.push(`flaky ${attempt}`)
      if (attempt < 3) throw new Error('not yet')
    }
    const steady = handlerFor(Noted, () => calls.push('steady'))
    manager.subscribe({ name: 'two', handlers: [steady, handlerFor(Noted, flaky)] }, quick)
    manager.start()
    await manager.whenCaughtUp('two')

    expect(calls).toEqual(['steady', 'flaky 1', 'flaky 2', 'flaky 3'])
  })

  it('receives the event and its subscription in its context', async () => {
    const { manager } = await sceneWith(2)
    const contexts: unknown[] = []
    const handle = (_event: Noted, { attempt, consumerGroup, messageId, deliveryCount }: HandlerContext) => {
      contexts.push({ attempt, consumerGroup, messageId, deliveryCount })
    }
    manager.subscribe({ name: 'told', handle })
    manager.start()
    await manager.whenCaughtUp('told')

    const told = { attempt: 1, consumerGroup: 'told', deliveryCount: 1 }
    expect(contexts).toEqual([
      { ...told, messageId: '1' },
      { ...told, messageId: '2' },
    ])
  })
})

it('stops before an event if another part fails, instead of losing the event', async () => {
  const { scene } = await sceneWith(3)
  const tracer = trace.getTracer('broken')
  let isBroken = true
  const startSpan: typeof tracer.startSpan = (...args) => {
    if (isBroken) throw new Error('no spans today')
    return tracer.startSpan(...args)
  }
  const startActiveSpan = tracer.startActiveSpan.bind(tracer)
  const manager = scene.manager({ tracer: { startSpan, startActiveSpan } })
  const projection = failing(-1, 0)
  manager.subscribe(projection)
  manager.start()
  await expect(manager.whenCaughtUp('failing')).rejects.toThrow('no spans today')
  expect(projection.handled).toEqual([])

  isBroken = false
  manager.start()
  await manager.whenCaughtUp('failing')
  expect(projection.handled).toEqual([0, 1, 2])
})

describe('a handler that hangs', () => {
  it('counts as failed after handlerTimeoutMs, and its signal is aborted', async () => {
    const { scene, manager } = await sceneWith(2)
    const signals: AbortSignal[] = []
    const handle = ({ n }: Noted, { signal, attempt }: HandlerContext) => {
      if (n > 0 || attempt > 1) return undefined
      signals.push(signal)
      return new Promise(() => undefined)
    }
    manager.subscribe({ name: 'hanging', handle }, { ...quick, handlerTimeoutMs: 20 })
    manager.start()
    await manager.whenCaughtUp('hanging')

    expect(signals[0]?.reason).toBeInstanceOf(HandlerTimeoutError)
    expect(scene.messages('warn')).toEqual(['handler failed'])
  })
})

it('accepts processingTimeoutMs instead of handlerTimeoutMs, and refuses both together', () => {
  const manager = new SubscriptionScene().manager()
  const handle = () => undefined

  manager.subscribe({ name: 'ported', handle }, { processingTimeoutMs: 20 })

  const both = { processingTimeoutMs: 20, handlerTimeoutMs: 20 }
  expect(() => manager.subscribe({ name: 'both', handle }, both)).toThrow(ConfigError)
})
