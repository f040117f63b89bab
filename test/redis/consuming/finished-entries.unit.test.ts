import { expect, it } from 'vitest'
import { FinishedEntries } from '../../../src/redis/consuming/finished-entries.ts'
import { HeldEntries } from '../../../src/redis/consuming/held-entries.ts'
import { RecordingOwner } from './entry-owner.ts'

const stream = { key: 'events:stream', deletesSettled: false, partition: 0, isOnly: true, lease: undefined }

function entry(id: string) {
  const held = new HeldEntries(new RecordingOwner(), 1000).hold(stream, {
    entry: { id, fields: ['aggregate_id', 'a', 'payload', '{}'], isPartial: false },
    lease: undefined,
    attemptsStarted: 0,
    settledHandlers: [],
    leasedAt: 0,
  })
  if (held === undefined) throw new Error('expected an entry')
  return held
}

it('returns an entry once', () => {
  const finished = new FinishedEntries()
  finished.add(entry('1-0'))

  expect(['1-0', '1-0', '2-0'].map((id) => finished.take(entry(id)))).toEqual([true, false, false])
})

it('forgets what the server assigns as new, as after a reset of the group', () => {
  const finished = new FinishedEntries()
  finished.add(entry('1-0'))
  finished.add(entry('2-0'))

  finished.assignedAsNew(stream, ['1-0'])

  expect(['1-0', '2-0'].map((id) => finished.take(entry(id)))).toEqual([false, true])
})

it('keeps the last 10,000 entries', () => {
  const finished = new FinishedEntries()
  for (let n = 0; n <= 10_000; n += 1) finished.add(entry(`${n}-0`))

  expect(['0-0', '1-0', '10000-0'].map((id) => finished.take(entry(id)))).toEqual([false, true, true])
})
