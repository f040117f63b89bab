import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import { Noted, withFile } from './sqlite-scene.ts'

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
