import type { DeadLetterReason, ReplayRequest } from './transport.ts'

/** The group and the handlers that a replayed message is for. */
export interface ReplayDestination {
  readonly consumerGroup: string
  /** Empty if it is for all handlers of the group. */
  readonly handlerNames: readonly string[]
  readonly settledHandlers: readonly string[] | undefined
}

/** Where a dead letter goes: what the request names, otherwise the group and the handlers that failed. */
export function replayDestination(
  reason: Partial<DeadLetterReason>,
  { group, handlerNames, fallbackGroup }: ReplayRequest,
): ReplayDestination {
  const failedIn = reason.consumerGroup ?? fallbackGroup
  const consumerGroup = group ?? failedIn
  if (handlerNames !== undefined) return { consumerGroup, handlerNames, settledHandlers: [] }
  // The names of handlers belong to their group.
  if (consumerGroup !== failedIn) return { consumerGroup, handlerNames: [], settledHandlers: [] }
  return {
    consumerGroup,
    handlerNames: reason.handlerNames ?? [],
    settledHandlers: reason.settledHandlers,
  }
}
