import type { HandlerEntry } from '../../handling/handler-registry.ts'
import { replayHandlers } from '../../transport/replay-headers.ts'
import type { Delivery } from '../../transport/transport.ts'

/** @returns undefined when none of the handlers that the message is for is subscribed. */
export function owingHandlers(
  subscribed: readonly HandlerEntry[],
  delivery: Delivery,
): readonly HandlerEntry[] | undefined {
  const replayTo = replayHandlers(delivery.message.headers)
  if (replayTo === undefined && delivery.settledHandlers.length === 0) return subscribed
  const owing = subscribed.filter(
    ({ name }) => (replayTo?.includes(name) ?? true) && !delivery.settledHandlers.includes(name),
  )
  return owing.length === 0 ? undefined : owing
}
