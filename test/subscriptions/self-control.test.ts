import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  HandlerDeadlockError,
  InMemoryEventBus,
  type StopReport,
  type SubscriptionManager,
  type SubscriptionOptions,
} from '../../src/index.ts'
import { waitFor } from '../support/wait-for.ts'
import { append, type Noted, noted, quick, SubscriptionScene } from './subscription-scene.ts'

/** Starts a subscription whose handler makes a call at its first event. @returns the call's outcome. */
async function calledByHandler(
  call: (manager: SubscriptionManager) => Promise<unknown>,
  options: SubscriptionOptions = {},
) {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 3)
  const manager = scene.manager()
  const settled = Promise.withResolvers<PromiseSettledResult<unknown>>()
  const handled: number[] = []
  const handle = async ({ n }: Noted) => {
    if (n === 0) {
      const [outcome] = await Promise.allSettled([call(manager)])
      settled.resolve(outcome)
    }
    handled.push(n)
  }
  manager.subscribe({ name: 's', handle, reset: () => undefined }, { ...quick, ...options })
  manager.start()
  return { scene, manager, handled, outcome: await settled.promise }
}

describe('a handler may control its own subscription:', () => {
  it('pause returns at once, and no further event starts until resume', async () => {
    const { manager, handled, outcome } = await calledByHandler((it) => it.pause('s'))

    await manager.pause('s')

    expect(outcome.status).toBe('fulfilled')
    expect(handled).toEqual([0])
    manager.resume('s')
    await manager.whenCaughtUp('s')
    expect(handled).toEqual([0, 1, 2])
  })

  it('pause by several handlers at the same time', async () => {
    const { manager, outcome } = await calledByHandler((it) => it.pause('s'), { concurrency: 4 })

    await manager.pause('s')

    expect(outcome.status).toBe('fulfilled')
  })

  it('unsubscribe returns at once, and the handled event is saved', async () => {
    const { scene, handled, outcome } = await calledByHandler((it) => it.unsubscribe('s'))

    expect(outcome).toEqual({ status: 'fulfilled', value: true })
    await waitFor(async () => (await scene.checkpoints.load('s'))?.position === 1)
    expect(handled).toEqual([0])
  })

  it('stop reports at once that it continues, and a second call waits for its end', async () => {
    const { scene, manager, handled, outcome } = await calledByHandler((it) => it.stop())

    expect(outcome).toMatchObject({
      status: 'fulfilled',
      value: { phase: 'stopping', inFlight: 1, notDrained: 1 } satisfies Partial<StopReport>,
    })
    expect(await manager.stop()).toMatchObject({ phase: 'completed' })
    expect(handled).toEqual([0])
    expect(await scene.checkpoints.load('s')).toMatchObject({ position: 1 })
  })

  it('stop through the handler of a bus that it publishes to', async () => {
    const bus = new InMemoryEventBus()
    const reports: StopReport[] = []
    const { outcome } = await calledByHandler(async (manager) => {
      bus.subscribeToAllEvents(async () => void reports.push(await manager.stop()))
      await bus.publish([noted(9)])
    })

    expect(outcome.status).toBe('fulfilled')
    expect(reports).toMatchObject([{ phase: 'stopping' }])
  })
})

it('a pause that a handler starts and does not await waits for the other handlers', async () => {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 40)
  const done: number[] = []
  const pausing = Promise.withResolvers<void>()
  const manager = scene.manager()
  const handle = async ({ n }: Noted) => {
    await nextTurn()
    done.push(n)
    if (done.length === 5) manager.pause('lanes').then(pausing.resolve, pausing.reject)
  }
  manager.subscribe({ name: 'lanes', handle }, { ...quick, concurrency: 3 })
  manager.start()
  await pausing.promise
  const paused = [...done]
  for (let turn = 0; turn < 20; turn += 1) await nextTurn()

  expect(done).toEqual(paused)
})

describe('a handler is refused a wait that would never end:', () => {
  it.each([
    ['whenCaughtUp', (manager: SubscriptionManager) => manager.whenCaughtUp('s')],
    ['whenProcessed', (manager: SubscriptionManager) => manager.whenProcessed(1)],
    ['rebuild', (manager: SubscriptionManager) => manager.rebuild('s')],
    [
      'rebuild into another projection',
      (manager: SubscriptionManager) => manager.rebuild('s', { into: { handle: () => undefined } }),
    ],
  ] as const)('%s of its own subscription', async (_name, call) => {
    const { manager, handled, outcome } = await calledByHandler(call)

    expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(HandlerDeadlockError) })
    await manager.whenCaughtUp('s')
    expect(handled).toEqual([0, 1, 2])
  })

  it('but may wait for another subscription, and for its own after it has returned', async () => {
    const returned = Promise.withResolvers<void>()
    const later = Promise.withResolvers<void>()
    const { manager, outcome } = await calledByHandler(async (it) => {
      it.subscribe({ name: 'other', handle: () => undefined }, quick)
      void returned.promise.then(() => it.whenCaughtUp('s')).then(later.resolve, later.reject)
      await it.whenCaughtUp('other')
    })

    await manager.whenCaughtUp('s')
    returned.resolve()

    expect(outcome.status).toBe('fulfilled')
    await later.promise
  })
})
