import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import type { DomainEvent, HandlerContext } from '../../index.ts'
import { type InboxHandlerUnderTest, type InboxUnderTest, inboxTest } from './inbox-under-test.ts'
import { Noted, noted, refusal } from './stored-events.ts'

const contextOf = (signal: AbortSignal): HandlerContext => ({
  ...{ signal, attempt: 1, deliveryCount: 1, consumerGroup: undefined, messageId: undefined },
})

/** The context of a delivery that is not aborted. */
export const quiet = contextOf(new AbortController().signal)

interface HowToDeliver {
  readonly name?: string
  readonly context?: HandlerContext
  /** Runs before the write of the handler. */
  readonly before?: () => unknown
  /** Runs after the write of the handler. */
  readonly after?: () => unknown
}

/** Delivers an event, as a bus does, to a handler that writes the number of the event. */
export async function deliver(
  target: InboxUnderTest,
  event: DomainEvent,
  { name, context, before, after }: HowToDeliver = {},
): Promise<void> {
  const handler: InboxHandlerUnderTest = async (_event, { tx }) => {
    await before?.()
    await target.write(tx, event instanceof Noted ? event.n : 0)
    await after?.()
  }
  await handle(target, event, handler, { ...(name !== undefined && { name }), ...(context && { context }) })
}

async function handle(
  { inbox }: InboxUnderTest,
  event: DomainEvent,
  handler: InboxHandlerUnderTest,
  { name = 'handler', context = quiet }: Pick<HowToDeliver, 'name' | 'context'> = {},
): Promise<void> {
  await inbox.once(name, handler).handle(event, context)
}

const fail = () => {
  throw new Error('broken')
}

/** A handler that has started, and continues when the test allows it. */
function heldHandler() {
  const isRunning = Promise.withResolvers<void>()
  const mayEnd = Promise.withResolvers<void>()
  const before = () => {
    isRunning.resolve()
    return mayEnd.promise
  }
  return { before, isRunning: isRunning.promise, end: mayEnd.resolve }
}

/** The guarantees of every inbox. */
export const inboxTests = [
  inboxTest('runs a handler once for each event, however often it is delivered', async ({ ours, other }) => {
    const [first, second] = [noted('a', 1), noted('a', 2)]
    for (const event of [first, first, second, first, second]) await deliver(ours, event)
    await deliver(other, first)

    assert.deepEqual(await other.effects(), [1, 2])
    assert.equal(await other.inbox.has('handler', first.eventId), true)
    assert.equal(await other.inbox.has('handler', noted('a').eventId), false)
  }),

  inboxTest('shows neither the note nor the effect before both are committed', async ({ ours, other }) => {
    const event = noted('a', 1)
    let seen: unknown
    const after = async () => {
      seen = [await other.inbox.has('handler', event.eventId), await other.effects()]
    }
    await deliver(ours, event, { after })

    assert.deepEqual(seen, [false, []])
    assert.equal(await other.inbox.has('handler', event.eventId), true)
    assert.deepEqual(await other.effects(), [1])
  }),

  inboxTest('rolls back the note and the writes of a handler that fails', async ({ ours, other }) => {
    const event = noted('a', 7)
    const broken = new Error('broken')
    const after = () => {
      throw broken
    }

    assert.equal(await refusal(deliver(ours, event, { after })), broken)
    assert.equal(await other.inbox.has('handler', event.eventId), false)
    assert.deepEqual(await other.effects(), [])
    await deliver(other, event)
    assert.deepEqual(await ours.effects(), [7])
  }),

  inboxTest('commits nothing of an attempt that was aborted', async ({ ours, other }) => {
    const event = noted('a', 3)
    const abort = new AbortController()
    const late = new Error('too late')
    const after = () => abort.abort(late)

    assert.equal(await refusal(deliver(ours, event, { after, context: contextOf(abort.signal) })), late)
    assert.deepEqual(await other.effects(), [])
    await deliver(ours, event)
    assert.deepEqual(await other.effects(), [3])
  }),

  inboxTest(
    'lets the second of two deliveries at once wait, and then do nothing',
    async ({ ours, other }) => {
      const event = noted('a', 5)
      const { before, isRunning, end } = heldHandler()
      const order: string[] = []
      const first = deliver(ours, event, { before }).then(() => order.push('first'))
      await isRunning
      const second = deliver(other, event).then(() => order.push('second'))
      await delay(20) // time in which an inbox that does not wait is done
      const early = [...order]
      end()
      await Promise.all([first, second])

      assert.deepEqual(early, [])
      assert.deepEqual(await ours.effects(), [5])
    },
  ),

  inboxTest(
    'runs the handler for the second of two deliveries if the first fails',
    async ({ ours, other }) => {
      const event = noted('a', 6)
      const { before, isRunning, end } = heldHandler()
      const first = refusal(deliver(ours, event, { before, after: fail }))
      await isRunning
      const second = deliver(other, event)
      end()
      await Promise.all([first, second])

      assert.deepEqual(await ours.effects(), [6])
    },
  ),

  inboxTest('keeps the notes of different handlers apart', async ({ ours }) => {
    const event = noted('a', 4)
    for (const name of ['one', 'two', 'one']) await deliver(ours, event, { name })

    assert.deepEqual(await ours.effects(), [4, 4])
  }),

  inboxTest('gives the handler a key that is the same for each attempt', async ({ ours }) => {
    const event = noted('a')
    const keys: string[] = []
    const handler: InboxHandlerUnderTest = async (_event, { idempotencyKey }) => {
      keys.push(idempotencyKey)
      if (keys.length === 1) fail()
    }
    await refusal(handle(ours, event, handler))
    await handle(ours, event, handler)
    await handle(ours, event, handler, { name: 'another' })

    assert.equal(keys[0], keys[1])
    assert.notEqual(keys[1], keys[2])
  }),

  inboxTest('has one effect for each event under many deliveries at once', async ({ ours, other }) => {
    const events = Array.from({ length: 8 }, (_, n) => noted('a', n))
    let calls = 0
    const after = () => {
      calls += 1
      if (calls % 3 === 0) fail()
    }
    const isDelivered = (target: InboxUnderTest, event: DomainEvent) =>
      deliver(target, event, { after }).then(
        () => true,
        () => false,
      )
    const persist = async (target: InboxUnderTest, event: DomainEvent) => {
      // A failed delivery is repeated.
      while (!(await isDelivered(target, event)));
    }
    await Promise.all(events.flatMap((event) => [ours, other, ours].map((target) => persist(target, event))))

    assert.deepEqual([...(await ours.effects())].toSorted(), [0, 1, 2, 3, 4, 5, 6, 7])
  }),
]
