import assert from 'node:assert/strict'
import { type DomainEvent, GenericEvent } from '../../index.ts'
import type {
  ParkedEvent,
  ParkedEventFilter,
  SubscriptionDeadLetterStore,
} from '../../subscriptions/index.ts'
import { Noted, noted } from './stored-events.ts'
import { storesTest } from './stores-under-test.ts'

function parked(
  subscription: string,
  position: number,
  event: DomainEvent = noted('a', position),
): ParkedEvent {
  return {
    subscription,
    position,
    event,
    handlerNames: ['first handler', 'zweiter "Handler"'],
    errorName: 'TypeError',
    errorMessage: "cannot read 'x' of undefined",
    attempts: 4,
    firstFailedAt: new Date('2026-01-02T03:04:05.678Z'),
    failedAt: new Date('2026-01-02T04:04:05.678Z'),
  }
}

async function keysOf(
  deadLetters: SubscriptionDeadLetterStore,
  filter?: ParkedEventFilter,
): Promise<readonly string[]> {
  return (await deadLetters.list(filter)).map(({ subscription, position }) => `${subscription} ${position}`)
}

/** Events that subscriptions have dead-lettered. */
export const parkedEventTests = [
  storesTest('returns a parked event unchanged', async ({ stores, other }) => {
    const added = parked('sums', 3)
    await stores.deadLetters.add(added)

    const [found] = await other.deadLetters.list()
    assert.ok(found?.event instanceof Noted)
    assert.deepEqual({ ...found, event: { ...found.event } }, { ...added, event: { ...added.event } })
  }),

  storesTest('returns the stack of an error, and none if there was none', async ({ stores, other }) => {
    const errorStack = 'TypeError: é…🎉\n    at one (file.ts:1:2)\n    at two'
    await stores.deadLetters.add({ ...parked('sums', 1), errorStack })
    await stores.deadLetters.add({ ...parked('sums', 2), errorStack: undefined })
    await stores.deadLetters.add({ ...parked('sums', 3), errorStack })
    await stores.deadLetters.add(parked('sums', 3))

    const found = await other.deadLetters.list()
    assert.deepEqual(
      found.map((one) => one.errorStack),
      [errorStack, undefined, undefined],
    )
  }),

  storesTest('keeps an event whose class is unknown', async ({ stores, other }) => {
    const data = { text: 'é…🎉', serial: 12_345_678_901_234_567_890n, nested: [{ n: 1.5 }, null] }
    const event = new GenericEvent({ aggregateId: 'x', aggregateType: 'Unknown', eventType: 'Unheard', data })
    await stores.deadLetters.add(parked('sums', 3, event))

    const [found] = await other.deadLetters.list()
    assert.ok(found?.event instanceof GenericEvent)
    assert.deepEqual({ ...found.event }, { ...event })
  }),

  storesTest(
    'lists by subscription and position, in pages, and counts',
    async ({ stores: { deadLetters } }) => {
      for (const [subscription, position] of [
        ['b', 2],
        ['a', 10],
        ['b', 1],
        ['a', 9],
        ['B', 5],
      ] as const) {
        await deadLetters.add(parked(subscription, position))
      }

      const all = ['B 5', 'a 9', 'a 10', 'b 1', 'b 2']
      assert.deepEqual(await keysOf(deadLetters), all)
      const counts = [...(await deadLetters.counts())].toSorted(([a], [b]) => (a < b ? -1 : 1))
      assert.deepEqual(counts, [
        ['B', 1],
        ['a', 2],
        ['b', 2],
      ])
      assert.deepEqual(await keysOf(deadLetters, { subscription: 'a' }), ['a 9', 'a 10'])
      assert.deepEqual(await keysOf(deadLetters, { subscription: 'nobody' }), [])
      const pages: string[] = []
      for (let after: ParkedEvent | undefined; ; ) {
        const page = await deadLetters.list({ after, limit: 2 })
        pages.push(...page.map(({ subscription, position }) => `${subscription} ${position}`))
        after = page.at(-1)
        if (after === undefined) break
      }
      assert.deepEqual(pages, all)
      assert.deepEqual(await keysOf(deadLetters, { subscription: 'b', after: parked('b', 1) }), ['b 2'])
    },
  ),

  storesTest('replaces the event at a position', async ({ stores: { deadLetters } }) => {
    await deadLetters.add(parked('sums', 3))
    await deadLetters.add({ ...parked('sums', 3), attempts: 8, handlerNames: [] })

    const [found, ...others] = await deadLetters.list()
    assert.deepEqual([found?.attempts, found?.handlerNames, others], [8, [], []])
  }),

  storesTest('removes a parked event once', async ({ stores, other }) => {
    await stores.deadLetters.add(parked('sums', 3))
    await stores.deadLetters.add(parked('sums', 4))

    assert.equal(await other.deadLetters.remove('sums', 3), true)
    assert.equal(await stores.deadLetters.remove('sums', 3), false)
    assert.equal(await stores.deadLetters.remove('others', 4), false)
    assert.deepEqual(await keysOf(stores.deadLetters), ['sums 4'])
  }),

  storesTest('prunes events that failed before a time', async ({ stores: { deadLetters } }) => {
    const times = ['2026-01-01', '2026-01-02', '2026-01-03'].map((day) => new Date(`${day}T00:00:00Z`))
    for (const [index, failedAt] of times.entries()) {
      await deadLetters.add({ ...parked('sums', index + 1), failedAt })
    }

    assert.equal(await deadLetters.prune(new Date('2026-01-02T00:00:00Z')), 1)
    assert.deepEqual(await keysOf(deadLetters), ['sums 2', 'sums 3'])
    assert.equal(await deadLetters.prune(new Date('2026-01-02T00:00:00Z')), 0)
  }),
]
