import assert from 'node:assert/strict'
import { defineEvent } from '../../index.ts'
import {
  handlerFor,
  replaceEvent,
  type Stores,
  SubscriptionManager,
  type SubscriptionManagerOptions,
} from '../../subscriptions/index.ts'
import {
  ALL_SEEN,
  allVersions,
  Current,
  former,
  named,
  ofVersion,
  Renamed,
  seen,
  underCurrentNames,
} from './evolved-events.ts'
import { append, Filed, Noted, noted } from './stored-events.ts'
import { type StoresScene, storesTest } from './stores-under-test.ts'

const ignore = () => undefined

function managerOf(stores: Stores, options: Partial<SubscriptionManagerOptions> = {}): SubscriptionManager {
  const { events: eventStore, checkpoints, deadLetters } = stores
  // Failures are planned in these tests.
  const logger = { debug: ignore, info: ignore, warn: ignore, error: ignore }
  return new SubscriptionManager({ eventStore, checkpoints, deadLetters, logger, ...options })
}

/** What a note is split into. */
class First extends defineEvent<{ readonly n: number }>()({
  type: 'ConformanceFirst',
  aggregateType: 'Note',
}) {}
class Second extends defineEvent<{ readonly n: number }>()({
  type: 'ConformanceSecond',
  aggregateType: 'Note',
}) {}

/** Runs a subscription to the class until it has caught up. */
async function catchUp(
  { stores }: StoresScene,
  handle: (event: Renamed) => void,
  work: (manager: SubscriptionManager) => Promise<void> = async () => undefined,
): Promise<void> {
  await using manager = managerOf(stores)
  const subscriber = { name: 'evolved', subscribedTo: () => [Renamed], handle }
  manager.subscribe(subscriber, { maxRetries: 0, onFailure: 'deadLetter' })
  manager.start()
  await manager.whenCaughtUp('evolved')
  await work(manager)
}

/** Promise 15: events of earlier releases in subscriptions and among parked events. */
export const evolvedSubscriptionTests = [
  storesTest('hands events of all versions to a subscription as the current class', async (scene) => {
    const handled: unknown[] = []
    await append(scene.stores.events, allVersions())
    await catchUp(scene, (event) => void handled.push(seen(event)))

    assert.deepEqual(handled, ALL_SEEN)
  }),

  storesTest('parks an event of an earlier version, and replays it as the current class', async (scene) => {
    const replayed: unknown[] = []
    let isWell = false
    await append(scene.stores.events, [ofVersion(1, { n: 7 })])
    await catchUp(
      scene,
      (event) => {
        if (!isWell) throw new Error('not now')
        replayed.push(seen(event))
      },
      async (manager) => {
        const [parked] = await scene.stores.deadLetters.list()
        assert.deepEqual(seen(parked?.event), [7, 'piece', 3])
        isWell = true
        assert.equal((await manager.replayParked('evolved')).replayed, 1)
      },
    )

    assert.deepEqual(replayed, [[7, 'piece', 3]])
  }),

  storesTest('parks an event whose upcast fails with the reason, and handles the next', async (scene) => {
    const handled: unknown[] = []
    await append(scene.stores.events, [ofVersion(1, { n: -1 }), ofVersion(1, { n: 7 })])
    await catchUp(scene, (event) => void handled.push(seen(event)))

    const [parked, ...others] = await scene.stores.deadLetters.list()
    assert.match(parked?.errorMessage ?? '', /upcast from version 1 to 2/)
    assert.deepEqual([others, handled], [[], [[7, 'piece', 3]]])
  }),

  storesTest('hands events with former names to a subscription to the current class', async ({ stores }) => {
    const handled: unknown[] = []
    await append(stores.events, [former(1), former(2)])
    await using manager = managerOf(stores)
    const handler = handlerFor(Current, (event) => void handled.push(named(event)))
    manager.subscribe({ name: 'renamed', handlers: [handler] })
    manager.start()
    await manager.whenCaughtUp('renamed')

    assert.deepEqual(handled, [underCurrentNames(1), underCurrentNames(2)])
  }),

  storesTest('hands a subscription the events that replace a stored one', async ({ stores }) => {
    const handled: unknown[] = []
    await append(stores.events, [noted('a', 1)])
    await append(stores.events, [new Filed({ aggregateId: 'f', n: 0 })])
    const twice = replaceEvent(Noted, [First, Second], ({ n }, create) => [
      create(First, { n }),
      create(Second, { n: n + 1 }),
    ])
    await using manager = managerOf(stores, { replacements: [twice] })
    const handler = handlerFor([First, Second], ({ n, eventType }) => void handled.push([eventType, n]))
    manager.subscribe({ name: 'replaced', handlers: [handler] })
    manager.start()
    await manager.whenCaughtUp('replaced')

    assert.deepEqual(handled, [
      [First.eventType, 1],
      [Second.eventType, 2],
    ])
  }),
]
