import { expect, it } from 'vitest'
import { waitFor } from '../support/wait-for.ts'
import { append, appendOne, Filed, Noted, numbers, quick, SubscriptionScene } from './subscription-scene.ts'

class Batches {
  readonly name = 'batches'
  readonly batches: number[][] = []
  readonly #bad: number
  readonly #failures: number
  failed = 0

  constructor(bad = -1, failures = 0) {
    this.#bad = bad
    this.#failures = failures
  }

  async handleBatch(events: readonly Noted[]): Promise<void> {
    await Promise.resolve()
    const batch = events.map(({ n }) => n)
    if (batch.includes(this.#bad) && this.failed < this.#failures) {
      this.failed += 1
      throw new Error('as told')
    }
    this.batches.push(batch)
  }

  subscribedTo() {
    return [Noted]
  }
}

async function sceneWith(events: number) {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, events)
  await appendOne(scene.store, new Filed({ aggregateId: 'f', n: -1 }))
  return { scene, manager: scene.manager() }
}

it('delivers pages as units, in order, and moves the position after each', async () => {
  const { scene, manager } = await sceneWith(25)
  const projection = new Batches()
  manager.subscribe(projection, { batchSize: 10, checkpointEveryEvents: 1 })
  manager.start()
  await manager.whenCaughtUp('batches')

  expect(projection.batches).toEqual([numbers(0, 10), numbers(10, 20), numbers(20, 25)])
  await waitFor(async () => (await scene.checkpoints.load('batches'))?.position === 25)
  await manager.stop()
  expect((await scene.checkpoints.load('batches'))?.position).toBe(26)
})

it('retries a failed batch as a whole', async () => {
  const { manager } = await sceneWith(25)
  const projection = new Batches(12, 2)
  manager.subscribe(projection, { ...quick, batchSize: 10 })
  manager.start()
  await manager.whenCaughtUp('batches')

  expect(projection.failed).toBe(2)
  expect(projection.batches.flat()).toEqual(numbers(0, 25))
})

it('stops before a batch that keeps failing', async () => {
  const { scene, manager } = await sceneWith(25)
  manager.subscribe(new Batches(12, 100), { ...quick, batchSize: 10, maxRetries: 1 })
  manager.start()

  await expect(manager.whenCaughtUp('batches')).rejects.toMatchObject({
    code: 'SUBSCRIPTION_FAILED',
    position: 11,
  })
  await manager.stop()
  expect((await scene.checkpoints.load('batches'))?.position).toBe(10)
})

it('parks only those events of a failing batch that also fail on their own', async () => {
  const { scene, manager } = await sceneWith(25)
  const projection = new Batches(12, 100)
  manager.subscribe(projection, { ...quick, batchSize: 10, maxRetries: 1, onFailure: 'deadLetter' })
  manager.start()
  await manager.whenCaughtUp('batches')

  expect(projection.batches.flat()).toEqual(numbers(0, 25).filter((n) => n !== 12))
  const parked = await scene.deadLetters.list()
  expect(parked.map(({ position }) => position)).toEqual([13])
  expect((await manager.status())['batches']).toMatchObject({
    eventsHandled: 24,
    eventsDeadLettered: 1,
    retrying: 0,
  })
})

it('delivers no batch while it is paused, although the batch was read before', async () => {
  const { scene, manager } = await sceneWith(5)
  const readAll = scene.store.readAll.bind(scene.store)
  const reading = Promise.withResolvers<void>()
  let isRead = false
  scene.store.readAll = async function* (options) {
    yield* readAll(options)
    isRead = true
    await reading.promise
  }
  const projection = new Batches()
  manager.subscribe(projection)
  manager.start()
  await waitFor(() => isRead)
  await manager.pause('batches')
  reading.resolve()
  await waitFor(async () => (await manager.status())['batches']?.lagPositions === 6)
  expect(projection.batches).toEqual([])

  manager.resume('batches')
  await manager.whenCaughtUp('batches')
  expect(projection.batches).toEqual([numbers(0, 5)])
})

it('does not make the first event of a batch the cause of events that the handler creates', async () => {
  const scene = new SubscriptionScene()
  await append(scene.store, 0, 3)
  const made: Filed[] = []
  const handleBatch = async (events: readonly Noted[]) => {
    await Promise.resolve()
    for (const { aggregateId, n } of events) made.push(new Filed({ aggregateId, n }))
  }
  const manager = scene.manager()
  manager.subscribe({ name: 'follow-ups', handleBatch })
  manager.start()
  await manager.whenCaughtUp('follow-ups')

  expect(made.map(({ causationId }) => causationId)).toEqual([undefined, undefined, undefined])
  expect(new Set(made.map(({ correlationId }) => correlationId)).size).toBe(3)
})
