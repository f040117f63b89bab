import { type HandlerEntry, isCalled, UNNAMED_HANDLER } from '../../handling/handler-entry.ts'
import type { ReplayTarget } from '../../transport/replay-headers.ts'
import type { Delivery } from '../../transport/transport.ts'

/** The handlers that a delivery is for. */
export interface PendingHandlers {
  /** The subscribed handlers that still have to handle it. */
  readonly handlers: readonly HandlerEntry[]
  /** Names of further handlers that the delivery is for, but that are not subscribed on this bus. */
  readonly missing: readonly string[]
  /** Names of handlers that succeeded in earlier deliveries. */
  readonly settled: readonly string[]
}

const NONE: readonly string[] = Object.freeze([])

/**
 * Finds the handlers that still have to handle a delivery: the subscribed handlers, or those that a replay names,
 * without those whose success is recorded. A record matches a handler only by a name that the user gave it. After a
 * restart, it is unknown whether a handler without a name has succeeded, so it handles the event again.
 */
export function pendingHandlers(subscribed: readonly HandlerEntry[], delivery: Delivery): PendingHandlers {
  const { replayTarget: target, settledHandlers } = delivery
  if (target === undefined && settledHandlers.length === 0)
    return { handlers: subscribed, missing: NONE, settled: NONE }
  const unsettled = subscribed.filter((handler) => !isAmong(handler, settledHandlers))
  if (target !== undefined) return targeted(subscribed, unsettled, target, settledHandlers)
  // If all subscribed handlers have succeeded, the failed one is not subscribed here, so the event is dead-lettered for it.
  return {
    handlers: unsettled,
    missing: unsettled.length === 0 ? [UNNAMED_HANDLER] : NONE,
    settled: settledHandlers,
  }
}

function targeted(
  subscribed: readonly HandlerEntry[],
  unsettled: readonly HandlerEntry[],
  { handlerNames, settledHandlers }: ReplayTarget,
  settledSince: readonly string[],
): PendingHandlers {
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
