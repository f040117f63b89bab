import assert from 'node:assert/strict'
import { handlerFor, type StoreTransaction } from '../../index.ts'
import { waitFor } from '../wait-for.ts'
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
import { appendTo, Filed, refusal } from './stored-events.ts'
import { storesTest } from './stores-under-test.ts'

/** Projections whose checkpoint is in the transaction of their handlers. */
export const projectionTests = [
  storesTest('moves the checkpoint in the transaction of the handlers', async ({ stores, other }) => {
    const inside: (readonly [handled: number, inside: number | undefined, outside: number | undefined])[] = []
    await using manager = start(stores, async (event, context) => {
      await countEffect(event, context)
      const [own, shared] = [context.tx.checkpoints, other.checkpoints]
      const positions = [await own.load('sums'), await shared.load('sums')].map((found) => found?.position)
      inside.push([Number(context.messageId), positions[0], positions[1]])
    })
    const last = await file(stores, 0, 5)
    await manager.whenProcessed(last, 'sums')

    assert.deepEqual(await effects(other), numbers(5))
    for (const [handled, own, shared = 0] of inside) {
      assert.equal(own, handled)
      assert.ok(shared < handled, 'the checkpoint was moved outside of the transaction')
    }
    assert.ok(Number((await other.checkpoints.load('sums'))?.position) >= last)
  }),

  storesTest(
    'rolls back the writes and the checkpoint of a handler that fails',
    async ({ stores, other }) => {
      let failures = 0
      await using manager = start(stores, async (event, context) => {
        await countEffect(event, context)
        if (event.n !== 2 || failures === 2) return
        failures += 1
        throw new Error('planned')
      })
      await manager.whenProcessed(await file(stores, 0, 5), 'sums')

      assert.equal(failures, 2)
      assert.deepEqual(await effects(other), numbers(5))
    },
  ),

  storesTest(
    'has one effect for each event though two instances run it at once',
    async ({ stores, other }) => {
      await file(stores, 0, 20)
      const managers = [start(stores), start(other)]
      try {
        await waitFor(
          async () => {
            // An instance whose checkpoint was moved by the other one stops.
            for (const manager of managers) manager.start()
            return (await effects(other)).length >= 20
          },
          { timeoutMs: 20_000, intervalMs: 20, describe: 'an effect of each event' },
        )
      } finally {
        for (const manager of managers) await manager.stop()
      }

      assert.deepEqual(await effects(other), numbers(20))
    },
  ),

  storesTest('goes on after a stop without the effects of what was handled', async ({ stores, other }) => {
    await file(stores, 0, 3)
    {
      await using manager = start(stores)
      await manager.whenCaughtUp('sums')
    }
    await file(stores, 3, 6)
    await using manager = start(other)
    await manager.whenCaughtUp('sums')

    assert.deepEqual(await effects(other), numbers(6))
  }),

  storesTest('parks an event, and handles it once when it is replayed', async ({ stores, other }) => {
    let isFixed = false
    const handle: Handle = async (event, context) => {
      await countEffect(event, context)
      if (event.n === 1 && !isFixed) throw new Error('planned')
    }
    await using manager = start(stores, handle, {}, { maxRetries: 0, onFailure: 'deadLetter' })
    await manager.whenProcessed(await file(stores, 0, 4), 'sums')
    assert.deepEqual(await effects(other), [0, 2, 3])
    assert.equal((await other.deadLetters.list()).length, 1)

    isFixed = true
    assert.deepEqual(await manager.replayParked('sums'), { replayed: 1, failed: [] })
    assert.deepEqual(await manager.replayParked('sums'), { replayed: 0, failed: [] })
    assert.deepEqual(await effects(other), [0, 2, 3, 1])
    assert.deepEqual(await other.deadLetters.list(), [])
  }),

  storesTest(
    'handles a batch in one transaction, and its events alone if it fails',
    async ({ stores, other }) => {
      await file(stores, 0, 10)
      const transactions = new Set<object>()
      let isFixed = true
      const handle: Handle = async (event, context) => {
        transactions.add(context.tx)
        await countEffect(event, context)
        if (event.n === 13 && !isFixed) throw new Error('planned')
      }
      const options = { maxRetries: 1, onFailure: 'deadLetter' } as const
      {
        await using manager = start(stores, handle, { transactionPer: 'batch' }, options)
        await manager.whenCaughtUp('sums')
      }
      assert.equal(transactions.size, 1)
      assert.deepEqual(await effects(other), numbers(10))

      isFixed = false
      await file(stores, 10, 16)
      await using manager = start(stores, handle, { transactionPer: 'batch' }, options)
      await manager.whenCaughtUp('sums')
      assert.deepEqual(
        await effects(other),
        numbers(16).filter((n) => n !== 13),
      )
      assert.equal((await other.deadLetters.list()).length, 1)
    },
  ),

  storesTest('resets the read model together with the checkpoint', async ({ stores, other }) => {
    let [model, isBroken] = ['first', true]
    const handle: Handle = async ({ n }, { tx }) => void (await addEffect(tx, n, model))
    const reset = async (tx: StoreTransaction) => {
      await addEffect(tx, 100, 'resets')
      if (isBroken) throw new Error('planned')
      model = 'second'
    }
    await using manager = start(stores, handle, { reset })
    await manager.whenProcessed(await file(stores, 0, 4), 'sums')
    assert.match(String(await refusal(manager.rebuild('sums'))), /planned/)
    isBroken = false
    manager.start()
    await manager.whenProcessed(await file(stores, 4, 5), 'sums')
    assert.deepEqual(await effects(other, 'first'), numbers(5))

    await manager.rebuild('sums')
    assert.deepEqual(await effects(other, 'second'), numbers(5))
    assert.deepEqual([await effects(other, 'first'), await effects(other, 'resets')], [numbers(5), [100]])
  }),

  storesTest(
    'has caught up only with the stored events that an open append holds back, too',
    async ({ stores, other }) => {
      await using manager = start(stores)
      const [isOpen, mayCommit] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const holding = other.transaction(async (tx) => {
        await appendTo(tx.events, new Filed({ aggregateId: 'held', n: 0 }))
        isOpen.resolve()
        await mayCommit.promise
      })
      await isOpen.promise
      await appendTo(other.events, new Filed({ aggregateId: 'late', n: 1 }))
      let isCaughtUp = false
      const caughtUp = manager.whenCaughtUp('sums').then(() => {
        isCaughtUp = true
      })
      for (let reads = 0; reads < 3; reads += 1) await stores.events.headPosition()
      const wasCaughtUp = isCaughtUp
      mayCommit.resolve()
      await holding
      assert.equal(wasCaughtUp, false, 'whenCaughtUp has resolved while a stored event was held back')
      await caughtUp
      assert.deepEqual((await effects(other)).toSorted(), [0, 1])
    },
    ['concurrentTransactions'],
  ),

  storesTest('lets a process without the subscription wait for an effect', async ({ stores, other }) => {
    await using manager = start(stores)
    await manager.whenProcessed(await file(stores, 0, 1), 'sums')
    const elsewhere = managerOf(other)
    for (let n = 1; n < 4; n += 1) {
      await elsewhere.whenProcessed(await file(other, n, n + 1), 'sums')
      assert.deepEqual(await effects(other), numbers(n + 1))
    }

    const unknown = await refusal(elsewhere.whenProcessed(1, 'no such subscription'))
    assert.equal(Reflect.get(Object(unknown), 'code'), 'SUBSCRIPTION_NOT_FOUND', String(unknown))
    const head = await other.events.headPosition()
    const signal = AbortSignal.abort(new Error('too late'))
    assert.match(String(await refusal(elsewhere.whenProcessed(head + 1, 'sums', { signal }))), /too late/)
  }),

  storesTest(
    'refuses a failure policy for one of the handlers that share a transaction',
    async ({ stores }) => {
      const handlers = [handlerFor(Filed, countEffect, { name: 'effect', maxRetries: 1 })]
      const projection = stores.projection({ name: 'sums', handlers })

      const refuse = () => managerOf(stores).subscribe(projection)

      assert.throws(refuse, /maxRetries of a handler must be set for the whole subscription/)
    },
  ),
]
