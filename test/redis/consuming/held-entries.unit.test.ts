import { expect, it } from 'vitest'
import { HeldEntries } from '../../../src/redis/consuming/held-entries.ts'
import { RecordingOwner } from './entry-owner.ts'

const events = {
  key: 'events:stream',
  deletesSettled: false,
  partition: 0,
  isOnly: true,
  lease: undefined,
}
const replays = {
  key: 'events:stream:replay:billing',
  deletesSettled: true,
  partition: 0,
  isOnly: true,
  lease: undefined,
}
const owned = {
  entry: { id: '1-0', fields: ['aggregate_id', 'a', 'payload', '{}'], isPartial: false },
  lease: undefined,
  attemptsStarted: 0,
  settledHandlers: [],
  leasedAt: 0,
}

it('holds an entry once if a recreated group delivers it twice', () => {
  const held = new HeldEntries(new RecordingOwner(), 1000)
  const first = held.hold(events, owned)

  expect(held.hold(events, owned)).toBeUndefined()
  expect([...held]).toEqual([first])
})

it('keeps entries of the two streams apart if they have the same id', () => {
  const held = new HeldEntries(new RecordingOwner(), 1000)
  const event = held.hold(events, owned)
  const replay = held.hold(replays, owned)
  if (event === undefined || replay === undefined) throw new Error('expected two entries')

  held.drop(event, 'acknowledged')

  expect([...held]).toEqual([replay])
  expect([held.has(events, '1-0'), held.has(replays, '1-0')]).toEqual([false, true])
})

it('reports the end of an entry, and that there is room', async () => {
  const held = new HeldEntries(new RecordingOwner(), 1000)
  const entry = held.hold(events, owned)
  if (entry === undefined) throw new Error('expected an entry')
  const ends: string[] = []
  entry.onEnd = (end) => ends.push(end)
  const dropped = held.whenDropped()

  held.drop(entry, 'deadLettered')
  await dropped

  expect([held.size, ends]).toEqual([0, ['deadLettered']])
})

it('replaces a refused entry by a new delivery with the same attempts and handlers', () => {
  const held = new HeldEntries(new RecordingOwner(), 1000)
  const refused = held.hold(events, { ...owned, attemptsStarted: 1 })
  if (refused === undefined) throw new Error('expected an entry')
  refused.settledSoFar = ['mail']
  refused.isLost = true

  const replacement = held.replace(refused)

  expect([...held]).toEqual([replacement])
  expect(replacement).toMatchObject({ deliveryCount: 2, settledHandlers: ['mail'], isLost: false })
})
