import {
  type DomainEvent,
  handlerFor,
  type InboxContext,
  type Stores,
  type StoreTransaction,
  SubscriptionManager,
  type SubscriptionManagerOptions,
  type SubscriptionOptions,
  type TransactionalProjectionOptions,
} from '../../index.ts'
import { silent } from './relay-under-test.ts'
import { appendTo, Filed, Noted, noted } from './stored-events.ts'

/** The stream of events that the handlers of the tests append: what each event must cause once. */
const EFFECTS = 'effects'

export type Handle = (event: Filed, context: InboxContext) => Promise<void>

export const countEffect: Handle = async ({ n }, { tx }) => void (await addEffect(tx, n))

export const addEffect = (tx: StoreTransaction, n: number, aggregateId = EFFECTS) =>
  appendTo(tx.events, noted(aggregateId, n))

/** The numbers of the events that had their effect, each time that they had it. */
export async function effects({ events }: Stores, aggregateId = EFFECTS): Promise<readonly number[]> {
  const stream = await events.getEvents(aggregateId)
  return stream.events.map((event: DomainEvent) => (event instanceof Noted ? event.n : -1))
}

export const numbers = (count: number): readonly number[] => Array.from({ length: count }, (_, n) => n)

/** Appends the events that the projections of the tests handle. @returns the last position. */
export async function file(stores: Stores, from: number, to: number): Promise<number> {
  let position = 0
  for (let n = from; n < to; n += 1) {
    position = (await appendTo(stores.events, new Filed({ aggregateId: `f${n % 3}`, n }))).globalPosition
  }
  return position
}

export function managerOf(
  { events, checkpoints, deadLetters }: Stores,
  options: Partial<SubscriptionManagerOptions> = {},
): SubscriptionManager {
  return new SubscriptionManager({ eventStore: events, checkpoints, deadLetters, logger: silent, ...options })
}

/** Starts a manager with the projection `sums`. */
export function start(
  stores: Stores,
  handle: Handle = countEffect,
  projection: Partial<TransactionalProjectionOptions> = {},
  options: SubscriptionOptions = {},
): SubscriptionManager {
  const manager = managerOf(stores)
  const handlers = [handlerFor(Filed, handle)]
  const subscriber = stores.projection({ name: 'sums', handlers, ...projection })
  manager.subscribe(subscriber, { pollIntervalMs: 50, retryBaseDelayMs: 5, ...options })
  manager.start()
  return manager
}
