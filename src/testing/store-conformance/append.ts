import assert from 'node:assert/strict'
import {
  DuplicateEventError,
  type EventStore,
  EventStreamMismatchError,
  type ExpectedVersion,
  OptimisticLockError,
} from '../../store/index.ts'
import { storeTest } from './store-under-test.ts'
import { append, Filed, idsOf, noted, positionsOf, readAll, refusal } from './stored-events.ts'

async function assertHolds(store: EventStore, count: number): Promise<void> {
  assert.equal((await readAll(store)).length, count, 'events in the store')
}

/** Appending: expected versions, event ids and streams. */
export const appendTests = [
  storeTest('returns the new version and the last position', async ({ store }) => {
    const first = await append(store, [noted('a', 0), noted('a', 1)], 0)
    const second = await append(store, [noted('b', 0)], 'noStream')
    const third = await append(store, [noted('a', 2)], 2)

    assert.deepEqual([first.newVersion, second.newVersion, third.newVersion], [2, 1, 3])
    const positions = positionsOf(await readAll(store))
    assert.deepEqual(
      [first, second, third].map(({ globalPosition }) => globalPosition),
      positions.slice(1),
    )
    assert.ok(positions.every((position) => Number.isSafeInteger(position) && position >= 1))
  }),

  storeTest('assigns the versions of a stream itself', async ({ store }) => {
    await append(store, [noted('a'), noted('a')])
    await append(store, [noted('a')])

    const { events } = await store.getEvents('a')
    assert.deepEqual(
      events.map(({ aggregateVersion }) => aggregateVersion),
      [1, 2, 3],
    )
  }),

  storeTest('appends only if the stream has the expected version', async ({ store }) => {
    const refused: [ExpectedVersion, number][] = [
      [1, 0],
      ['streamExists', 0],
    ]
    for (const [expected, actual] of refused) await assertRefused(store, expected, actual)
    await append(store, [noted('a')], 'noStream')
    for (const expected of ['noStream', 0, 2, 5] as const) await assertRefused(store, expected, 1)
    await append(store, [noted('a')], 'streamExists')
    await append(store, [noted('a')], 'any')
    await append(store, [noted('a')], 3)
    await assertHolds(store, 4)
  }),

  storeTest('writes all events of an append, or none', async ({ store }) => {
    const known = noted('other')
    await append(store, [known])

    await refusal(append(store, [noted('a', 0), noted('a', 1), noted('a', 2)], 7))
    await refusal(
      store.appendEvents({
        aggregateId: 'a',
        aggregateType: 'Note',
        events: [noted('a', 0), noted('b', 1)],
        expectedVersion: 0,
      }),
    )

    await assertHolds(store, 1)
    assert.equal((await store.getEvents('a')).version, 0)
  }),

  storeTest('returns the first result for a repeated append, and adds nothing', async ({ store }) => {
    for (const [index, expected] of ([0, 'noStream', 'any'] as const).entries()) {
      const events = [noted(`a${index}`, 0), noted(`a${index}`, 1)]
      const first = await append(store, events, expected)
      await append(store, [noted(`a${index}`, 2)])

      assert.deepEqual(await append(store, events, expected), first, `expected version ${expected}`)
    }
    const last = [noted('a0', 3)]
    const first = await append(store, last, 'streamExists')
    assert.deepEqual(await append(store, last, 'streamExists'), first)
    await assertHolds(store, 10)
  }),

  storeTest('writes the rest of an append whose first events are stored already', async ({ store }) => {
    const [first, second, third] = [noted('a', 0), noted('a', 1), noted('a', 2)]
    await append(store, [first, second], 0)

    const { newVersion } = await append(store, [first, second, third], 0)

    assert.equal(newVersion, 3)
    const { events } = await store.getEvents('a')
    assert.deepEqual(
      events.map(({ eventId }) => eventId),
      [first, second, third].map(({ eventId }) => eventId),
    )
    await append(store, [noted('a', 4)])
    const late = await refusal(append(store, [first, second, third, noted('a', 5)], 0))
    assert.ok(late instanceof OptimisticLockError, String(late))
  }),

  storeTest('refuses an event id that another event has', async ({ store }) => {
    const stored = noted('a', 0)
    await append(store, [stored, noted('a', 1)])
    const { eventId } = stored
    const uses = [
      [noted('b', 0, eventId), 0],
      [new Filed({ aggregateId: 'a', n: 0, eventId }), 0],
      [noted('a', 99, eventId), 0],
      [noted('a', 0, eventId), 2],
    ] as const

    for (const [event, expected] of uses) {
      const error = await refusal(append(store, [event], expected))
      assert.ok(error instanceof DuplicateEventError, String(error))
      assert.equal(error.eventId, eventId)
    }
    const fresh = noted('b', 0)
    assert.ok((await refusal(append(store, [fresh, fresh]))) instanceof DuplicateEventError)
    assert.ok((await refusal(append(store, [noted('a', 7), stored]))) instanceof DuplicateEventError)
    await assertHolds(store, 2)
  }),

  storeTest('refuses an event of another aggregate', async ({ store }) => {
    const stream = { aggregateId: 'a', aggregateType: 'Note', expectedVersion: 'any' as const }
    const strangers = [noted('b'), new Filed({ aggregateId: 'a', n: 0 })]

    for (const event of strangers) {
      const error = await refusal(store.appendEvents({ ...stream, events: [event] }))
      assert.ok(error instanceof EventStreamMismatchError, String(error))
    }
    await assertHolds(store, 0)
  }),

  storeTest('only checks the version for an empty append', async ({ store }) => {
    assert.deepEqual(await append(store, []), { newVersion: 0, globalPosition: 0 })
    const { globalPosition } = await append(store, [noted('a')])

    assert.deepEqual(await append(store, [], 1), { newVersion: 1, globalPosition })
    assert.ok((await refusal(append(store, [], 0))) instanceof OptimisticLockError)
  }),

  storeTest('notifies its listeners when the events can be read', async ({ store }) => {
    const heads: Promise<number>[] = []
    const end = store.onAppend(() => heads.push(store.headPosition()))
    const { globalPosition } = await append(store, [noted('a'), noted('a')])

    assert.ok(heads.length >= 1, 'no listener was called')
    assert.equal(await heads.at(-1), globalPosition)
    const before = heads.length
    end()
    await append(store, [noted('a')])
    assert.equal(heads.length, before)
  }),

  storeTest('keeps streams with the same id and different aggregate types apart', async ({ store }) => {
    const [note, file] = [noted('a'), new Filed({ aggregateId: 'a', n: 0 })]
    await append(store, [note], 0)
    await append(store, [file], 0)

    const stream = await store.getEvents('a', { aggregateType: 'File' })
    assert.deepEqual(
      [stream.version, stream.aggregateType, stream.events[0]?.eventId],
      [1, 'File', file.eventId],
    )
    assert.deepEqual(idsOf(await readAll(store)), [note.eventId, file.eventId])
    await assert.rejects(store.getEvents('a'), { code: 'STREAM_AMBIGUOUS' })
  }),
]

async function assertRefused(store: EventStore, expected: ExpectedVersion, actual: number): Promise<void> {
  const error = await refusal(append(store, [noted('a')], expected))
  assert.ok(error instanceof OptimisticLockError, String(error))
  const { aggregateId, aggregateType, expectedVersion, actualVersion } = error
  assert.deepEqual(
    [aggregateId, aggregateType, expectedVersion, actualVersion],
    ['a', 'Note', expected, actual],
  )
}
