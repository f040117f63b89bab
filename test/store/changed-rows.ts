import { expect, it } from 'vitest'
import { GenericEvent, StoredEventError, type Stores, SubscriptionManager } from '../../src/index.ts'
import { Noted, noted } from '../../src/testing/conformance/events.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { waitFor } from '../support/wait-for.ts'

/** A column of the table of events, and what somebody writes to it by hand. */
export type Change = readonly [column: string, value: string | number | bigint]

const ids = (count: number) => Array.from({ length: count }, (_, index) => `"k${index}":0`)

/** Changes that every store with a table must survive. */
const CHANGES: readonly Change[] = [
  ['payload', '[1]'],
  ['payload', '"text"'],
  ['payload', `{"a":${'['.repeat(2000)}${']'.repeat(2000)}}`],
  ['payload', `{${ids(1_000_000).join()}}`],
  ['payload', `{"a":[${'0,'.repeat(1_000_000)}0]}`],
  ['payload', `{"n":${'1'.repeat(5000)}}`],
  ['payload', '{"__proto__":{"n":1}}'],
  ['metadata', '7'],
  ['event_version', 0],
  ['aggregate_version', -7],
  ['event_type', ''],
  ['correlation_id', ''],
]

/** Stores, and the right to change their table of events. */
interface ChangedStores {
  readonly stores: Stores
  change(column: string, value: Change[1], position: number): Promise<void>
}

/**
 * Changes one row per event by hand, so that it is no event any more, and reads the feed.
 * @param more - changes that this store's table allows in addition.
 */
export function testChangedRows(
  open: () => Promise<ChangedStores & AsyncDisposable>,
  more: readonly Change[],
): void {
  it('hands on events around rows that were changed by hand, each of which is a typed fault', {
    timeout: paced(60_000),
  }, async () => {
    await using scene = await open()
    const { stores } = scene
    const changes = [...CHANGES, ...more]
    for (let n = 0; n <= changes.length; n += 1) {
      const event = noted(`a${n}`, n)
      await stores.events.appendEvents({ ...event, events: [event], expectedVersion: 'noStream' })
    }
    for (const [index, [column, value]] of changes.entries()) await scene.change(column, value, index + 1)

    const { events } = await stores.events.readPage({ maxBytes: Number.POSITIVE_INFINITY })

    expect(events.map(({ position }) => position)).toEqual(
      [...changes, undefined].map((_, index) => index + 1),
    )
    for (const [index, { event, fault, storedAt }] of events.slice(0, -1).entries()) {
      const [column] = changes[index] ?? []
      expect(fault, column).toBeInstanceOf(StoredEventError)
      expect(fault, column).toMatchObject({
        code: 'STORED_EVENT_INVALID',
        isReadable: false,
        position: index + 1,
      })
      expect(fault?.message.length, column).toBeLessThan(2000)
      expect(event, column).toBeInstanceOf(GenericEvent)
      expect(JSON.stringify(event).length, column).toBeLessThan(20_000)
      expect(storedAt.getTime(), column).not.toBeNaN()
    }
    expect(events.at(-1)).toMatchObject({ event: { n: changes.length } })
    expect(events.at(-1)?.fault).toBeUndefined()
    await expectFollowed(stores, changes.length)
  })
}

/** A subscription parks what it cannot read, and handles the event after it. */
async function expectFollowed(stores: Stores, unreadable: number): Promise<void> {
  const { events: eventStore, checkpoints, deadLetters } = stores
  const logger = new RecordingLogger()
  await using manager = new SubscriptionManager({ eventStore, checkpoints, deadLetters, logger })
  const handled: number[] = []
  const handle = (event: unknown) => {
    if (event instanceof Noted) handled.push(event.n)
  }
  manager.subscribe({ name: 's', handle }, { onFailure: 'deadLetter' })
  manager.start()
  await waitFor(() => handled.length > 0, { describe: () => JSON.stringify(logger.lines).slice(0, 1000) })

  expect(handled).toEqual([unreadable])
  const parked = await deadLetters.list()
  expect(parked.map(({ position }) => position)).toEqual(
    Array.from({ length: unreadable }, (_, at) => at + 1),
  )
  expect(parked.every(({ errorName }) => errorName === 'StoredEventError')).toBe(true)
  await manager.stop()
}
