import assert from 'node:assert/strict'
import { SubscriptionManager } from '../../subscriptions/index.ts'
import { ALL_SEEN, allVersions, ofVersion, Renamed, seen } from './evolved-events.ts'
import { append } from './stored-events.ts'
import { type StoresScene, storesTest } from './stores-under-test.ts'

/** Runs a subscription to the class until it has caught up. */
async function catchUp(
  { stores }: StoresScene,
  handle: (event: Renamed) => void,
  work: (manager: SubscriptionManager) => Promise<void> = async () => undefined,
): Promise<void> {
  const { events: eventStore, checkpoints, deadLetters } = stores
  await using manager = new SubscriptionManager({
    ...{ eventStore, checkpoints, deadLetters },
    logger: { debug() {}, info() {}, warn() {}, error() {} },
  })
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
]
