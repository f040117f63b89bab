import { expect, it } from 'vitest'
import {
  defineEvent,
  GenericEvent,
  type HandlerBinding,
  handlerFor,
  type InMemoryEventStore,
  InMemoryLeaseStore,
  type StoredEvent,
  StoredEventError,
  SubscriptionManager,
} from '../../src/index.ts'
import { waitFor } from '../../src/testing/index.ts'
import { append, Noted, noted, quick, SubscriptionScene } from './subscription-scene.ts'

/** A subscription with two handlers, the second of which fails as long as it is broken. */
async function parkedScene(count: number) {
  const scene = new SubscriptionScene()
  const state = { isBroken: true, first: [] as number[], second: [] as number[] }
  const manager = scene.manager()
  manager.subscribe(
    {
      name: 'sums',
      handlers: [
        handlerFor(Noted, { name: 'first', handle: ({ n }: Noted) => void state.first.push(n) }),
        handlerFor(
          Noted,
          ({ n }) => {
            if (state.isBroken && n % 2 === 1) throw new Error('no odd ones')
            state.second.push(n)
          },
          { name: 'second' },
        ),
      ],
    },
    { ...quick, maxRetries: 0, onFailure: 'deadLetter' },
  )
  await append(scene.store, 0, count)
  manager.start()
  await manager.whenCaughtUp('sums')
  return { scene, manager, state }
}

it('runs the failed handlers of parked events again, and removes the events that are handled', async () => {
  const { scene, manager, state } = await parkedScene(6)
  expect(await scene.deadLetters.list()).toHaveLength(3)
  state.isBroken = false

  expect(await manager.replayParked('sums')).toEqual({ replayed: 3, failed: [] })
  expect(state.first).toEqual([0, 1, 2, 3, 4, 5])
  expect(state.second).toEqual([0, 2, 4, 1, 3, 5])
  expect(await scene.deadLetters.list()).toEqual([])
})

it('keeps an event that fails again, with its new error and one more attempt', async () => {
  const { scene, manager } = await parkedScene(2)
  const [before] = await scene.deadLetters.list()
  const report = await manager.replayParked('sums')

  expect(report).toMatchObject({ replayed: 0, failed: [{ position: 2, error: { message: 'no odd ones' } }] })
  expect(await scene.deadLetters.list()).toMatchObject([
    { attempts: (before?.attempts ?? 0) + 1, firstFailedAt: before?.firstFailedAt },
  ])
})

it('replays the requested positions, and more than one page of them', async () => {
  const { scene, manager, state } = await parkedScene(500)
  state.isBroken = false

  expect(await manager.replayParked('sums', { positions: [4] })).toEqual({ replayed: 1, failed: [] })
  expect(await manager.replayParked('sums')).toEqual({ replayed: 249, failed: [] })
  expect(await scene.deadLetters.list()).toEqual([])
})

it('runs all handlers if none has the name of the failed handler any longer', async () => {
  const { scene, manager, state } = await parkedScene(2)
  const [parked] = await scene.deadLetters.list()
  if (parked !== undefined) await scene.deadLetters.add({ ...parked, handlerNames: ['renamed since'] })
  state.isBroken = false

  expect(await manager.replayParked('sums')).toEqual({ replayed: 1, failed: [] })
  expect(state.first).toEqual([0, 1, 1])
})

/** Parks an event for one of two handlers, and replays it in a release that subscribes `later` instead. */
async function replayInNextRelease(
  earlier: (failing: () => never, working: () => void) => HandlerBinding[],
  later: (calls: string[]) => HandlerBinding[],
) {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 1)
  const fail = () => {
    throw new Error('broken')
  }
  const options = { ...quick, maxRetries: 0, onFailure: 'deadLetter' } as const
  const before = scene.manager()
  before.subscribe({ name: 'sums', handlers: earlier(fail, () => undefined) }, options)
  before.start()
  await before.whenCaughtUp('sums')
  await before.stop()
  const calls: string[] = []
  const after = scene.manager()
  after.subscribe({ name: 'sums', handlers: later(calls) }, options)
  after.start()
  expect(await after.replayParked('sums')).toEqual({ replayed: 1, failed: [] })
  expect(await scene.deadLetters.list()).toEqual([])
  return calls
}

it('runs the failed handler in a release that subscribes unnamed handlers in another order', async () => {
  const calls = await replayInNextRelease(
    (fail, work) => [handlerFor(Noted, () => work()), handlerFor(Noted, () => fail())],
    (seen) => [
      handlerFor(Noted, () => seen.push('that had failed')),
      handlerFor(Noted, () => seen.push('other')),
    ],
  )

  expect(calls).toEqual(['that had failed', 'other'])
})

it('never finds the failed handler by the name of a function, which a minifier may give to another one', async () => {
  const calls = await replayInNextRelease(
    (fail, work) => {
      const a = () => work()
      const b = () => fail()
      return [handlerFor(Noted, a), handlerFor(Noted, b)]
    },
    (seen) => {
      const b = () => seen.push('other')
      const a = () => seen.push('that had failed')
      return [handlerFor(Noted, b), handlerFor(Noted, a)]
    },
  )

  expect(calls.toSorted()).toEqual(['other', 'that had failed'])
})

it('finds the failed handler by its alias, and runs no other', async () => {
  const calls = await replayInNextRelease(
    (fail, work) => [
      handlerFor(Noted, () => work(), { name: 'works' }),
      handlerFor(Noted, () => fail(), { name: 'fails' }),
    ],
    (seen) => [
      handlerFor(Noted, () => seen.push('renamed'), { name: 'new name', aliases: ['fails'] }),
      handlerFor(Noted, () => seen.push('works'), { name: 'works' }),
    ],
  )

  expect(calls).toEqual(['renamed'])
})

it('is refused if two handlers of an event have the same name', () => {
  const manager = new SubscriptionScene().manager()
  const handlers = [
    handlerFor(Noted, () => undefined, { name: 'sum' }),
    handlerFor(Noted, () => undefined, { name: 'sum' }),
  ]

  expect(() => manager.subscribe({ name: 'sums', handlers })).toThrow(
    /Two handlers of Noted have the name "sum"/,
  )
})

it('is refused if there is no such subscription, no dead letter store, or another instance runs it', async () => {
  const scene = new SubscriptionScene()
  const leases = new InMemoryLeaseStore()
  await leases.acquire('sums', 'another instance', 60_000)
  const manager = scene.manager({ leases })
  manager.subscribe({ name: 'sums', handle: () => undefined })
  manager.start()

  await expect(manager.replayParked('nobody')).rejects.toMatchObject({ code: 'SUBSCRIPTION_NOT_FOUND' })
  await expect(manager.replayParked('sums')).rejects.toMatchObject({ code: 'SUBSCRIPTION_STOPPED' })
  const { store: eventStore, checkpoints } = scene
  const bare = new SubscriptionManager({ eventStore, checkpoints })
  bare.subscribe({ name: 'sums', handle: () => undefined })
  await expect(bare.replayParked('sums')).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
})

class Renamed extends defineEvent<{ readonly n: number }>()({ type: 'Noted', aggregateType: 'Note' }) {}

/** A store in which the second event has been refused by its class. */
function withFault(store: InMemoryEventStore) {
  const readPage = store.readPage.bind(store)
  const state = { isFaulty: true }
  const refuse = (stored: StoredEvent): StoredEvent => {
    if (!state.isFaulty || stored.position !== 2) return stored
    const fault = new StoredEventError(stored.event, 2, new Error('n must be a string.'))
    const { eventType, aggregateId, aggregateType, eventId } = stored.event
    const event = new GenericEvent({ eventType, aggregateId, aggregateType, eventId, data: { n: 1 } })
    return { ...stored, event, fault }
  }
  store.readPage = async (options) => {
    const page = await readPage(options)
    return { ...page, events: page.events.map(refuse) }
  }
  return state
}

it('stops with an error before a stored event that its class refuses', async () => {
  const scene = new SubscriptionScene()
  withFault(scene.store)
  await append(scene.store, 0, 3)
  const manager = scene.manager()
  manager.subscribe({ name: 'sums', handlers: [handlerFor(Renamed, () => undefined)] }, quick)
  manager.start()

  await expect(manager.whenCaughtUp('sums')).rejects.toThrow(/cannot be decoded: n must be a string/)
  expect((await manager.status())['sums']).toMatchObject({ state: 'failed', position: 1 })
})

it('parks a stored event that its class refuses, at once and without the rest of its batch, and replays it when it can be decoded', async () => {
  const scene = new SubscriptionScene()
  const state = withFault(scene.store)
  await append(scene.store, 0, 4)
  const handled: number[] = []
  const manager = scene.manager()
  const handleBatch = (events: readonly Noted[]) => void handled.push(...events.map(({ n }) => n))
  manager.subscribe({ name: 'sums', handleBatch }, { ...quick, onFailure: 'deadLetter' })
  manager.start()
  await manager.whenCaughtUp('sums')

  expect(handled).toEqual([0, 2, 3])
  expect(await scene.deadLetters.list()).toMatchObject([{ position: 2, errorName: 'StoredEventError' }])
  expect((await manager.replayParked('sums')).failed).toMatchObject([{ position: 2 }])
  state.isFaulty = false
  expect(await manager.replayParked('sums')).toEqual({ replayed: 1, failed: [] })
  expect(handled).toEqual([0, 2, 3, 1])
})

it('delivers an event to each handler at most once more, while new events arrive', async () => {
  const { scene, manager, state } = await parkedScene(4)
  state.isBroken = false
  const replaying = manager.replayParked('sums')
  await scene.store.appendEvents({
    ...{ aggregateId: 'later', aggregateType: 'Note', expectedVersion: 'any' },
    events: [noted(8, 'later')],
  })
  await replaying
  await manager.whenCaughtUp('sums')

  await waitFor(() => state.second.length === 5)
  expect(state.second.toSorted()).toEqual([0, 1, 2, 3, 8])
})
