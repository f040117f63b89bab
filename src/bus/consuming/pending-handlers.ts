import { type HandlerEntry, isCalled, UNNAMED_HANDLER } from '../../handling/handler-entry.ts'
import type { ReplayTarget } from '../../transport/replay-headers.ts'
import type { Delivery } from '../../transport/transport.ts'

/** Which handlers a delivery is for. */
export interface PendingHandlers {
  /** Those of this process that still have to handle it. */
  readonly handlers: readonly HandlerEntry[]
  /** Names that it is for as well, of which no handler of this process is known. */
  readonly missing: readonly string[]
  /** Names of those that have succeeded before. */
  readonly settled: readonly string[]
}

const NONE: readonly string[] = Object.freeze([])

/**
 * The handlers that still have to handle a delivery: those that a replay names, without those that are noted to have
 * succeeded. A handler is taken for another one only by a name that was given to it. What a handler without a name has
 * done cannot be known after a restart, so it handles the event again.
 */
export function pendingHandlers(subscribed: readonly HandlerEntry[], delivery: Delivery): PendingHandlers {
  const { replayTarget: target, settledHandlers } = delivery
  if (target === undefined && settledHandlers.length === 0)
    return { handlers: subscribed, missing: NONE, settled: NONE }
  const unsettled = subscribed.filter((handler) => !isAmong(handler, settledHandlers))
  if (target !== undefined) return targeted(subscribed, unsettled, target, settledHandlers)
  // The handler that failed is not here: the event waits for it among the dead letters.
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
  // Earlier releases also noted names of functions, and numbers in the order of subscription.
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
