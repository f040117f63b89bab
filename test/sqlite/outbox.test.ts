import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import { type FeedPage, handlerFor, JsonCodec } from '../../src/index.ts'
import { appendTo, Noted, withFile } from './sqlite-scene.ts'

it('adds to the outbox in a transaction of the caller, and refuses a connection without one', async () => {
  await using scene = withFile()
  const stores = scene.open()
  await stores.ready()
  const own = new DatabaseSync(scene.file)
  const note = new Noted({ aggregateId: 'a', n: 1 })

  const without = stores.within(own)
  await expect(without.outbox.add([note])).rejects.toMatchObject({ code: 'TRANSACTION_REQUIRED' })
  await expect(without.inbox.add('handler', note.eventId)).rejects.toThrow(/needs an open transaction/)
  own.exec('begin immediate')
  const tx = stores.within(own)
  await tx.outbox.add([note])
  expect(await tx.inbox.add('handler', note.eventId)).toBe(true)
  own.exec('commit')

  expect((await stores.outbox.readPage()).events.map(({ event }) => event.eventId)).toEqual([note.eventId])
  expect(await stores.inbox.has('handler', note.eventId)).toBe(true)
  own.close()
})

it('prunes old records by itself, although only inline projections record, in transactions of the stores', async () => {
  await using scene = withFile()
  const stores = scene.open({ inboxRetentionMs: 3_600_000 })
  await stores.ready()
  const own = new DatabaseSync(scene.file)
  const hoursAgo = Date.now() - 7_200_000
  own
    .prepare('insert into eventspine_inbox (handler, event_id, noted_at) values (?, ?, ?)')
    .run('h', 'old', hoursAgo)
  const projection = stores.projection({
    name: 'sums',
    inline: true,
    handlers: [handlerFor(Noted, async () => undefined)],
  })

  await stores.transaction((tx) =>
    appendTo(projection.inline(tx).events, new Noted({ aggregateId: 'a', n: 1 })),
  )

  const ids = () => own.prepare('select event_id from eventspine_inbox where event_id = ?').all('old')
  await expect.poll(ids).toEqual([])
  own.close()
})

it.each([
  ['node:sqlite', 'a'],
  ['node:sqlite', 'a\x1fb'],
  ['better-sqlite3', 'a'],
  ['better-sqlite3', 'a\x1fb'],
] as const)(
  '%s reads every field of an event of %j, in the outbox as in the feed',
  async (driver, aggregateId) => {
    await using scene = withFile()
    const stores = scene.open({ driver })
    const optional = { tenantId: 'ä "1"', actorId: '=b', causationId: 'c', metadata: { d: '=e' } }
    const events = [
      new Noted({ aggregateId, n: 1 }),
      new Noted({ aggregateId, n: 2, ...optional }),
      new Noted({ aggregateId, n: 3, occurredAt: new Date('2026-01-02T03:04:05.070Z') }),
    ]
    await stores.transaction((tx) => tx.outbox.add(events))
    const request = { aggregateId, aggregateType: 'Note', events, expectedVersion: 'noStream' as const }
    await stores.events.appendEvents(request)
    const codec = new JsonCodec()
    const written = ({ events: read }: FeedPage) =>
      read.map(({ event }) => ({ ...JSON.parse(codec.encode(event).body.toString()), aggregate_version: 0 }))
    const expected = events.map((event) => JSON.parse(codec.encode(event).body.toString()))

    for (const feed of [stores.outbox, stores.events]) {
      for (const undecoded of [false, true]) {
        const page = await feed.readPage({ undecoded })
        expect(written(page)).toEqual(expected.map((body) => ({ ...body, aggregate_version: 0 })))
        expect(page.events.map(({ position }) => position)).toEqual([1, 2, 3])
        expect(page.events.every(({ storedAt }) => Date.now() - storedAt.getTime() < 600_000)).toBe(true)
      }
      expect(await feed.readPage({ maxBytes: 10 })).toMatchObject({ isCut: true, events: { length: 2 } })
    }
  },
)
