import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import type { StoredEvent } from '../../src/index.ts'
import { PostgresArchiveError } from '../../src/postgres/index.ts'
import { SqliteStores } from '../../src/sqlite/index.ts'
import { Noted, noted } from '../../src/testing/conformance/events.ts'
import { openStores } from './postgres-scene.ts'

type Stores = ReturnType<typeof openStores>

const append = (
  { events }: Stores,
  aggregateId: string,
  expectedVersion: number | 'any' = 'any',
  event = noted(aggregateId),
) => events.appendEvents({ aggregateId, aggregateType: 'Note', events: [event], expectedVersion })

async function all(events: AsyncIterable<StoredEvent>): Promise<readonly StoredEvent[]> {
  const found: StoredEvent[] = []
  for await (const stored of events) found.push(stored)
  return found
}

const positions = (events: readonly StoredEvent[]) => events.map(({ position }) => position)

it('removes a prefix from the feed, and keeps the streams complete', async () => {
  await using stores = openStores({ events: [Noted] })
  const first = noted('a', 1)
  await append(stores, 'a', 0, first)
  for (const id of ['b', 'a', 'b']) await append(stores, id)

  expect(await stores.events.archive({ upTo: 3 })).toBe(3)

  expect(positions(await all(stores.events.readAll()))).toEqual([4])
  expect(positions(await all(stores.events.export()))).toEqual([1, 2, 3, 4])
  expect(
    positions(await all(stores.events.readAll({ includeArchived: true, fromPosition: 1, limit: 2 }))),
  ).toEqual([2, 3])
  expect((await stores.events.getEvents('a')).events.map(({ aggregateVersion }) => aggregateVersion)).toEqual(
    [1, 2],
  )
  expect((await stores.events.getEvents('b', { fromVersion: 1 })).events).toHaveLength(1)
  expect(await append(stores, 'a', 2)).toEqual({ newVersion: 3, globalPosition: 5 })
  expect(await append(stores, 'a', 0, first)).toEqual({ newVersion: 1, globalPosition: 1 })
  expect(await append(stores, 'a', 'any', first)).toEqual({ newVersion: 1, globalPosition: 1 })
  expect(await stores.events.eventExists(first.eventId)).toBe(true)
})

it('does not move the end of the feed when the last events are archived', async () => {
  await using stores = openStores()
  for (const id of ['a', 'b']) await append(stores, id)

  expect(await stores.events.archive({ aggregateId: 'b', aggregateType: 'Note' })).toBe(1)
  expect(await stores.events.readPage()).toMatchObject({ head: 2, headEventId: undefined })
  expect(await stores.events.archive({ upTo: 9 })).toBe(1)
  expect(await stores.events.headPosition()).toBe(2)
  expect((await append(stores, 'c')).globalPosition).toBe(3)
  await stores.events.deleteStream({ aggregateId: 'b', aggregateType: 'Note' })
  expect(positions(await all(stores.events.export()))).toEqual([1, 3, 4])
})

it('refuses to archive events that a subscription has not handled', async () => {
  await using stores = openStores()
  for (const id of ['a', 'b', 'a']) await append(stores, id)
  const checkpoint = { position: 2, storeId: undefined, eventId: undefined, fence: undefined }
  await stores.checkpoints.save('totals', checkpoint, undefined)

  await expect(stores.events.archive({ upTo: 3 })).rejects.toBeInstanceOf(PostgresArchiveError)
  // A misspelt target must not look like one without events.
  await expect(stores.events.archive({ upto: 3 } as never)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  await expect(stores.events.archive({ aggregateId: 'a', aggregateType: 'Note' })).rejects.toThrow('totals')
  expect(await stores.events.archive({ upTo: 2 })).toBe(2)
})

it('imports the export of another store, and repeats an interrupted import', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'eventspine-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await using source = new SqliteStores({ file: join(folder, 'source.db'), events: [Noted] })
  for (let index = 0; index < 50; index += 1) {
    const event = new Noted({
      aggregateId: `a${index % 7}`,
      n: index,
      text: 'tab\t "quoted" \\ \n\r',
      tenantId: 't',
    })
    await source.events.appendEvents({ ...event, events: [event], expectedVersion: 'any' })
  }
  await using target = openStores({ events: [Noted] })
  const half = (await all(source.events.export())).slice(0, 20)
  expect(await target.events.import(half)).toBe(20)
  expect(await target.events.import(source.events.export())).toBe(30)

  const [given, found] = [await all(source.events.export()), await all(target.events.readAll())]
  expect(found.map(({ event }) => JSON.stringify(event))).toEqual(
    given.map(({ event }) => JSON.stringify(event)),
  )
  expect(found.map(({ storedAt }) => storedAt)).toEqual(given.map(({ storedAt }) => storedAt))
  expect((await append(target, 'a0')).newVersion).toBe(9)
})

it('imports no event of a batch that the store refuses', async () => {
  await using stores = openStores()
  await append(stores, 'a')
  const clash = { event: noted('a'), position: 1, storedAt: new Date() }
  const other = { event: noted('b'), position: 2, storedAt: new Date() }

  await expect(stores.events.import([other, clash])).rejects.toMatchObject({ code: '23505' })
  expect((await stores.events.getEvents('b')).version).toBe(0)
})
