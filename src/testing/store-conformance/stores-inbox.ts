import assert from 'node:assert/strict'
import { deliver, inboxTests, quiet } from './inbox.ts'
import { inboxOf } from './inbox-under-test.ts'
import { noted, refusal } from './stored-events.ts'
import { storesTest } from './stores-under-test.ts'

/** The guarantees of the inbox of stores. */
export const storesInboxTests = [
  ...inboxTests.map(({ name, run }) =>
    storesTest(name, ({ stores, other }) => run({ ours: inboxOf(stores), other: inboxOf(other) })),
  ),

  storesTest('stores the note in the transaction of the handler', async ({ stores }) => {
    const event = noted('a')
    let isNew = true
    const handler = stores.inbox.once('handler', async (_event, { tx }) => {
      isNew = await tx.inbox.add('handler', event.eventId)
    })
    await handler.handle(event, quiet)

    assert.equal(isNew, false, 'the transaction of the handler does not have the note')
  }),

  storesTest('removes the notes that are older than a time', async ({ stores, other }) => {
    const events = Array.from({ length: 5 }, (_, n) => noted('a', n))
    for (const event of events) await deliver(inboxOf(stores), event)

    assert.equal(await other.inbox.prune(new Date(Date.now() - 3_600_000)), 0)
    assert.equal(await other.inbox.prune(new Date(Date.now() + 3_600_000)), 5)
    assert.equal(await stores.inbox.has('handler', events[0]?.eventId ?? ''), false)
  }),

  storesTest(
    'publishes what a handler adds to the outbox together with its note',
    async ({ stores, other }) => {
      const event = noted('a', 1)
      let isBroken = true
      const deliverTo = ({ inbox }: typeof stores) =>
        inbox
          .once('handler', async (_event, { tx }) => {
            await tx.outbox.add([noted('b', 2)])
            if (isBroken) throw new Error('broken')
          })
          .handle(event, quiet)
      await refusal(Promise.resolve(deliverTo(stores)))
      isBroken = false
      await deliverTo(stores)
      await deliverTo(other)

      const { events } = await other.outbox.readPage()
      assert.deepEqual(
        events.map(({ event: { aggregateId } }) => aggregateId),
        ['b'],
      )
    },
  ),
]
