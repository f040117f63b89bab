import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import { handlerFor } from '../../src/index.ts'
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
