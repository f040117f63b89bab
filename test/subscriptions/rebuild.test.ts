import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { waitFor } from '../support/wait-for.ts'
import { append, type Noted, numbers, quick, SubscriptionScene } from './subscription-scene.ts'

/** A read model: the sum of all numbers, and how many there were. */
class Sum {
  readonly name = 'sum'
  count = 0
  sum = 0
  resets = 0
  fails = false

  async handle({ n }: Noted): Promise<void> {
    if (this.fails) throw new Error('as told')
    await Promise.resolve()
    this.count += 1
    this.sum += n
  }

  reset(): void | Promise<void> {
    this.resets += 1
    this.count = 0
    this.sum = 0
  }
}

async function running(events: number) {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, events)
  const manager = scene.manager()
  const sum = new Sum()
  manager.subscribe(sum, { ...quick, maxRetries: 0 })
  manager.start()
  await manager.whenCaughtUp('sum')
  return { scene, manager, sum }
}

const total = (count: number) => numbers(0, count).reduce((sum, n) => sum + n, 0)

it('resets a projection and fills it again', async () => {
  const { scene, manager, sum } = await running(100)
  sum.sum = -1

  const report = await manager.rebuild('sum')

  expect(report).toMatchObject({ eventsHandled: 100, position: 100 })
  expect(sum).toMatchObject({ resets: 1, count: 100, sum: total(100) })
  await append(scene.store, 100, 110)
  await manager.whenCaughtUp('sum')
  expect(sum.sum).toBe(total(110))
})

it('fills a new projection while the old one continues, and then replaces the old one', async () => {
  const { scene, manager, sum } = await running(5000)
  const fresh = new Sum()
  fresh.sum = -1
  let isDone = false
  const rebuilding = manager.rebuild('sum', { into: fresh }).finally(() => {
    isDone = true
  })
  let appended = 5000
  while (!isDone && appended < 20_000) {
    await append(scene.store, appended, appended + 10)
    appended += 10
    await manager.whenProcessed(appended)
    const served = isDone ? fresh : sum
    expect(Math.max(served.count, fresh.count)).toBeGreaterThanOrEqual(appended)
    await nextTurn()
  }
  const { position } = await rebuilding
  expect(position).toBeGreaterThanOrEqual(5000)
  const fedBefore = sum.count

  await append(scene.store, appended, appended + 10)
  await manager.whenCaughtUp('sum')
  expect(fresh).toMatchObject({ resets: 1, count: appended + 10, sum: total(appended + 10) })
  expect(sum).toMatchObject({ resets: 0, count: fedBefore })
  await manager.stop()
  expect((await scene.checkpoints.load('sum'))?.position).toBe(appended + 10)
})

it('does not replace the old projection before the new one has all its events', async () => {
  const { scene, manager } = await running(100)
  const gate = Promise.withResolvers<void>()
  const fresh = new Sum()
  const handle = fresh.handle.bind(fresh)
  let isWaiting = false
  fresh.handle = async (event) => {
    // The last event that it needs to have caught up, while the old one goes further.
    if (event.n === 99) {
      await append(scene.store, 100, 110)
      await manager.whenProcessed(110)
    }
    if (event.n >= 100) {
      isWaiting = true
      await gate.promise
    }
    return handle(event)
  }
  let isDone = false
  const rebuilding = manager.rebuild('sum', { into: fresh }).finally(() => {
    isDone = true
  })
  await waitFor(() => isWaiting)
  for (let turn = 0; turn < 10; turn += 1) await nextTurn()
  expect(isDone).toBe(false)
  expect((await manager.health()).status).not.toBe('down')

  gate.resolve()
  expect((await rebuilding).position).toBeGreaterThanOrEqual(110)
})

it('continues with the old projection if the new one cannot be filled', async () => {
  const { scene, manager, sum } = await running(100)
  const fresh = new Sum()
  fresh.fails = true

  await expect(manager.rebuild('sum', { into: fresh })).rejects.toMatchObject({ code: 'SUBSCRIPTION_FAILED' })

  await append(scene.store, 100, 110)
  await manager.whenCaughtUp('sum')
  expect(sum).toMatchObject({ count: 110, sum: total(110) })
  expect(await manager.health()).toMatchObject({ status: 'up' })
})

it('restarts a projection that an error has stopped', async () => {
  const { scene, manager, sum } = await running(10)
  sum.fails = true
  await append(scene.store, 10, 20)
  await waitFor(async () => (await manager.health()).status === 'down')
  sum.fails = false

  await manager.rebuild('sum')
  expect(sum.sum).toBe(total(20))
})

it('stays stopped, with an error, if the reset fails, and handles everything again when it is started', async () => {
  const { manager, sum } = await running(10)
  const reset = sum.reset.bind(sum)
  sum.reset = () => {
    throw new Error('table locked')
  }
  await expect(manager.rebuild('sum')).rejects.toThrow('table locked')
  expect(await manager.health()).toMatchObject({
    status: 'down',
    subscriptions: { sum: { state: 'failed' } },
  })
  expect((await manager.status())['sum']?.lastError?.message).toBe('table locked')

  sum.reset = reset
  await manager.rebuild('sum')
  expect(sum).toMatchObject({ count: 10, sum: total(10) })
})

it('is not affected by a start or a second rebuild', async () => {
  const { manager, sum } = await running(1000)
  const gate = Promise.withResolvers<void>()
  sum.reset = async () => {
    await gate.promise
    Object.assign(sum, { count: 0, sum: 0 })
  }
  const first = manager.rebuild('sum')
  await nextTurn()
  manager.start()
  for (let turn = 0; turn < 10; turn += 1) await nextTurn()
  gate.resolve()
  await first
  expect(sum).toMatchObject({ count: 1000, sum: total(1000) })

  await Promise.all([manager.rebuild('sum'), manager.rebuild('sum')])
  expect(sum).toMatchObject({ count: 1000, sum: total(1000) })
})

it('is refused if there is nothing to rebuild, or nothing runs', async () => {
  const { manager } = await running(3)
  manager.subscribe({ name: 'plain', handle: () => undefined })
  await manager.whenCaughtUp('plain')

  await expect(manager.rebuild('plain')).rejects.toThrow(
    'plain cannot be rebuilt, because it has no reset().',
  )
  await expect(manager.rebuild('other')).rejects.toMatchObject({ code: 'SUBSCRIPTION_NOT_FOUND' })
  await manager.stop()
  await expect(manager.rebuild('sum')).rejects.toMatchObject({ code: 'SUBSCRIPTION_STOPPED' })
  await expect(manager.rebuild('sum', { into: new Sum() })).rejects.toMatchObject({
    code: 'SUBSCRIPTION_STOPPED',
  })
})

it('ends with the manager', async () => {
  const { manager } = await running(100)
  const fresh = { ...new Sum(), handle: () => new Promise(() => undefined) }
  const rebuilding = manager.rebuild('sum', { into: fresh })
  const outcome = expect(rebuilding).rejects.toMatchObject({ code: 'SUBSCRIPTION_STOPPED' })
  await nextTurn()
  await manager.stop({ timeoutMs: 100 })

  await outcome
  expect((await manager.status())['sum']?.state).toBe('stopped')
})
