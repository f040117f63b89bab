import { describe, expect, it } from 'vitest'
import { InMemoryEventStore, type ReadAllOptions } from '../../src/index.ts'
import { waitFor } from '../../src/testing/index.ts'
import {
  append,
  appendOne,
  checkpointAt,
  Noted,
  quick,
  Seen,
  SubscriptionScene,
} from './subscription-scene.ts'

/** A manager on another store, with the checkpoints of a scene. */
function moved(scene: SubscriptionScene, store = new InMemoryEventStore()) {
  const seen = new Seen()
  const manager = scene.manager({ eventStore: store })
  manager.subscribe(seen, quick)
  return { store, seen, manager }
}

/** A store without the event at a position, as after a failover to a standby that had less. */
function withHole(store: InMemoryEventStore, position: number): InMemoryEventStore {
  return new Proxy(store, {
    get(target, key) {
      if (key === 'readPage') {
        return async (options: ReadAllOptions) => {
          const page = await target.readPage(options)
          return { ...page, events: page.events.filter((stored) => stored.position !== position) }
        }
      }
      if (key === 'eventExists') return async () => false
      const member: unknown = Reflect.get(target, key)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

async function handledBefore(events: number): Promise<SubscriptionScene> {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, events)
  const manager = scene.manager()
  manager.subscribe(new Seen())
  manager.start()
  await manager.whenCaughtUp('seen')
  await manager.stop()
  return scene
}

describe('a checkpoint', () => {
  it('records the store and the event that it belongs to', async () => {
    const scene = await handledBefore(3)
    const [, , last] = (await scene.store.readPage()).events

    expect(await scene.checkpoints.load('seen')).toEqual({
      position: 3,
      storeId: await scene.store.identity(),
      eventId: last?.event.eventId,
      fence: undefined,
    })
  })

  it('of another store is refused at the start, with the remedy, although this store has enough events', async () => {
    const { store, manager, seen } = moved(await handledBefore(3))
    await append(store, 0, 5)
    manager.start()

    await expect(manager.whenCaughtUp('seen')).rejects.toMatchObject({ code: 'CHECKPOINT_FOREIGN' })
    await expect(manager.whenProcessed(1)).rejects.toThrow(/startFrom: 'beginning', or delete the checkpoint/)
    expect(seen.numbers).toEqual([])
    expect((await manager.health()).status).toBe('down')
  })

  it('of a store that was restored to an earlier state and has other events since then is refused', async () => {
    const scene = await handledBefore(3)
    const restored = Object.assign(new InMemoryEventStore(), { identity: () => scene.store.identity() })
    const { manager } = moved(scene, restored)
    await append(restored, 0, 4)
    manager.start()

    await expect(manager.whenCaughtUp('seen')).rejects.toThrow(/the store was restored to an earlier state/)
  })

  it.each([0, 2])(
    'beyond the end of a store with %i events is refused before anything resolves',
    async (events) => {
      const scene = new SubscriptionScene()
      await scene.checkpoints.save('seen', checkpointAt(9), undefined)
      await append(scene.store, 0, events)
      const { manager } = moved(scene, scene.store)
      manager.start()

      await expect(manager.whenProcessed(0)).rejects.toMatchObject({ code: 'POSITION_AHEAD' })
      await expect(manager.whenCaughtUp('seen')).rejects.toMatchObject({ code: 'POSITION_AHEAD' })
    },
  )

  it('ahead of its store never makes health up, not even before it was checked', async () => {
    const scene = new SubscriptionScene()
    await scene.checkpoints.save('seen', checkpointAt(9), undefined)
    const { manager } = moved(scene, scene.store)
    manager.start()
    const statuses: string[] = []
    do statuses.push((await manager.health()).status)
    while (statuses.at(-1) !== 'down')

    expect(statuses).not.toContain('up')
  })

  it('of another store is replaced if the subscription starts from the beginning', async () => {
    const scene = await handledBefore(3)
    const store = new InMemoryEventStore()
    await append(store, 0, 5)
    const seen = new Seen()
    const manager = scene.manager({ eventStore: store })
    manager.subscribe(seen, { startFrom: 'beginning' })
    manager.start()
    await manager.whenCaughtUp('seen')
    await manager.stop()

    expect(seen.numbers).toEqual([0, 1, 2, 3, 4])
    expect((await scene.checkpoints.load('seen'))?.storeId).toBe(await store.identity())
  })

  it('at an event that was deleted meanwhile is accepted', async () => {
    const scene = await handledBefore(3)
    await scene.store.deleteStream({ aggregateId: 'a2', aggregateType: 'Note' })
    const { manager, seen } = moved(scene, scene.store)
    await appendOne(scene.store, new Noted({ aggregateId: 'b', n: 7 }))
    manager.start()
    await manager.whenCaughtUp('seen')

    expect(seen.numbers.filter((n) => n !== undefined)).toEqual([7])
  })

  it('at an event that is missing from the store without a tombstone is refused', async () => {
    const scene = await handledBefore(3)
    const { manager } = moved(scene, withHole(scene.store, 3))
    await append(scene.store, 3, 5)
    manager.start()

    await expect(manager.whenCaughtUp('seen')).rejects.toThrow(/which is not in the store/)
  })

  it('at a missing event waits while the feed may hide its deletion', async () => {
    const scene = await handledBefore(3)
    const store = withHole(scene.store, 3)
    let isHeld = true
    const heldBack = { position: 3, sinceMs: 1, session: 'process 1' }
    store.health = async () => ({ status: 'up', problems: [], heldBack: isHeld ? heldBack : undefined })
    const { manager, seen } = moved(scene, store)
    manager.start()
    await waitFor(async () => /may hide the deletion/.test(JSON.stringify(await manager.health())))
    await scene.store.deleteStream({ aggregateId: 'a0', aggregateType: 'Note' })
    isHeld = false
    await manager.whenCaughtUp('seen')

    expect(seen.numbers).toEqual([undefined])
  })

  it('of an older release, which has only a position, is accepted', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 3)
    await scene.checkpoints.save('seen', checkpointAt(2), undefined)
    const { manager, seen } = moved(scene, scene.store)
    manager.start()
    await manager.whenCaughtUp('seen')

    expect(seen.numbers).toEqual([2])
  })
})

it('refuses a foreign checkpoint on a standby instance, too', async () => {
  const scene = await handledBefore(3)
  const leases = {
    acquire: async () => undefined,
    release: async () => undefined,
    onRelease: () => () => undefined,
  }
  const store = new InMemoryEventStore()
  await append(store, 0, 5)
  const manager = scene.manager({ eventStore: store, leases })
  manager.subscribe(new Seen(), quick)
  manager.start()
  await waitFor(async () => (await manager.status())['seen']?.state === 'standby')

  await expect(manager.whenProcessed(2)).rejects.toMatchObject({ code: 'CHECKPOINT_FOREIGN' })
})

it.each([
  [2, 'POSITION_AHEAD'],
  [6, 'CHECKPOINT_FOREIGN'],
])(
  'stops a running subscription whose store has become one with %i other events: %s',
  async (events, code) => {
    const scene = new SubscriptionScene()
    let present: InMemoryEventStore = scene.store
    const eventStore = new Proxy(scene.store, {
      get(_target, key) {
        const member: unknown = Reflect.get(present, key)
        return typeof member === 'function' ? member.bind(present) : member
      },
    })
    await append(scene.store, 0, 4)
    const manager = scene.manager({ eventStore })
    const seen = new Seen()
    manager.subscribe(seen, { ...quick, pollIntervalMs: 400 })
    manager.start()
    await manager.whenCaughtUp('seen')
    const replaced = new InMemoryEventStore()
    await append(replaced, 10, 10 + events)
    present = replaced

    await waitFor(async () => (await manager.health()).status === 'down')
    await expect(manager.whenProcessed(9)).rejects.toMatchObject({ code })
    expect(seen.numbers).toEqual([0, 1, 2, 3])
  },
)
