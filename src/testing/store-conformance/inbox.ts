import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import type { DomainEvent, HandlerContext, InboxHandler, Stores } from '../../index.ts'
import { appendTo, Noted, noted, refusal } from './stored-events.ts'
import { storesTest } from './stores-under-test.ts'

/**
 * The effect of the handlers of the tests: an event that they append to the transaction, and that the inbox must commit
 * once.
 */
const EFFECTS = 'effects'

const contextOf = (signal: AbortSignal): HandlerContext => ({
  ...{ signal, attempt: 1, deliveryCount: 1, consumerGroup: undefined, messageId: undefined },
})

const quiet = contextOf(new AbortController().signal)

/** Delivers an event to a handler of the inbox, as a bus does. */
async function deliver(
  { inbox }: Stores,
  event: DomainEvent,
  handler: InboxHandler<DomainEvent> = countEffect,
  { name = 'handler', context = quiet }: { readonly name?: string; readonly context?: HandlerContext } = {},
): Promise<void> {
  await inbox.once(name, handler).handle(event, context)
}

const countEffect: InboxHandler<DomainEvent> = async (event, { tx }) => {
  const n = event instanceof Noted ? event.n : 0
  await appendTo(tx.events, noted(EFFECTS, n))
}

/** The numbers of the events whose effect was committed, one for each commit. */
async function effects({ events }: Stores): Promise<readonly number[]> {
  const stream = await events.getEvents(EFFECTS)
  return stream.events.map((event) => (event instanceof Noted ? event.n : -1))
}

/** The guarantees of the inbox. */
export const inboxTests = [
  storesTest(
    'runs a handler once for each event, however often it is delivered',
    async ({ stores, other }) => {
      const [first, second] = [noted('a', 1), noted('a', 2)]
      for (const event of [first, first, second, first, second]) await deliver(stores, event)
      await deliver(other, first)

      assert.deepEqual(await effects(other), [1, 2])
      assert.equal(await other.inbox.has('handler', first.eventId), true)
      assert.equal(await other.inbox.has('handler', noted('a').eventId), false)
    },
  ),

  storesTest('stores the note in the transaction of the handler', async ({ stores, other }) => {
    const event = noted('a')
    let [seenInside, seenOutside] = [true, true]
    await deliver(stores, event, async (_event, { tx }) => {
      seenInside = !(await tx.inbox.add('handler', event.eventId))
      seenOutside = await other.inbox.has('handler', event.eventId)
    })

    assert.equal(seenInside, true, 'the transaction of the handler does not have the note')
    assert.equal(seenOutside, false, 'the note was committed before the writes of the handler')
    assert.equal(await other.inbox.has('handler', event.eventId), true)
  }),

  storesTest('rolls back the note and the writes of a handler that fails', async ({ stores, other }) => {
    const event = noted('a', 7)
    const broken = new Error('broken')
    const outcome = await refusal(
      deliver(stores, event, async (...args) => {
        await countEffect(...args)
        throw broken
      }),
    )

    assert.equal(outcome, broken)
    assert.equal(await other.inbox.has('handler', event.eventId), false)
    assert.deepEqual(await effects(other), [])
    await deliver(other, event)
    assert.deepEqual(await effects(stores), [7])
  }),

  storesTest('commits nothing of an attempt that was aborted', async ({ stores, other }) => {
    const event = noted('a', 3)
    const abort = new AbortController()
    const late = new Error('too late')
    const handler: InboxHandler<DomainEvent> = async (...args) => {
      await countEffect(...args)
      abort.abort(late)
    }
    assert.equal(await refusal(deliver(stores, event, handler, { context: contextOf(abort.signal) })), late)

    assert.deepEqual(await effects(other), [])
    await deliver(stores, event)
    assert.deepEqual(await effects(other), [3])
  }),

  storesTest(
    'lets the second of two deliveries at once wait, and then do nothing',
    async ({ stores, other }) => {
      const event = noted('a', 5)
      const isRunning = Promise.withResolvers<void>()
      const mayEnd = Promise.withResolvers<void>()
      const order: string[] = []
      const first = deliver(stores, event, async (...args) => {
        isRunning.resolve()
        await mayEnd.promise
        await countEffect(...args)
      }).then(() => order.push('first'))
      await isRunning.promise
      const second = deliver(other, event).then(() => order.push('second'))
      await delay(20) // time in which an inbox that does not wait is done
      const early = [...order]
      mayEnd.resolve()
      await Promise.all([first, second])

      assert.deepEqual(early, [])
      assert.deepEqual(await effects(stores), [5])
    },
  ),

  storesTest(
    'runs the handler for the second of two deliveries if the first fails',
    async ({ stores, other }) => {
      const event = noted('a', 6)
      const isRunning = Promise.withResolvers<void>()
      const mayEnd = Promise.withResolvers<void>()
      const first = refusal(
        deliver(stores, event, async (...args) => {
          isRunning.resolve()
          await mayEnd.promise
          await countEffect(...args)
          throw new Error('broken')
        }),
      )
      await isRunning.promise
      const second = deliver(other, event)
      mayEnd.resolve()
      await Promise.all([first, second])

      assert.deepEqual(await effects(stores), [6])
    },
  ),

  storesTest('keeps the notes of different handlers apart', async ({ stores }) => {
    const event = noted('a', 4)
    for (const name of ['one', 'two', 'one']) await deliver(stores, event, countEffect, { name })

    assert.deepEqual(await effects(stores), [4, 4])
  }),

  storesTest('gives the handler a key that is the same for each attempt', async ({ stores }) => {
    const event = noted('a')
    const keys: string[] = []
    const handler: InboxHandler<DomainEvent> = async (_event, { idempotencyKey }) => {
      keys.push(idempotencyKey)
      if (keys.length === 1) throw new Error('broken')
    }
    await refusal(deliver(stores, event, handler))
    await deliver(stores, event, handler)
    await deliver(stores, event, handler, { name: 'another' })

    assert.equal(keys[0], keys[1])
    assert.notEqual(keys[1], keys[2])
  }),

  storesTest('removes the notes that are older than a time', async ({ stores, other }) => {
    const events = Array.from({ length: 5 }, (_, n) => noted('a', n))
    for (const event of events) await deliver(stores, event)

    assert.equal(await other.inbox.prune(new Date(Date.now() - 3_600_000)), 0)
    assert.equal(await other.inbox.prune(new Date(Date.now() + 3_600_000)), 5)
    assert.equal(await stores.inbox.has('handler', events[0]?.eventId ?? ''), false)
  }),

  storesTest('has one effect for each event under many deliveries at once', async ({ stores, other }) => {
    const events = Array.from({ length: 8 }, (_, n) => noted('a', n))
    let calls = 0
    const handler: InboxHandler<DomainEvent> = async (...args) => {
      calls += 1
      const isBroken = calls % 3 === 0
      await countEffect(...args)
      if (isBroken) throw new Error('broken')
    }
    const persist = async (target: Stores, event: DomainEvent) => {
      // A failed delivery comes again.
      while (
        !(await deliver(target, event, handler).then(
          () => true,
          () => false,
        ))
      );
    }
    await Promise.all(
      events.flatMap((event) => [stores, other, stores].map((target) => persist(target, event))),
    )

    assert.deepEqual([...(await effects(stores))].toSorted(), [0, 1, 2, 3, 4, 5, 6, 7])
  }),

  storesTest(
    'publishes what a handler adds to the outbox together with its note',
    async ({ stores, other }) => {
      const event = noted('a', 1)
      let isBroken = true
      const handler: InboxHandler<DomainEvent> = async (_event, { tx }) => {
        await tx.outbox.add([noted('b', 2)])
        if (isBroken) throw new Error('broken')
      }
      await refusal(deliver(stores, event, handler))
      isBroken = false
      await deliver(stores, event, handler)
      await deliver(other, event, handler)

      const { events } = await other.outbox.readPage()
      assert.deepEqual(
        events.map(({ event: { aggregateId } }) => aggregateId),
        ['b'],
      )
    },
  ),
]
