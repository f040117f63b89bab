import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import { GenericEvent } from '../../src/index.ts'
import { Noted } from '../../src/testing/conformance/events.ts'
import { testChangedRows } from '../store/changed-rows.ts'
import { appendTo, withFile } from './sqlite-scene.ts'

testChangedRows(async () => {
  const scene = withFile()
  const stores = scene.open({ events: [Noted] })
  await stores.ready()
  const db = new DatabaseSync(scene.file)
  return {
    stores,
    async change(column, value, position) {
      db.prepare(`update eventspine_events set ${column} = ? where position = ?`).run(value, position)
    },
    async [Symbol.asyncDispose]() {
      db.close()
      await scene[Symbol.asyncDispose]()
    },
  }
}, [
  ['payload', 'not JSON'],
  ['occurred_at', 'yesterday'],
  ['stored_at', 2n ** 62n],
  ['event_version', 2n ** 62n],
  ['event_type', 'x'.repeat(5_000_000)],
  ['aggregate_id', 'x'.repeat(5_000_000)],
])

const name = { aggregateId: 'a', aggregateType: 'Note', eventType: 'Large' }

it.each([
  ['too many fields', { data: Object.fromEntries(Array.from({ length: 100_001 }, (_, n) => [`k${n}`, 0])) }],
  ['too many values', { data: { all: Array.from({ length: 300_001 }, () => 0) } }],
  ['a type that is too long', { eventType: 'x'.repeat(4097), data: {} }],
])('refuses an event that it could not read again: %s', async (_what, part) => {
  await using scene = withFile()
  const stores = scene.open()
  const event = new GenericEvent({ ...name, ...part })

  await expect(appendTo(stores.events, event)).rejects.toMatchObject({
    code: 'EVENT_LIMIT_EXCEEDED',
    message: expect.stringContaining('was not stored'),
  })
  await expect(stores.transaction((tx) => tx.outbox.add([event]))).rejects.toMatchObject({
    code: 'EVENT_LIMIT_EXCEEDED',
  })
})

it('does not import an event that its store could not read', async () => {
  await using source = withFile()
  await using target = withFile()
  const stores = source.open()
  await appendTo(stores.events, new GenericEvent({ ...name, data: {} }))
  using db = new DatabaseSync(source.file)
  db.exec("update eventspine_events set payload = 'not JSON'")

  await expect(target.open().events.import(stores.events.export())).rejects.toMatchObject({
    code: 'STORED_EVENT_INVALID',
    isReadable: false,
  })
})
