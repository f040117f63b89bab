import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { type EventStore, InMemoryEventBus, InMemoryEventStore } from '../../src/index.ts'
import { waitFor } from '../support/wait-for.ts'
import { append, fill, numbers, quick, Seen, SubscriptionScene } from './subscription-scene.ts'

const STORED = 100_000
const LIVE = 10_000

/** A store that does not report its appends, like a store whose writers are in other processes. */
function silent(store: InMemoryEventStore): EventStore {
  return Object.assign(Object.create(store), {
    readPage: store.readPage.bind(store),
    identity: store.identity.bind(store),
    health: store.health.bind(store),
    headPosition: store.headPosition.bind(store),
    registerEvents: store.registerEvents.bind(store),
    onAppend: () => () => undefined,
  })
}

async function store(count: number): Promise<InMemoryEventStore> {
  const store = new InMemoryEventStore()
  await fill(store, 0, count)
  return store
}

/** Several writers that append on and on while subscriptions catch up. */
async function appendMeanwhile(store: EventStore): Promise<void> {
  const writers = 4
  const share = LIVE / writers
  let next = STORED
  await Promise.all(
    numbers(0, writers).map(async () => {
      for (let round = 0; round < share; round += 1) {
        const n = next
        next += 1
        await append(store, n, n + 1)
        if (round % 10 === 0) await nextTurn()
      }
    }),
  )
}

async function expectAllInOrder(seen: Seen): Promise<void> {
  await waitFor(() => seen.numbers.length >= STORED + LIVE, {
    timeoutMs: 20_000,
    describe: () => `${STORED + LIVE} events, saw ${seen.numbers.length}`,
  })
  expect(seen.numbers).toEqual(numbers(0, STORED + LIVE))
}

it('catches up with 100,000 events while 10,000 more are appended, each once and in order', async () => {
  const scene = new SubscriptionScene(await store(STORED))
  const manager = scene.manager()
  const seen = new Seen()
  manager.subscribe(seen)
  manager.start()

  await appendMeanwhile(scene.store)

  await expectAllInOrder(seen)
  await manager.whenCaughtUp('seen')
  await manager.stop()
  expect((await scene.checkpoints.load('seen'))?.position).toBe(STORED + LIVE)
})

it('does the same with a store and a bus that drop every notification', async () => {
  const scene = new SubscriptionScene(await store(STORED))
  await using deafBus = new InMemoryEventBus()
  const manager = scene.manager({ eventStore: silent(scene.store), eventBus: deafBus })
  const seen = new Seen()
  manager.subscribe(seen, quick)
  manager.start()

  await appendMeanwhile(scene.store)

  await expectAllInOrder(seen)
  const { missedWakeUps, wakeUps } = (await manager.status())['seen'] ?? {}
  expect(wakeUps).toBe(0)
  expect(missedWakeUps).toBeGreaterThan(0)
})
