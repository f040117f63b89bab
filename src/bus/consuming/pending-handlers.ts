import type { HandlerEntry } from '../../handling/handler-registry.ts'
import { replayHandlers } from '../../transport/replay-headers.ts'
import type { Delivery } from '../../transport/transport.ts'

/**
 * The handlers that still have to handle a delivery: those that a replay names, without those that have succeeded.
 * @returns undefined if none of them is subscribed.
 */
export function pendingHandlers(
  subscribed: readonly HandlerEntry[],
  delivery: Delivery,
): readonly HandlerEntry[] | undefined {
  const replayTo = replayHandlers(delivery.message.headers)
  if (replayTo === undefined && delivery.settledHandlers.length === 0) return subscribed
  const pending = subscribed.filter(
    ({ name }) => (replayTo?.includes(name) ?? true) && !delivery.settledHandlers.includes(name),
  )
  return pending.length === 0 ? undefined : pending
}
