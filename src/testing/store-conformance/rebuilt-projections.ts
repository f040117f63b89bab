import assert from 'node:assert/strict'
import { defineEvent, handlerFor, replaceEvent, type Stores, type StoreTransaction } from '../../index.ts'
import {
  addEffect,
  countEffect,
  effects,
  file,
  type Handle,
  managerOf,
  numbers,
  start,
} from './projection-scene.ts'
import { appendTo, Filed, noted, refusal } from './stored-events.ts'
import { storesTest } from './stores-under-test.ts'

class Opened extends defineEvent<{ readonly n: number }>()({
  type: 'ConformanceOpened',
  aggregateType: 'File',
}) {}

class Labeled extends defineEvent<{ readonly n: number }>()({
  type: 'ConformanceLabeled',
  aggregateType: 'File',
}) {}

/** A projection named `sums` that counts effects in a stream of its own. Its readers switch by an event in `readers`. */
function successor(stores: Stores, { handle = inSecond, switchReaders = switchToSecond } = {}) {
  return stores.projection({ name: 'sums', handlers: [handlerFor(Filed, handle)], switchReaders })
}

const inSecond: Handle = async ({ n }, { tx }) => void (await addEffect(tx, n, 'second'))

const switchToSecond = async (tx: StoreTransaction): Promise<void> =>
  void (await appendTo(tx.events, noted('readers', 2)))

const readers = async ({ events }: Stores) => (await events.getEvents('readers')).version

/** Projections that are filled again while another one serves the readers, and events that replace stored ones. */
export const rebuiltProjectionTests = [
  storesTest(
    'fills another projection, and switches the readers when it has all events',
    async ({ stores, other }) => {
      await using manager = start(stores)
      await manager.whenProcessed(await file(stores, 0, 10), 'sums')
      const inside: (readonly (number | undefined)[])[] = []
      const switchReaders = async (tx: StoreTransaction) => {
        await switchToSecond(tx)
        const [own, shared] = [await tx.checkpoints.load('sums'), await other.checkpoints.load('sums')]
        inside.push([own?.position, shared?.position])
      }
      const reached = Promise.withResolvers<void>()
      const handle: Handle = async (event, context) => {
        await inSecond(event, context)
        if (event.n === 5) reached.resolve()
      }
      const rebuilding = manager.rebuild('sums', { into: successor(stores, { handle, switchReaders }) })
      await reached.promise
      const last = await file(other, 10, 15)
      const { position } = await rebuilding
      assert.equal(await readers(other), 1)
      assert.equal(inside.length, 1)
      assert.equal(inside[0]?.[0], position)
      assert.ok(Number(inside[0]?.[1]) <= position)

      await manager.whenProcessed(last, 'sums')
      const ofOld = await effects(other)
      assert.deepEqual(ofOld, numbers(ofOld.length))
      assert.deepEqual(await effects(other, 'second'), numbers(15))
      await manager.whenProcessed(await file(stores, 15, 20), 'sums')
      assert.deepEqual(await effects(other, 'second'), numbers(20))
      assert.deepEqual(await effects(other), ofOld)
    },
  ),

  storesTest('keeps the current projection if the switch fails', async ({ stores, other }) => {
    await using manager = start(stores)
    await manager.whenProcessed(await file(stores, 0, 5), 'sums')
    const switchReaders = async (tx: StoreTransaction) => {
      await switchToSecond(tx)
      throw new Error('planned')
    }
    const rebuilding = manager.rebuild('sums', { into: successor(stores, { switchReaders }) })
    assert.match(String(await refusal(rebuilding)), /planned/)
    assert.equal(await readers(other), 0)
    await manager.whenProcessed(await file(stores, 5, 8), 'sums')
    assert.deepEqual(await effects(other), numbers(8))
    assert.deepEqual(await effects(other, 'second'), numbers(5))
  }),

  storesTest(
    'has one effect for each event in the new projection over failures of its handler',
    async ({ stores, other }) => {
      await using manager = start(stores)
      await manager.whenProcessed(await file(stores, 0, 10), 'sums')
      let failures = 0
      const handle: Handle = async (event, context) => {
        await inSecond(event, context)
        failures += 1
        if (failures % 3 === 0) throw new Error('planned')
      }
      await manager.rebuild('sums', { into: successor(stores, { handle }) })
      assert.ok(failures > 10)
      assert.deepEqual(await effects(other, 'second'), numbers(10))
    },
  ),

  storesTest('lets one of two rebuilds at once take the place', async ({ stores, other }) => {
    await using manager = start(stores)
    await manager.whenProcessed(await file(stores, 0, 10), 'sums')
    const started = Promise.withResolvers<void>()
    const handle: Handle = async (event, context) => {
      started.resolve()
      await context.tx.checkpoints.load('sums')
      await inSecond(event, context)
    }
    const first = manager.rebuild('sums', { into: successor(stores, { handle }) }).then(
      () => 1,
      () => 0,
    )
    await started.promise
    const second = manager.rebuild('sums', { into: successor(stores) }).then(
      () => 1,
      () => 0,
    )
    const wins = (await first) + (await second)
    assert.ok(wins >= 1)
    assert.equal(await readers(other), wins)
    await manager.whenProcessed(await file(stores, 10, 12), 'sums')
    assert.deepEqual((await effects(other, 'second')).slice(-2), [10, 11])
  }),

  storesTest(
    'replaces the dead-lettered events with those of the new projection',
    async ({ stores, other }) => {
      let isFixed = false
      const failAt = (bad: number, handle: Handle): Handle => {
        return async (event, context) => {
          await handle(event, context)
          if (event.n === bad && !isFixed) throw new Error('planned')
        }
      }
      const options = { maxRetries: 0, onFailure: 'deadLetter' } as const
      await using manager = start(stores, failAt(1, countEffect), {}, options)
      await manager.whenProcessed(await file(stores, 0, 5), 'sums')
      await manager.rebuild('sums', { into: successor(stores, { handle: failAt(3, inSecond) }) })
      const parked = await other.deadLetters.list()
      assert.deepEqual(
        parked.map(({ subscription, event }) => [subscription, event instanceof Filed && event.n]),
        [['sums', 3]],
      )

      isFixed = true
      assert.deepEqual(await manager.replayParked('sums'), { replayed: 1, failed: [] })
      assert.deepEqual(await effects(other, 'second'), [0, 1, 2, 4, 3])
      assert.deepEqual(await effects(other), [0, 2, 3, 4])
    },
  ),

  storesTest('removes dead-lettered events when it handles all events again', async ({ stores, other }) => {
    let [model, isFixed] = ['first', false]
    const handle: Handle = async ({ n }, { tx }) => {
      await addEffect(tx, n, model)
      if (n === 1 && !isFixed) throw new Error('planned')
    }
    const reset = () => {
      ;[model, isFixed] = ['again', true]
    }
    await using manager = start(stores, handle, { reset }, { maxRetries: 0, onFailure: 'deadLetter' })
    await manager.whenProcessed(await file(stores, 0, 3), 'sums')
    assert.equal((await other.deadLetters.list()).length, 1)
    await manager.rebuild('sums')
    assert.deepEqual(await manager.replayParked('sums'), { replayed: 0, failed: [] })
    assert.deepEqual(await effects(other, 'again'), numbers(3))
  }),

  storesTest('handles the events that replace a stored one in one transaction', async ({ stores, other }) => {
    const replacements = [
      replaceEvent(Filed, [Opened, Labeled], ({ n }, create) => [
        create(Opened, { n }),
        create(Labeled, { n: n + 100 }),
      ]),
    ]
    await using manager = managerOf(stores, { replacements })
    let isFixed = false
    const handlers = [
      handlerFor([Opened, Labeled], async ({ n }, { tx }: Parameters<Handle>[1]) => {
        await addEffect(tx, n)
        if (n === 102 && !isFixed) throw new Error('planned')
      }),
    ]
    const options = { maxRetries: 0, onFailure: 'deadLetter', retryBaseDelayMs: 5 } as const
    manager.subscribe(stores.projection({ name: 'sums', handlers }), options)
    manager.start()
    await manager.whenProcessed(await file(stores, 0, 4), 'sums')
    assert.deepEqual(await effects(other), [0, 100, 1, 101, 3, 103])

    isFixed = true
    assert.equal((await manager.replayParked('sums')).replayed, 1)
    assert.deepEqual((await effects(other)).slice(-2), [2, 102])
    await manager.stop()
    // The saved id is that of the stored event.
    manager.start()
    await manager.whenProcessed(await file(stores, 4, 5), 'sums')
    assert.deepEqual((await effects(other)).slice(-2), [4, 104])
  }),

  storesTest('refuses to rebuild an inline projection', async ({ stores }) => {
    await using manager = start(stores, countEffect, { inline: true })
    await manager.whenCaughtUp('sums')
    assert.match(String(await refusal(manager.rebuild('sums'))), /handled inline/)
    assert.match(
      String(await refusal(manager.rebuild('sums', { into: successor(stores) }))),
      /handled inline/,
    )
  }),
]

/** Projections in the transaction that appends the events. */
export const inlineProjectionTests = [
  storesTest('has the effects of an append in its transaction', async ({ stores, other }) => {
    const versions: number[] = []
    const projection = stores.projection({
      name: 'sums',
      inline: true,
      handlers: [
        handlerFor(Filed, async (event, context: Parameters<Handle>[1]) => {
          versions.push(event.aggregateVersion)
          await countEffect(event, context)
        }),
      ],
    })
    for (let n = 0; n < 3; n += 1) {
      await stores.transaction(async (tx) => {
        await appendTo(projection.inline(tx).events, new Filed({ aggregateId: 'f', n }))
        assert.equal((await tx.events.getEvents('effects')).version, n + 1)
        assert.deepEqual(await effects(other), numbers(n))
      })
      assert.deepEqual(await effects(other), numbers(n + 1))
    }
    assert.deepEqual(versions, [1, 2, 3])
  }),

  storesTest('has no effect of an append that is rolled back', async ({ stores, other }) => {
    const projection = stores.projection({
      name: 'sums',
      inline: true,
      handlers: [handlerFor(Filed, countEffect)],
    })
    const event = new Filed({ aggregateId: 'f', n: 0 })
    const failing = stores.transaction(async (tx) => {
      await appendTo(projection.inline(tx).events, event)
      throw new Error('planned')
    })
    assert.match(String(await refusal(failing)), /planned/)
    assert.deepEqual(await effects(other), [])
    await stores.transaction((tx) => appendTo(projection.inline(tx).events, event))
    assert.deepEqual(await effects(other), [0])
  }),

  storesTest('has no effect of an append that is repeated', async ({ stores, other }) => {
    const projection = stores.projection({
      name: 'sums',
      inline: true,
      handlers: [handlerFor(Filed, countEffect)],
    })
    const event = new Filed({ aggregateId: 'f', n: 0 })
    for (const each of [stores, other, stores])
      await each.transaction((tx) => appendTo(projection.inline(tx).events, event, 'noStream'))
    assert.deepEqual(await effects(other), [0])
  }),

  storesTest(
    'handles each event once, inline or in the subscription of the same name',
    async ({ stores, other }) => {
      const projection = other.projection({
        name: 'sums',
        inline: true,
        handlers: [handlerFor(Filed, countEffect)],
      })
      await file(other, 0, 3)
      await using manager = start(stores, countEffect, { inline: true })
      for (let n = 3; n < 23; n += 1) {
        const event = new Filed({ aggregateId: `f${n % 3}`, n })
        // Every second event comes from a program without the projection.
        if (n % 2 === 0) await appendTo(other.events, event)
        else await other.transaction((tx) => appendTo(projection.inline(tx).events, event))
      }
      await manager.whenCaughtUp('sums')
      assert.deepEqual(
        (await effects(other)).toSorted((a, b) => a - b),
        numbers(23),
      )
    },
  ),

  storesTest('refuses inline(tx) without the option', async ({ stores }) => {
    const projection = stores.projection({ name: 'sums', handlers: [handlerFor(Filed, countEffect)] })
    const refused = stores.transaction(async (tx) => projection.inline(tx))
    assert.match(String(await refusal(refused)), /requires the option inline/)
  }),
]
