import { expect, it } from 'vitest'
import { InMemoryLeaseStore, type LeaseStore, type SubscriptionOptions } from '../../src/index.ts'
import { waitFor } from '../support/wait-for.ts'
import { append, type Noted, numbers, quick, Seen, SubscriptionScene } from './subscription-scene.ts'

const TTL_MS = 60

/** By default the leases end only when they are released, so a slow machine loses none. */
function instances(leases: LeaseStore = new InMemoryLeaseStore(() => 0), options: SubscriptionOptions = {}) {
  const scene = new SubscriptionScene()
  const instance = (name: string, subscriber: object = new Seen()) => {
    const manager = scene.manager({ leases, leaseTtlMs: TTL_MS, instanceId: name })
    manager.subscribe({ handle: () => undefined, ...subscriber, name: 'seen' }, { ...quick, ...options })
    return manager
  }
  return { scene, instance, leases }
}

const seenBy = (seen: Seen) => ({ handle: (event: Noted) => seen.handle(event) })

it('lets one instance run and another stand by, which takes over when the first one stops', async () => {
  const { scene, instance } = instances()
  const [one, two] = [new Seen(), new Seen()]
  const [first, second] = [instance('first', seenBy(one)), instance('second', seenBy(two))]
  first.start()
  await waitFor(async () => (await first.health()).status === 'up')
  second.start()
  await append(scene.store, 0, 50)
  await first.whenCaughtUp('seen')
  expect((await second.status())['seen']).toMatchObject({ state: 'standby', problems: [] })
  expect(await second.health()).toMatchObject({ status: 'up' })

  await first.stop()
  await append(scene.store, 50, 100)
  await second.whenCaughtUp('seen')
  expect(one.numbers).toEqual(numbers(0, 50))
  expect(two.numbers).toEqual(numbers(50, 100))
})

it('continues from the checkpoint after standby, although startFrom is the beginning', async () => {
  const { scene, instance } = instances(new InMemoryLeaseStore(() => 0), { startFrom: 'beginning' })
  const [one, two] = [new Seen(), new Seen()]
  const [first, second] = [instance('first', seenBy(one)), instance('second', seenBy(two))]
  first.start()
  await append(scene.store, 0, 10)
  await first.whenCaughtUp('seen')
  second.start()
  await waitFor(async () => (await second.status())['seen']?.state === 'standby')
  await first.stop()

  await append(scene.store, 10, 20)
  await second.whenCaughtUp('seen')
  expect(two.numbers).toEqual(numbers(10, 20))
})

it('takes over from an instance that no longer answers, which then handles nothing more', async () => {
  let now = 0
  const store = new InMemoryLeaseStore(() => now)
  let isCut = false
  const cut: LeaseStore = {
    acquire: (name, owner, ttlMs) => {
      if (isCut && owner === 'first') return Promise.reject(new Error('connection reset'))
      return store.acquire(name, owner, ttlMs)
    },
    release: (name, owner) => store.release(name, owner),
    onRelease: (listener) => store.onRelease(listener),
  }
  const { scene, instance } = instances(cut)
  const [one, two] = [new Seen(), new Seen()]
  const first = instance('first', seenBy(one))
  const second = instance('second', seenBy(two))
  first.start()
  await append(scene.store, 0, 10)
  await first.whenCaughtUp('seen')
  await waitFor(async () => (await scene.checkpoints.load('seen'))?.position === 10, { timeoutMs: 3000 })
  second.start()

  isCut = true
  await waitFor(async () => (await first.status())['seen']?.state === 'standby')
  expect((await first.status())['seen']?.problems).toEqual(['requesting the lease failed'])
  now += TTL_MS + 1
  await append(scene.store, 10, 20)
  await second.whenCaughtUp('seen')

  expect(one.numbers).toEqual(numbers(0, 10))
  expect(two.numbers).toEqual(numbers(10, 20))
})

it('stands by when its lease is refused, aborts running handlers, and does not change the checkpoint', async () => {
  const store = new InMemoryLeaseStore()
  let isLost = false
  const { scene, instance } = instances({
    acquire: (name, owner, ttlMs) =>
      isLost ? Promise.resolve(undefined) : store.acquire(name, owner, ttlMs),
    release: (name, owner) => store.release(name, owner),
    onRelease: (listener) => store.onRelease(listener),
  })
  const reasons: unknown[] = []
  const manager = instance('first', {
    handle: (_event: Noted, { signal }: { readonly signal: AbortSignal }) =>
      new Promise(() => signal.addEventListener('abort', () => reasons.push(signal.reason))),
  })
  manager.start()
  await append(scene.store, 0, 1)
  await waitFor(async () => (await manager.status())['seen']?.lagPositions === 1)
  isLost = true

  await waitFor(() => reasons.length === 1)
  expect(reasons).toMatchObject([{ code: 'SUBSCRIPTION_STOPPED' }])
  await waitFor(async () => (await manager.status())['seen']?.state === 'standby')
  expect((await scene.checkpoints.load('seen'))?.position).not.toBe(1)
})

it('saves nothing after its lease is lost, because the next owner has read the checkpoint', async () => {
  const store = new InMemoryLeaseStore()
  let isLost = false
  const { scene } = instances()
  const leases: LeaseStore = {
    acquire: (name, owner, ttlMs) =>
      isLost ? Promise.resolve(undefined) : store.acquire(name, owner, ttlMs),
    release: (name, owner) => store.release(name, owner),
    onRelease: (listener) => store.onRelease(listener),
  }
  const manager = scene.manager({ leases, leaseTtlMs: TTL_MS })
  const never = {
    checkpointEveryEvents: Number.POSITIVE_INFINITY,
    checkpointEveryMs: Number.POSITIVE_INFINITY,
  }
  manager.subscribe(new Seen(), { ...quick, ...never })
  manager.start()
  await append(scene.store, 0, 5)
  await manager.whenCaughtUp('seen')
  isLost = true
  await waitFor(async () => (await manager.status())['seen']?.state === 'standby')
  await manager.stop()

  // The position at which it got the lease.
  expect((await scene.checkpoints.load('seen'))?.position).toBe(0)
})

it('waits on a standby instance for events that the other instance handles', async () => {
  const { scene, instance } = instances()
  const seen = new Seen()
  const [first, second] = [instance('first', seenBy(seen)), instance('second')]
  first.start()
  await waitFor(async () => (await first.health()).status === 'up')
  second.start()
  await append(scene.store, 0, 20)

  await Promise.all([second.whenProcessed(20), second.whenCaughtUp('seen')])
  expect(seen.numbers).toEqual(numbers(0, 20))
  expect((await second.status())['seen']).toMatchObject({
    state: 'standby',
    position: 20,
    checkpoint: 20,
    lagPositions: 0,
  })
})

it('gives a lease to another owner only when it has expired or was released', async () => {
  let now = 0
  const leases = new InMemoryLeaseStore(() => now)

  expect(await leases.acquire('a', 'one', 10)).toBeDefined()
  expect(await leases.acquire('a', 'two', 10)).toBeUndefined()
  expect(await leases.acquire('b', 'two', 10)).toBeDefined()
  await leases.release('a', 'two')
  expect(await leases.acquire('a', 'two', 10)).toBeUndefined()
  now = 9
  expect(await leases.acquire('a', 'one', 10)).toBeDefined()
  now = 18
  expect(await leases.acquire('a', 'two', 10)).toBeUndefined()
  now = 19
  expect(await leases.acquire('a', 'two', 10)).toBeDefined()
  await leases.release('a', 'two')
  expect(await leases.acquire('a', 'one', 10)).toBeDefined()
})

it('takes over at once when another instance stops, not after a part of the lease', async () => {
  const scene = new SubscriptionScene()
  const leases = new InMemoryLeaseStore(() => 0)
  const instance = (instanceId: string) => {
    const manager = scene.manager({ leases, instanceId, leaseTtlMs: 600_000 })
    manager.subscribe({ name: 'seen', handle: () => undefined }, { ...quick, pollIntervalMs: 60_000 })
    manager.start()
    return manager
  }
  const first = instance('first')
  await waitFor(async () => (await first.health()).status === 'up')
  const second = instance('second')
  await waitFor(async () => (await second.status())['seen']?.state === 'standby')
  const stoppedAt = performance.now()
  await first.stop()

  await waitFor(async () => (await second.status())['seen']?.state === 'live', { intervalMs: 1 })
  // A standby instance asks by itself once a second.
  expect(performance.now() - stoppedAt).toBeLessThan(900)
})

it('does not let a former owner move the checkpoint, although it has not noticed the loss of its lease', async () => {
  let now = 1000
  const store = new InMemoryLeaseStore(() => now)
  const heard = { first: Promise.resolve() }
  const deaf: LeaseStore = {
    acquire: async (name, owner, ttlMs) => {
      if (owner === 'first') await heard.first
      return store.acquire(name, owner, ttlMs)
    },
    release: (name, owner) => store.release(name, owner),
    onRelease: (listener) => store.onRelease(listener),
  }
  const { scene, instance } = instances(deaf, { checkpointEveryEvents: 1 })
  const gate = Promise.withResolvers<void>()
  const first = instance('first', { handle: ({ n }: Noted) => (n === 1 ? gate.promise : undefined) })
  first.start()
  await append(scene.store, 0, 2)
  await waitFor(async () => (await scene.checkpoints.load('seen'))?.position === 1)
  heard.first = new Promise(() => undefined)
  now += TTL_MS + 1
  const two = new Seen()
  const second = instance('second', {
    handle: async (event: Noted) => {
      two.handle(event)
      await gate.promise
    },
  })
  second.start()
  await waitFor(() => two.numbers.length === 1)
  const fence = (await scene.checkpoints.load('seen'))?.fence

  gate.resolve()
  await waitFor(async () => (await scene.checkpoints.load('seen'))?.position === 2)
  expect((await scene.checkpoints.load('seen'))?.fence).toBe(fence)
  expect((await second.health()).status).toBe('up')
})
