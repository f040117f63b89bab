import type { DomainEvent, EventHandler, HandlerContext, Stores, StoreTransaction } from '../../index.ts'
import type { SuiteRunner } from '../conformance/bus-under-test.ts'
import { appendTo, Noted, noted } from './stored-events.ts'

/** What a handler of an inbox receives in addition to the event. */
export interface InboxContextUnderTest<Tx = unknown> extends HandlerContext {
  /** The transaction that also stores the record. */
  readonly tx: Tx
  readonly idempotencyKey: string
}

/** A handler that the suite passes to `once`. */
export type InboxHandlerUnderTest<Tx = unknown> = (
  event: DomainEvent,
  context: InboxContextUnderTest<Tx>,
) => unknown

/** An inbox, and a place for the effects of its handlers. */
export interface InboxUnderTest<Tx = unknown> {
  readonly inbox: {
    once(name: string, handler: InboxHandlerUnderTest<Tx>): EventHandler
    has(handlerName: string, eventId: string): Promise<boolean>
  }
  /** Adds a number to a list, in the transaction of a handler. */
  write(tx: Tx, n: number): void | Promise<void>
  /** The numbers of the list, in the order of their commits. */
  effects(): Promise<readonly number[]>
}

/** Options of `describeInbox` for an inbox without stores. */
export interface DescribeInboxOptions<Tx = unknown> {
  readonly runner: SuiteRunner
  /** Opens an inbox without records, and an empty list, for each test. */
  readonly createInbox: () => InboxUnderTest<Tx> | Promise<InboxUnderTest<Tx>>
  /** Opens a second object on the same data, like another process. Without it, the tests share one object. */
  readonly another?: (inbox: InboxUnderTest<Tx>) => InboxUnderTest<Tx> | Promise<InboxUnderTest<Tx>>
  /** Called after each test with the objects that it used. */
  readonly cleanUp?: (inboxes: readonly InboxUnderTest<Tx>[]) => void | Promise<void>
  /** Maximum duration of one test, in milliseconds. Default 30,000. */
  readonly timeoutMs?: number
}

/** The environment of one test. */
interface InboxScene {
  readonly ours: InboxUnderTest
  /** Another object on the same data if the options can open one; otherwise the same object. */
  readonly other: InboxUnderTest
}

export interface InboxTest {
  readonly name: string
  readonly run: (scene: InboxScene) => Promise<void>
}

export const inboxTest = (name: string, run: InboxTest['run']): InboxTest => ({ name, run })

/** Name of the stream in which the tests count effects. */
const EFFECTS = 'effects'

/** The inbox of stores. The effects are events in the event store. */
export function inboxOf({ inbox, events }: Stores): InboxUnderTest<StoreTransaction> {
  return {
    inbox,
    write: async (tx, n) => void (await appendTo(tx.events, noted(EFFECTS, n))),
    effects: async () => {
      const stream = await events.getEvents(EFFECTS)
      return stream.events.map((event) => (event instanceof Noted ? event.n : -1))
    },
  }
}

/** Describes tests, each with a fresh inbox. */
export function describeInboxTests<Tx>(
  name: string,
  tests: readonly InboxTest[],
  { runner, createInbox, another, cleanUp, timeoutMs = 30_000 }: DescribeInboxOptions<Tx>,
): void {
  runner.describe(name, () => {
    for (const test of tests) {
      const body = async () => {
        const ours = await createInbox()
        const other = (await another?.(ours)) ?? ours
        try {
          await test.run({ ours, other })
        } finally {
          await cleanUp?.(ours === other ? [ours] : [ours, other])
        }
      }
      runner.it(test.name, body, timeoutMs)
    }
  })
}
