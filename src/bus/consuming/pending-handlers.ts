import { type HandlerEntry, isCalled, namesOf, UNNAMED_HANDLER } from '../../handling/handler-entry.ts'
import type { EarlierAttempts, ReplayTarget } from '../../transport/replay-headers.ts'
import type { Delivery } from '../../transport/transport.ts'
import { type AttemptRecord, readAttempts } from './attempt-record.ts'

/** The handlers that a delivery is for. */
export interface PendingHandlers {
  /** The subscribed handlers that still have to handle it. */
  readonly handlers: readonly HandlerEntry[]
  /** Names of further handlers that the delivery is for, but that are not subscribed on this bus. */
  readonly missing: readonly string[]
  /** Names of handlers that succeeded in earlier deliveries. */
  readonly settled: readonly string[]
  /** What earlier deliveries have recorded, and the names of the handlers whose success is not recorded yet. */
  readonly recorded: readonly string[]
  /** Recorded attempts of single handlers; undefined if those of the delivery hold for all. */
  readonly attempts?: AttemptRecord | undefined
  /** All names of the handlers for which the event waits behind others of its aggregate. */
  readonly moved?: readonly string[]
  /** When the first attempt of the event failed, if that was before a long wait. */
  readonly firstFailedAt?: Date | undefined
}

const NONE: readonly string[] = Object.freeze([])
const NO_HANDLERS: readonly HandlerEntry[] = Object.freeze([])

/**
 * Finds the handlers that still have to handle a delivery: the subscribed handlers, or those that a replay names,
 * without those whose success is recorded. A record matches a handler only by a name that the user gave it. After a
 * restart, it is unknown whether a handler without a name has succeeded, so it handles the event again.
 * @param succeeded - handlers whose success this process has not recorded (`UnrecordedSuccesses`).
 */
export function pendingHandlers(
  subscribed: readonly HandlerEntry[],
  delivery: Delivery,
  succeeded: readonly HandlerEntry[] = NO_HANDLERS,
): PendingHandlers {
  const pending = unrecordedHandlers(subscribed, delivery)
  if (succeeded.length === 0) return pending
  const handlers = pending.handlers.filter((handler) => !succeeded.includes(handler))
  const names = settledNames(pending.handlers, handlers)
  return {
    ...pending,
    handlers,
    settled: [...pending.settled, ...names],
    recorded: [...pending.recorded, ...names],
  }
}

/** Goes by the records on the broker alone. */
function unrecordedHandlers(subscribed: readonly HandlerEntry[], delivery: Delivery): PendingHandlers {
  const { replayTarget: target, settledHandlers: recorded } = delivery
  const isForAll = target === undefined || target.handlerNames.length === 0
  if (isForAll && recorded.length === 0)
    return { handlers: subscribed, missing: NONE, settled: NONE, recorded }
  const { settled, attempts } = readAttempts(recorded)
  const unsettled = subscribed.filter((handler) => !isAmong(handler, settled))
  if (!isForAll) {
    const { earlier, handlerNames } = target
    return {
      ...targeted(subscribed, unsettled, target, settled),
      recorded,
      attempts: attempts ?? (earlier && attemptsBefore(handlerNames, earlier)),
      firstFailedAt: earlier !== undefined && earlier.attempts > 0 ? earlier.firstFailedAt : undefined,
    }
  }
  // If all subscribed handlers have succeeded, the failed one is not subscribed here, so the event is dead-lettered for it.
  return {
    handlers: unsettled,
    missing: unsettled.length === 0 ? [UNNAMED_HANDLER] : NONE,
    settled,
    recorded,
    attempts,
  }
}

/** The names under which the success of handlers is recorded: handlers without a name are left out. */
export function settledNames(
  handlers: readonly HandlerEntry[],
  failed: readonly HandlerEntry[],
): readonly string[] {
  return handlers.flatMap((handler) => (failed.includes(handler) ? [] : (handler.id ?? [])))
}

/**
 * The number of the attempt that a handler makes in the first attempt of a delivery. Attempts that had started and whose
 * end was not recorded count for all handlers, because any of them may have killed the process.
 */
export function firstAttemptOf(
  { id, aliases }: HandlerEntry,
  { deliveryCount }: Delivery,
  { attempts }: PendingHandlers,
): number {
  if (attempts === undefined) return deliveryCount
  for (const name of namesOf({ id, aliases })) {
    const failed = attempts.byName.get(name)
    if (failed !== undefined) return failed + Math.max(0, deliveryCount - 1 - attempts.ended) + 1
  }
  return deliveryCount
}

/** The attempts before a long wait, as if this delivery had recorded them before it started. */
function attemptsBefore(handlerNames: readonly string[], { attempts }: EarlierAttempts): AttemptRecord {
  return { ended: 0, byName: new Map(handlerNames.map((name) => [name, attempts])) }
}

function targeted(
  subscribed: readonly HandlerEntry[],
  unsettled: readonly HandlerEntry[],
  { handlerNames, settledHandlers }: ReplayTarget,
  settledSince: readonly string[],
): Omit<PendingHandlers, 'recorded'> {
  const named = handlerNames.filter((name) => name !== UNNAMED_HANDLER)
  const missing = named.filter((name) => !subscribed.some((handler) => isCalled(handler, name)))
  // Earlier releases also recorded names of functions, and numbers in the order of subscription.
  const isEarlier = settledHandlers === undefined
  const isUncertain = named.length < handlerNames.length || (isEarlier && missing.length > 0)
  return {
    handlers: isUncertain
      ? unsettled.filter((handler) => !isAmong(handler, settledHandlers ?? NONE))
      : unsettled.filter((handler) => isAmong(handler, named)),
    missing: isEarlier && isUncertain ? NONE : missing,
    settled: [...(settledHandlers ?? NONE), ...settledSince],
  }
}

function isAmong(handler: HandlerEntry, names: readonly string[]): boolean {
  return names.some((name) => isCalled(handler, name))
}
