import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import { expect, it } from 'vitest'
import { type StoredEvent, SubscriptionManager } from '../../src/index.ts'
import type { SqliteStores } from '../../src/sqlite/index.ts'
import { waitFor } from '../../src/testing/index.ts'
import { paced } from '../support/pace.ts'
import { appendNotes, appendTo, Noted, withFile } from './sqlite-scene.ts'
import { startWriter } from './writers.ts'

/** Reads pages until nothing more comes. */
async function follow(
  stores: SqliteStores,
  isOver: () => boolean,
  limit: number,
): Promise<readonly StoredEvent[]> {
  const seen: StoredEvent[] = []
  for (;;) {
    const wasOver = isOver()
    const { events } = await stores.events.readPage({ fromPosition: seen.at(-1)?.position ?? 0, limit })
    seen.push(...events)
    if (events.length < limit && wasOver) return seen
    await nextTurn()
  }
}

it(
  'shows readers each event of several writer processes once, in one order, although the writers are killed',
  async () => {
    await using scene = withFile()
    const [one, two] = [scene.open(), scene.open()]
    await one.ready()
    let isOver = false
    const following = [follow(one, () => isOver, 11), follow(two, () => isOver, 200)]
    const writers = [0, 1, 2].map(() => startWriter(scene.file))
    await waitFor(() => writers.every(({ acknowledged }) => acknowledged.length >= 30), {
      timeoutMs: 40_000,
      describe: () =>
        `30 events of each writer, saw ${writers.map(({ acknowledged }) => acknowledged.length)}`,
    })
    await Promise.all(writers.map((writer) => writer.kill()))
    isOver = true

    const [seen = [], alike = []] = await Promise.all(following)
    const idsOf = (events: readonly StoredEvent[]) => events.map(({ event }) => event.eventId)
    expect(idsOf(alike)).toEqual(idsOf(seen))
    const ids = new Set(idsOf(seen))
    expect(ids.size).toBe(seen.length)
    expect(
      writers.flatMap(({ acknowledged }) => acknowledged).filter((eventId) => !ids.has(eventId)),
    ).toEqual([])
    for (const ofStream of Map.groupBy(seen, ({ event }) => event.aggregateId).values()) {
      expect(ofStream.map(({ event }) => event.aggregateVersion)).toEqual(
        ofStream.map((_, index) => index + 1),
      )
      expect(ofStream.length % 3).toBe(0)
    }
  },
  paced(60_000),
)

it('passes a subscription at once to the standby manager of another process', async () => {
  await using scene = withFile()
  const handled: string[] = []
  const instance = (instanceId: string) => {
    const { events: eventStore, checkpoints, leases } = scene.open()
    const manager = new SubscriptionManager({
      eventStore,
      checkpoints,
      leases,
      instanceId,
      leaseTtlMs: 600_000,
    })
    manager.subscribe({
      name: 'notes',
      handle: ({ eventId }) => void handled.push(`${instanceId} ${eventId}`),
    })
    manager.start()
    return manager
  }
  await using first = instance('first')
  await waitFor(async () => (await first.health()).status === 'up')
  await using second = instance('second')
  await waitFor(async () => (await second.status())['notes']?.state === 'standby')
  const writer = scene.open()
  const [before] = await appendNotes(writer, 1)
  await first.whenCaughtUp('notes')
  await first.stop()
  const [after] = await appendNotes(writer, 1, 1)
  await second.whenCaughtUp('notes')

  expect(handled).toEqual([`first ${before?.eventId}`, `second ${after?.eventId}`])
})

it('reports that an append may be stored when its thread ends, and continues with another thread', async () => {
  await using scene = withFile()
  const stores = scene.open({ worker: true })
  const started = Promise.withResolvers<Worker>()
  process.once('worker', started.resolve)
  const event = new Noted({ aggregateId: 'a', n: 1 })
  const appending = appendTo(stores.events, event).catch((thrown: unknown) => thrown)
  await (await started.promise).terminate()

  expect(await appending).toMatchObject({ code: 'STORE_OUTCOME_UNKNOWN', retryable: true })
  await appendTo(stores.events, event)
  expect((await stores.events.getEvents('a')).version).toBe(1)
})
