import { expect, it } from 'vitest'
import { HeldEntry } from '../../../src/redis/consuming/held-entry.ts'
import { RecordingOwner } from './entry-owner.ts'

function hold(leasedAt = performance.now()) {
  const owner = new RecordingOwner()
  const entry = new HeldEntry(owner, {
    entryId: '1-0',
    lease: undefined,
    message: { id: '1-0', key: 'a', headers: {}, body: '' },
    stream: {
      key: 'events:stream',
      deletesSettled: false,
      partition: 0,
      isOnly: true,
      lease: undefined,
    },
    attemptsStarted: 0,
    settledHandlers: [],
    leasedAt,
  })
  return { owner, entry }
}

it('starts while its lease is valid, and counts the attempt', () => {
  const { owner, entry } = hold()

  expect(entry.begin()).toBe(true)
  expect(entry).toMatchObject({ attemptsStarted: 1, isAttempting: true, isLost: false })
  expect(owner.calls).toEqual([])
})

it('does not start after its lease has expired', () => {
  const { owner, entry } = hold(performance.now() - 1000)

  expect(entry.begin()).toBe(false)
  expect(entry).toMatchObject({ attemptsStarted: 0, isLost: true })
  expect(owner.calls).toEqual(['onRefused 1-0'])
})

it('does not start while its owner blocks it', () => {
  const { owner, entry } = hold()
  owner.blocked = entry

  expect(entry.begin()).toBe(false)
  expect(entry).toMatchObject({ attemptsStarted: 0, isLost: false })
  expect(owner.calls).toEqual(['onRefused 1-0'])
})

it('records a failed attempt only if a handler has succeeded since the last record', async () => {
  const { owner, entry } = hold()
  entry.begin()

  await entry.attemptFailed(1, [])
  await entry.beginAttempt(2, [])
  await entry.attemptFailed(2, ['mail'])

  expect(owner.calls).toEqual(['recordAttempt 1-0 2 []', 'recordAttempt 1-0 2 [mail]'])
  expect(entry).toMatchObject({ isAttempting: false, settledSoFar: ['mail'], hasRetryState: true })
})

it('is acknowledged once', () => {
  const { owner, entry } = hold()

  entry.ack()
  entry.ack()

  expect(owner.calls).toEqual(['ack 1-0'])
})

it('does not attempt any longer if it may not wait in its line', async () => {
  const { owner, entry } = hold()
  entry.begin()
  owner.isCurrent = false

  expect(await entry.waitBehind('bill', 100)).toBeUndefined()
  expect(entry).toMatchObject({ isAttempting: false, attemptsStarted: 0 })
  expect(owner.calls).toEqual(['onRefused 1-0'])
})
